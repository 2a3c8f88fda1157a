package collection_test

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/collection"
	"github.com/runnel-io/runnel/internal/store/storetest"
)

// TestCrash takes the power away before and after every sync, and looks at what
// is there then: what was acknowledged, and of the change under way all or
// nothing; every blob is content, and nothing else is on the disk.
func TestCrash(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			testCrash(t, seed)
		})
	}
}

// crashes is what a crash is compared with.
type crashes struct {
	mu sync.Mutex
	// before is what was acknowledged, after what is so when the change under
	// way is. A collection is there under its name and a slash.
	before, after map[string]string
	n             int
}

func (c *crashes) change(t *testing.T, apply func(map[string]string), do func() error) {
	c.mu.Lock()
	c.after = maps.Clone(c.before)
	apply(c.after)
	c.mu.Unlock()
	if err := do(); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = c.after
}

func testCrash(t *testing.T, seed uint64) {
	fs := storetest.NewCrashFS()
	h := open(t, fs, nil)
	h.create(t, things)
	c := &crashes{before: map[string]string{"things/": ""}, after: map[string]string{"things/": ""}}
	fs.AtSync = func() { c.look(t, fs) }
	random := rand.New(rand.NewPCG(seed, 1))
	for range 40 {
		name := []string{"things/a", "things/b"}[random.IntN(2)]
		_, file, _ := strings.Cut(name, "/")
		text := []string{small, large, "another that is larger than that"}[random.IntN(3)]
		switch random.IntN(8) {
		case 0:
			if _, ok := c.before[name]; ok {
				c.change(t, func(m map[string]string) { delete(m, name) }, func() error { return h.Remove(t.Context(), things, file) })
			}
		case 1:
			c.change(t, func(m map[string]string) { clear(m) }, func() error { _, err := h.Delete(t.Context(), things, true); return err })
			c.change(t, func(m map[string]string) { m["things/"] = "" }, func() error {
				_, err := h.Create(t.Context(), things, collection.Private)
				return err
			})
		case 2: // that breaks off
			r := io.MultiReader(strings.NewReader(large), readerFunc(func([]byte) (int, error) { return 0, io.ErrClosedPipe }))
			if err := put(t, h, things, file, r, -1); err == nil {
				t.Error("a content that breaks off was taken")
			}
		default:
			c.change(t, func(m map[string]string) { m[name] = text }, func() error { return put(t, h, things, file, strings.NewReader(text), -1) })
		}
	}
	if err := h.store.Close(); err != nil {
		t.Error(err)
	}
	fs.AtSync = func() {}
	if c.n < 100 {
		t.Errorf("there were %d crashes only", c.n)
	}
}

func (c *crashes) look(t *testing.T, fs *storetest.CrashFS) {
	// What is promised by now, before the crash is taken.
	c.mu.Lock()
	before, after := maps.Clone(c.before), maps.Clone(c.after)
	c.mu.Unlock()
	c.n++
	crashed := &home{now: time.Now()}
	*crashed = *open(t, fs.Crash(), nil)
	defer func() {
		if err := crashed.store.Close(); err != nil {
			t.Error(err)
		}
	}()
	got, blobs := make(map[string]string), 0
	if _, err := crashed.Collection(t.Context(), things); err == nil {
		got["things/"] = ""
		list, _, err := crashed.Files(t.Context(), things, "", 100)
		if err != nil {
			t.Error(err)
		}
		for _, f := range list {
			got["things/"+f.Name] = crashed.text(t, things, f.Name)
			if f.Size > 16 {
				blobs++
			}
		}
	}
	c.mu.Lock()
	later := maps.Clone(c.after) // another change may have begun meanwhile
	c.mu.Unlock()
	if !cmp.Equal(got, before) && !cmp.Equal(got, after) && !cmp.Equal(got, later) {
		t.Errorf("crash %d: got %v, want %v or %v", c.n, got, before, after)
	}
	if all := crashed.blobs(t); len(all) != blobs {
		t.Errorf("crash %d: %d blobs, want %d", c.n, len(all), blobs)
	}
}

// TestCopy is what a backup makes, while files come and go.
func TestCopy(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.NewCrashFS(), nil)
	h.create(t, things)
	for i := range 20 {
		h.put(t, things, fmt.Sprint("f", i), fmt.Sprint("larger than sixteen bytes, and file ", i))
	}
	stop := make(chan struct{})
	var changing sync.WaitGroup
	for worker := range 4 {
		changing.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(worker)))
			for {
				select {
				case <-stop:
					return
				default:
				}
				i := random.IntN(20)
				h.put(t, things, fmt.Sprint("f", i), fmt.Sprint("larger than sixteen bytes, ", random.Uint64(), ", and file ", i))
			}
		})
	}
	for n := range 10 {
		dest := fmt.Sprint("copy", n)
		late := make(chan struct{})
		err := h.Copy(dest+"/blobs", func() error {
			err := h.store.Backup(dest)
			// One that begins now has no note in the copy, and must wait.
			go func() {
				defer close(late)
				h.put(t, things, fmt.Sprint("late", n), large)
			}()
			select {
			case <-late:
			case <-time.After(20 * time.Millisecond):
			}
			return err
		})
		<-late
		if err := h.Remove(t.Context(), things, fmt.Sprint("late", n)); err != nil {
			t.Error(err)
		}
		if err != nil {
			t.Error(err)
			break
		}
		s, err := openAt(h.fs, dest)
		if err != nil {
			t.Error(err)
			break
		}
		for i := range 20 {
			if got := s.text(t, things, fmt.Sprint("f", i)); !strings.HasSuffix(got, fmt.Sprint("and file ", i)) {
				t.Errorf("copy %d: file %d is %q", n, i, got)
			}
		}
		names, err := h.fs.List(dest + "/blobs")
		if err != nil || len(names) != 1 {
			t.Errorf("copy %d: got %q, %v", n, names, err)
			continue
		}
		if names, err = h.fs.List(dest + "/blobs/" + names[0]); len(names) != 20 || err != nil {
			t.Errorf("copy %d: %d blobs, %v", n, len(names), err)
		}
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	changing.Wait()
	if err := h.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.blobs(t); len(got) != 20 {
		t.Errorf("%d blobs are left", len(got))
	}
}
