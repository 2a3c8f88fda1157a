package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// filesSide is a client of the files of a server.
type filesSide struct {
	http        *http.Client
	url, key    string
	pid         int
	connections int
	scratch     string
}

// filesCommand measures one side of filesScenario and prints its figures.
func filesCommand(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("files", flag.ContinueOnError)
	var s filesSide
	name := flags.String("side", "", "small, disk, large or list")
	flags.StringVar(&s.url, "url", "", "of the server")
	flags.StringVar(&s.key, "key", "", "to it")
	flags.IntVar(&s.pid, "pid", 0, "of it")
	flags.IntVar(&s.connections, "connections", 64, "how many")
	flags.StringVar(&s.scratch, "scratch", "", "directory on the disk to measure")
	seconds := flags.Duration("seconds", 5*time.Second, "how long; small")
	size := flags.Int64("bytes", 1<<30, "how large; disk, large")
	count := flags.Int("count", 100_000, "how many files; list")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: s.connections, DisableCompression: true}}
	if *name != "disk" {
		// A run begins with nothing.
		_, _ = s.do(ctx, http.MethodDelete, ".my/bench?force=true", nil, 0)
		if _, err := s.do(ctx, http.MethodPost, ".my", strings.NewReader("bench"), 5); err != nil {
			return err
		}
	}
	f, err := map[string]func() (figures, error){
		"small": func() (figures, error) { return s.small(ctx, *seconds) },
		"disk":  func() (figures, error) { return s.disk(*size) },
		"large": func() (figures, error) { return s.large(ctx, *size) },
		"list":  func() (figures, error) { return s.list(ctx, *count) },
	}[*name]()
	if err != nil {
		return fmt.Errorf("%s: %w", *name, err)
	}
	f.Mode, f.Durability, f.Commit = "files", "fsync before acknowledgement", commit(ctx)
	f.Machine.CPU, f.Machine.Cores, f.Machine.Kernel, f.Machine.Go = cpuModel(), runtime.NumCPU(), kernel(), runtime.Version()
	return json.NewEncoder(out).Encode(f)
}

// do makes a request of the data API and returns the answer.
func (s *filesSide) do(ctx context.Context, method, path string, body io.Reader, size int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+"/v1/data/"+path, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	req.Header.Set("Authorization", s.key)
	res, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: status %d: %.300s", method, path, res.StatusCode, text)
	}
	return text, err
}

// measure returns the figures of calls.
func (s *filesSide) measure(do func() ([]time.Duration, error)) (figures, error) {
	own, server, begun := ownCPU(), processCPU(s.pid), time.Now()
	took, err := do()
	if err != nil {
		return figures{}, err
	}
	long := time.Since(begun)
	own, server = ownCPU()-own, processCPU(s.pid)-server
	slices.Sort(took)
	n := float64(len(took))
	ms := func(q float64) float64 { return took[min(int(q*n), len(took)-1)].Seconds() * 1000 }
	return figures{
		Messages: int64(len(took)), Seconds: long.Seconds(), Rate: n / long.Seconds(),
		CPU: own.Seconds() * 1e6 / n, ServerCPU: server.Seconds() * 1e6 / n,
		Wake: &latency{P50: ms(0.5), P99: ms(0.99), P999: ms(0.999), Max: ms(1)},
	}, nil
}

// small puts a kilobyte and gets it, again and again: each connection has a
// thousand names.
func (s *filesSide) small(ctx context.Context, long time.Duration) (figures, error) {
	callers := make([]caller, s.connections)
	for c := range callers {
		body := make([]byte, 1024)
		r := rand.New(rand.NewPCG(1, uint64(c))) //nolint:gosec // no secret
		n := 0
		callers[c] = func(ctx context.Context, _ string) error {
			body[r.IntN(len(body))]++
			n++
			path := fmt.Sprintf(".my/bench/file-%d-%d", c, n%1000)
			if _, err := s.do(ctx, http.MethodPut, path, bytes.NewReader(body), int64(len(body))); err != nil {
				return err
			}
			got, err := s.do(ctx, http.MethodGet, path, nil, 0)
			if err == nil && !bytes.Equal(got, body) {
				err = errors.New("what was put is not what is there")
			}
			return err
		}
	}
	if _, err := drive(ctx, callers, long/10); err != nil {
		return figures{}, err
	}
	return s.measure(func() ([]time.Duration, error) { return drive(ctx, callers, long) })
}

// content is size bytes that do not compress, as fast as memory is.
type content struct {
	block []byte
	left  int64
}

func newContent(size int64) *content {
	c := &content{block: make([]byte, 1<<20), left: size}
	_, _ = rand.NewChaCha8([32]byte{1}).Read(c.block) // never fails
	return c
}

func (c *content) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.block[:min(int64(len(c.block)), c.left)])
	c.left -= int64(n)
	return n, nil
}

// disk writes a file, and syncs it.
func (s *filesSide) disk(size int64) (f figures, err error) {
	file, err := os.Create(filepath.Join(s.scratch, "sequential"))
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	c := newContent(size)
	begun := time.Now()
	for c.left > 0 {
		n, err := file.Write(c.block)
		if err != nil {
			return f, err
		}
		c.left -= int64(n)
	}
	if err := file.Sync(); err != nil {
		return f, err
	}
	f.Seconds = time.Since(begun).Seconds()
	f.Rate, f.Messages = float64(size)/1e6/f.Seconds, 1
	return f, nil
}

// large uploads a file. Its rate is in MB/s.
func (s *filesSide) large(ctx context.Context, size int64) (figures, error) {
	before, _ := residentBytes(s.pid)
	f, err := s.measure(func() ([]time.Duration, error) {
		begun := time.Now()
		_, err := s.do(ctx, http.MethodPut, ".my/bench/large", newContent(size), size)
		return []time.Duration{time.Since(begun)}, err
	})
	f.RSS = before
	_, f.ServerRSS = residentBytes(s.pid)
	f.Rate = float64(size) / 1e6 / f.Seconds
	return f, err
}

// list puts files and lists them by pages.
func (s *filesSide) list(ctx context.Context, count int) (figures, error) {
	begun := time.Now()
	callers := make([]caller, s.connections)
	failed := make(chan error) // nobody closes it
	for c := range callers {
		go func() {
			var err error
			for i := c; i < count && err == nil; i += len(callers) {
				_, err = s.do(ctx, http.MethodPut, fmt.Sprintf(".my/bench/file-%06d", i), strings.NewReader("x"), 1)
			}
			failed <- err
		}()
	}
	for range callers {
		if err := <-failed; err != nil {
			return figures{}, err
		}
	}
	preload := time.Since(begun)
	seen := 0
	f, err := s.measure(func() (took []time.Duration, err error) {
		for marker := ""; ; {
			begun := time.Now()
			text, err := s.do(ctx, http.MethodGet, ".my/bench?marker="+url.QueryEscape(marker), nil, 0)
			if err != nil {
				return nil, err
			}
			var page struct {
				Files  []struct{ Filename string }
				Marker string
			}
			if err := json.Unmarshal(text, &page); err != nil {
				return nil, err
			}
			took = append(took, time.Since(begun))
			seen += len(page.Files)
			if marker = page.Marker; marker == "" {
				return took, nil
			}
		}
	})
	if err == nil && seen != count {
		err = fmt.Errorf("%d of %d files were listed", seen, count)
	}
	f.PreloadSeconds = preload.Seconds()
	return f, err
}
