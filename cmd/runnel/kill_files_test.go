package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestKillFiles kills a server with SIGKILL at random moments while clients
// put, replace and delete files, small and large, and starts it again: each file
// is whole, and what was acknowledged last, or asked for after that; and no blob
// is there that no file has.
func TestKillFiles(t *testing.T) {
	dir := t.TempDir()
	k := &killFiles{t: t, acked: map[string]int{}, asked: map[string]int{}}
	for round := range 6 {
		s := startKilled(t, "--dir", dir)
		if round == 0 {
			if status, text := k.do(t.Context(), s.client, http.MethodPost, ".my", strings.NewReader("c")); status != http.StatusOK {
				t.Fatalf("make the collection: %d %s", status, text)
			}
		}
		large := k.check(s.client)
		blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "*", "*"))
		if err != nil || len(blobs) != large {
			t.Errorf("round %d: %d blobs, want %d, %v", round, len(blobs), large, err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for c := range 4 {
			clients.Go(func() { k.change(ctx, s.client, c) })
		}
		<-time.After(time.Duration(50+rand.IntN(200)) * time.Millisecond)
		s.kill()
		stop()
		clients.Wait()
	}
	if len(k.acked) < 20 {
		t.Errorf("only %d files were put: the test did not do what it is for", len(k.acked))
	}
}

// killFiles knows what clients were told. Versions of a file count from 1; every
// third is a deletion.
type killFiles struct {
	t  *testing.T
	mu sync.Mutex // guards the maps

	acked, asked map[string]int // by name
}

// contentOf is the content of a version: of some names it is a blob.
func contentOf(name string, version int) []byte {
	text := fmt.Sprintf("%s %d ", name, version)
	if strings.HasSuffix(name, "large") {
		return bytes.Repeat([]byte(text), 20_000)
	}
	return []byte(text)
}

func (k *killFiles) do(ctx context.Context, c *client, method, path string, body io.Reader) (status int, text string) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/v1/data/"+path, body)
	if err != nil {
		k.t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err.Error() // it was killed
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(got)
}

// change changes files of its own until the server is killed.
func (k *killFiles) change(ctx context.Context, c *client, number int) {
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("c%d-%d-%s", number, i%7, []string{"small", "large"}[i%2])
		k.mu.Lock()
		version := max(k.acked[name], k.asked[name]) + 1
		k.asked[name] = version
		k.mu.Unlock()
		var status int
		var text string
		if version%3 == 0 {
			if status, text = k.do(ctx, c, http.MethodDelete, ".my/c/"+name, nil); status == http.StatusNotFound {
				status = http.StatusOK // an earlier one went, and was not answered
			}
		} else {
			status, text = k.do(ctx, c, http.MethodPut, ".my/c/"+name, bytes.NewReader(contentOf(name, version)))
		}
		switch status {
		case http.StatusOK:
			k.mu.Lock()
			k.acked[name] = version
			k.mu.Unlock()
		case 0:
			return
		default:
			k.t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

// check looks at all files, and returns how many of them are large.
func (k *killFiles) check(c *client) (large int) {
	for name, asked := range k.asked {
		status, text := k.do(k.t.Context(), c, http.MethodGet, ".my/c/"+name, nil)
		found := false
		for version := k.acked[name]; version <= asked && !found; version++ {
			gone := version%3 == 0
			if gone {
				found = status == http.StatusNotFound
			} else {
				found = status == http.StatusOK && text == string(contentOf(name, version))
			}
		}
		if !found {
			k.t.Errorf("%s: got %d and %s bytes, %.40q, want a version from %d to %d", name, status, strconv.Itoa(len(text)), text, k.acked[name], asked)
		}
		if status == http.StatusOK && strings.HasSuffix(name, "large") {
			large++
		}
	}
	return large
}
