package collection_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/collection"
	"github.com/runnel-io/runnel/internal/store"
	"github.com/runnel-io/runnel/internal/store/storetest"
)

// home is collections on a filesystem in memory. Contents over 16 bytes are
// blobs.
type home struct {
	*collection.Set
	store *store.Store
	fs    *storetest.CrashFS
	now   time.Time
}

func open(t testing.TB, fs *storetest.CrashFS, change func(*collection.Options)) *home {
	t.Helper()
	h := &home{fs: fs, now: time.Date(2026, 3, 4, 5, 6, 7, 8900, time.UTC)}
	var err error
	h.store, err = store.Open("data", store.Options{FS: fs, Log: slog.New(slog.DiscardHandler), Fail: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.store.Close() })
	opt := collection.Options{Dir: "data/blobs", FS: fs, Small: 16, MaxFile: 1 << 20, MaxCollections: 4, Now: func() time.Time { return h.now }}
	if change != nil {
		change(&opt)
	}
	if h.Set, err = collection.Open(h.store, opt); err != nil {
		t.Fatal(err)
	}
	return h
}

// openAt opens a copy.
func openAt(fs *storetest.CrashFS, dir string) (*home, error) {
	h := &home{fs: fs, now: time.Now()}
	var err error
	if h.store, err = store.Open(dir, store.Options{FS: fs, Fail: func(error) {}}); err != nil {
		return nil, err
	}
	h.Set, err = collection.Open(h.store, collection.Options{Dir: dir + "/blobs", FS: fs, Small: 16})
	return h, err
}

var things = collection.Ref{Kind: collection.Hosted, Owner: "demo", Name: "things"}

func (h *home) create(t testing.TB, ref collection.Ref) {
	t.Helper()
	if _, err := h.Create(t.Context(), ref, collection.Algorithms); err != nil {
		t.Fatal(err)
	}
}

func (h *home) put(t testing.TB, ref collection.Ref, name, text string) collection.File {
	t.Helper()
	f, err := h.Put(t.Context(), ref, name, collection.Content{Reader: strings.NewReader(text), Size: int64(len(text))})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// text is what a file holds, or the code of the error.
func (h *home) text(t testing.TB, ref collection.Ref, name string) string {
	t.Helper()
	r, err := h.Open(t.Context(), ref, name)
	if err != nil {
		return string(runnel.CodeOf(err))
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != r.Size || sha256.Sum256(b) != r.SHA256 || md5.Sum(b) != r.MD5 {
		t.Errorf("%s: the content is not that of its record", name)
	}
	return string(b)
}

// blobs are the files below the directory of blobs.
func (h *home) blobs(t testing.TB) (all []string) {
	t.Helper()
	folders, err := h.fs.List("data/blobs")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		names, err := h.fs.List(path.Join("data/blobs", f))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, names...)
	}
	return all
}

const (
	small = "small"
	large = "larger than sixteen bytes"
)

func TestFile(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.NewCrashFS(), nil)
	h.create(t, things)
	for i, text := range []string{small, "", large, strings.Repeat("x", 1<<20), small, large, "other text that is large"} {
		got := h.put(t, things, "f", text)
		if got.Size != int64(len(text)) || got.Modified != h.now.Truncate(time.Microsecond) {
			t.Errorf("%d: got %+v", i, got)
		}
		if got := h.text(t, things, "f"); got != text {
			t.Errorf("%d: got %.40q, want %.40q", i, got, text)
		}
		want := 0
		if len(text) > 16 {
			want = 1
		}
		if got := h.blobs(t); len(got) != want {
			t.Errorf("%d: %d blobs, want %d", i, len(got), want)
		}
	}
	if err := h.Remove(t.Context(), things, "f"); err != nil {
		t.Fatal(err)
	}
	if got := h.text(t, things, "f"); got != "not_found" {
		t.Errorf("got %q of a file that was removed", got)
	}
	want := collection.Stats{Written: 7, WrittenBytes: 5 + 0 + 25 + 1<<20 + 5 + 25 + 24, Read: 7, Removed: 1}
	if got := h.Stats(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := h.Remove(t.Context(), things, "f"); runnel.CodeOf(err) != runnel.CodeNotFound {
		t.Errorf("the second removal: %v", err)
	}
	if got := h.blobs(t); len(got) != 0 {
		t.Errorf("blobs are left: %q", got)
	}
}

func TestReaderKeepsWhatItOpened(t *testing.T) {
	t.Parallel()
	// On a disk: a file in memory goes with its name.
	dir := t.TempDir()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	set, err := collection.Open(s, collection.Options{Dir: dir + "/blobs", FS: store.Disk, Small: 16})
	if err != nil {
		t.Fatal(err)
	}
	h := &home{Set: set, store: s}
	h.create(t, things)
	for _, text := range []string{small, large} {
		for _, change := range []func(){
			func() { h.put(t, things, "f", "something else, which is large") },
			func() {
				if err := h.Remove(t.Context(), things, "f"); err != nil {
					t.Error(err)
				}
			},
			func() {
				if _, err := h.Delete(t.Context(), things, true); err != nil {
					t.Error(err)
				}
				h.create(t, things)
			},
		} {
			h.put(t, things, "f", text)
			r, err := h.Open(t.Context(), things, "f")
			if err != nil {
				t.Fatal(err)
			}
			change()
			if _, err := r.Seek(2, io.SeekStart); err != nil {
				t.Error(err)
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != text[2:] {
				t.Errorf("got %q and %v, want %q", got, err, text[2:])
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestContentThatDoesNotComeWhole(t *testing.T) {
	t.Parallel()
	wrong := md5.Sum([]byte("other"))
	broken := errors.New("connection reset")
	for name, content := range map[string]collection.Content{
		"small and short":  {Reader: strings.NewReader("short"), Size: 6},
		"small and long":   {Reader: strings.NewReader("longer"), Size: 5},
		"large and short":  {Reader: strings.NewReader(large), Size: 26},
		"large and long":   {Reader: strings.NewReader(large), Size: 24},
		"small and broken": {Reader: io.MultiReader(strings.NewReader("a"), iotest.ErrReader(broken)), Size: -1},
		"large and broken": {Reader: io.MultiReader(strings.NewReader(large), iotest.ErrReader(broken)), Size: -1},
		"cut by HTTP":      {Reader: io.MultiReader(strings.NewReader(large), iotest.ErrReader(io.ErrUnexpectedEOF)), Size: 100},
		"small, wrong MD5": {Reader: strings.NewReader(small), Size: 5, MD5: wrong[:]},
		"large, wrong MD5": {Reader: strings.NewReader(large), Size: -1, MD5: wrong[:]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, storetest.NewCrashFS(), nil)
			h.create(t, things)
			h.put(t, things, "old", "this was there before")
			all := content.Reader
			for _, file := range []string{"old", "new"} {
				_, err := h.Put(t.Context(), things, file, content)
				if !errors.Is(err, collection.ErrContent) || runnel.CodeOf(err) != runnel.CodeInvalid {
					t.Errorf("%s: got %v", file, err)
				}
				if s, ok := all.(io.Seeker); ok {
					_, _ = s.Seek(0, io.SeekStart)
				} else {
					content.Reader = iotest.ErrReader(broken)
				}
			}
			if got := h.text(t, things, "old"); got != "this was there before" {
				t.Errorf("old: got %q", got)
			}
			if got := h.text(t, things, "new"); got != "not_found" {
				t.Errorf("new: got %q", got)
			}
			if got := h.blobs(t); len(got) != 1 {
				t.Errorf("blobs: got %q, want that of old", got)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.NewCrashFS(), nil)
	h.create(t, things)
	endless := rand.NewChaCha8([32]byte{})
	for _, test := range []struct {
		what string
		err  error
		want runnel.Code
	}{
		{"announced", put(t, h, things, "f", strings.NewReader(""), 1<<20+1), runnel.CodeTooLarge},
		{"not announced", put(t, h, things, "f", endless, -1), runnel.CodeTooLarge},
		{"exactly", put(t, h, things, "f", io.LimitReader(endless, 1<<20), -1), ""},
		{"no collection", put(t, h, collection.Ref{Kind: collection.Hosted, Owner: "demo", Name: "none"}, "f", strings.NewReader(""), 0), runnel.CodeNotFound},
		{"empty name", put(t, h, things, "", strings.NewReader(""), 0), runnel.CodeInvalid},
		{"long name", put(t, h, things, strings.Repeat("ü", 128), strings.NewReader(""), 0), runnel.CodeInvalid},
		{"longest name", put(t, h, things, strings.Repeat("ü", 127), strings.NewReader(""), 0), ""},
		{"..", put(t, h, things, "..", strings.NewReader(""), 0), runnel.CodeInvalid},
		{"slash", put(t, h, things, "a/b", strings.NewReader(""), 0), runnel.CodeInvalid},
		{"backslash", put(t, h, things, `a\b`, strings.NewReader(""), 0), runnel.CodeInvalid},
		{"newline", put(t, h, things, "a\nb", strings.NewReader(""), 0), runnel.CodeInvalid},
		{"not UTF-8", put(t, h, things, "a\xff", strings.NewReader(""), 0), runnel.CodeInvalid},
	} {
		if got := runnel.CodeOf(test.err); got != test.want && (test.err != nil || test.want != "") {
			t.Errorf("%s: got %v, want %q", test.what, test.err, test.want)
		}
	}
	for name, want := range map[string]runnel.Code{"": runnel.CodeInvalid, ".my": runnel.CodeInvalid, "a/b": runnel.CodeInvalid, "things": runnel.CodeConflict} {
		_, err := h.Create(t.Context(), collection.Ref{Kind: collection.Hosted, Owner: "demo", Name: name}, collection.Private)
		if runnel.CodeOf(err) != want {
			t.Errorf("create %q: got %v, want %s", name, err, want)
		}
	}
	if _, err := h.Create(t.Context(), collection.Ref{Kind: collection.Hosted, Owner: "demo", Name: "x"}, "everybody"); runnel.CodeOf(err) != runnel.CodeInvalid {
		t.Errorf("an unknown access: got %v", err)
	}
	for i := range 4 {
		_, err := h.Create(t.Context(), collection.Ref{Kind: collection.Hosted, Owner: "demo", Name: fmt.Sprint("c", i)}, collection.Private)
		if want := i == 3; (runnel.CodeOf(err) == runnel.CodeLimit) != want {
			t.Errorf("collection %d: got %v", i+2, err)
		}
	}
	h.create(t, collection.Ref{Kind: collection.Hosted, Owner: "demon", Name: "things"}) // of another owner
	for i := range 5 {
		err := put(t, h, collection.Ref{Kind: collection.Permanent, Owner: "demo", Name: fmt.Sprint("acme/f", i)}, "f", strings.NewReader("x"), 1)
		if want := i == 4; (runnel.CodeOf(err) == runnel.CodeLimit) != want {
			t.Errorf("permanent collection %d: got %v", i+1, err)
		}
		if err := put(t, h, collection.Ref{Kind: collection.Session, Owner: "demo", Name: fmt.Sprint("s", i)}, "f", strings.NewReader("x"), 1); err != nil {
			t.Errorf("session %d: got %v", i+1, err)
		}
	}
}

func put(t testing.TB, h *home, ref collection.Ref, name string, r io.Reader, size int64) error {
	t.Helper()
	_, err := h.Put(t.Context(), ref, name, collection.Content{Reader: r, Size: size})
	return err
}

func TestRoom(t *testing.T) {
	t.Parallel()
	fs := storetest.NewCrashFS()
	h := open(t, fs, nil)
	h.create(t, things)
	h.put(t, things, "f", large)
	// 300 MiB, of which 256 are kept.
	fs.SetFree(300 << 20)
	wait(t, func() bool { return h.store.RoomFor(100<<20) != nil })
	if err := put(t, h, things, "g", strings.NewReader("x"), 1<<19); runnel.CodeOf(err) != runnel.CodeInvalid {
		t.Errorf("half a MiB that is too short: got %v", err)
	}
	fs.SetFree(1 << 20)
	wait(t, func() bool { return h.store.RoomFor(0) != nil })
	for _, size := range []int64{0, 5, 100} {
		if err := put(t, h, things, "f", strings.NewReader(""), size); !errors.Is(err, store.ErrNoSpace) || runnel.CodeOf(err) != runnel.CodeUnavailable {
			t.Errorf("%d bytes: got %v", size, err)
		}
	}
	if err := h.Remove(t.Context(), things, "f"); err != nil {
		t.Errorf("a removal: got %v", err)
	}
}

// TestRoomGoesWhileAFileComes: what is being written is given up.
func TestRoomGoesWhileAFileComes(t *testing.T) {
	t.Parallel()
	fs := storetest.NewCrashFS()
	h := open(t, fs, func(o *collection.Options) { o.MaxFile = 1 << 30 })
	h.create(t, things)
	endless := rand.NewChaCha8([32]byte{})
	n := 0
	r := readerFunc(func(b []byte) (int, error) {
		if n += len(b); n > 8<<20 {
			fs.SetFree(1)
			wait(t, func() bool { return h.store.RoomFor(0) != nil })
		}
		return endless.Read(b)
	})
	if err := put(t, h, things, "f", r, -1); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	if n > 32<<20 {
		t.Errorf("%d bytes were read", n)
	}
	if got := h.blobs(t); len(got) != 0 {
		t.Errorf("blobs are left: %q", got)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// wait waits until ok, which asks what changes at most four times a second.
func wait(t testing.TB, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal("it does not happen")
		case <-tick.C:
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.NewCrashFS(), nil)
	h.create(t, things)
	other := collection.Ref{Kind: collection.Hosted, Owner: "demo", Name: "thing"}
	h.create(t, other)
	var want []string
	for i := range 25 {
		name := fmt.Sprintf("file-%02d", i)
		h.put(t, things, name, strings.Repeat("x", i))
		want = append(want, name)
	}
	h.put(t, other, "file-99", "")
	var got []string
	after, pages := "", 0
	for more := true; more; pages++ {
		list, m, err := h.Files(t.Context(), things, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			got = append(got, f.Name)
			after = f.Name
		}
		more = m
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("got %q in %d pages", got, pages)
	}
	if list, more, err := h.Files(t.Context(), things, "file-14", 10); err != nil || len(list) != 10 || more {
		t.Errorf("a full last page: got %d files, more %v, %v", len(list), more, err)
	}
	collections, more, err := h.Collections(t.Context(), "demo", "thing", 1)
	if err != nil || len(collections) != 1 || collections[0].Name != "things" || more {
		t.Errorf("collections: got %+v, %v, %v", collections, more, err)
	}
	if err := h.SetAccess(t.Context(), things, collection.Public); err != nil {
		t.Fatal(err)
	}
	if c, err := h.Collection(t.Context(), things); err != nil || c.Access != collection.Public || !c.Created.Equal(h.now) {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.NewCrashFS(), nil)
	h.create(t, things)
	h.put(t, things, "a", small)
	h.put(t, things, "b", large)
	if n, err := h.Delete(t.Context(), things, false); n != 0 || runnel.CodeOf(err) != runnel.CodeConflict {
		t.Errorf("with files: got %d, %v", n, err)
	}
	if n, err := h.Delete(t.Context(), things, true); n != 2 || err != nil {
		t.Errorf("forced: got %d, %v", n, err)
	}
	if got := h.blobs(t); len(got) != 0 {
		t.Errorf("blobs are left: %q", got)
	}
	h.create(t, things)
	if list, _, err := h.Files(t.Context(), things, "", 10); len(list) != 0 || err != nil {
		t.Errorf("what is made anew has files: %+v, %v", list, err)
	}
	if n, err := h.Delete(t.Context(), things, false); n != 0 || err != nil {
		t.Errorf("empty: got %d, %v", n, err)
	}
	if _, err := h.Delete(t.Context(), things, true); runnel.CodeOf(err) != runnel.CodeNotFound {
		t.Errorf("gone: got %v", err)
	}
}

// TestDeleteWhileAFileComes: the file goes nowhere, also if the collection is
// made anew.
func TestDeleteWhileAFileComes(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.NewCrashFS(), nil)
	h.create(t, things)
	for _, again := range []bool{true, false} {
		h.put(t, things, "a", large)
		r := io.MultiReader(strings.NewReader(large), readerFunc(func([]byte) (int, error) {
			if _, err := h.Delete(t.Context(), things, true); err != nil {
				t.Error(err)
			}
			if again {
				h.create(t, things)
			}
			return 0, io.EOF
		}))
		if err := put(t, h, things, "f", r, -1); runnel.CodeOf(err) != runnel.CodeNotFound {
			t.Errorf("got %v", err)
		}
		if got := h.text(t, things, "f"); got != "not_found" {
			t.Errorf("got %q", got)
		}
		if got := h.blobs(t); len(got) != 0 {
			t.Errorf("blobs are left: %q", got)
		}
	}
}

func TestAges(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.NewCrashFS(), nil)
	session := collection.Ref{Kind: collection.Session, Owner: "demo", Name: "s-1"}
	temporary := collection.Ref{Kind: collection.Temporary, Owner: "demo", Name: "acme/algo"}
	permanent := collection.Ref{Kind: collection.Permanent, Owner: "demo", Name: "acme/algo"}
	h.create(t, things)
	for _, ref := range []collection.Ref{session, temporary, permanent, things} {
		h.put(t, ref, "f", large)
		h.put(t, ref, "g", small)
	}
	left := func() (out []string) {
		for _, ref := range []collection.Ref{session, temporary, permanent, things} {
			out = append(out, h.text(t, ref, "f"))
		}
		return out
	}
	h.now = h.now.Add(time.Hour)
	h.put(t, session, "g", small) // again
	h.now = h.now.Add(time.Minute)
	if got, want := left(), []string{"not_found", large, large, large}; !slices.Equal(got, want) {
		t.Errorf("after an hour: got %q, want %q", got, want)
	}
	if list, _, err := h.Files(t.Context(), session, "", 10); len(list) != 1 || err != nil {
		t.Errorf("listed: %+v, %v", list, err)
	}
	if got := h.blobs(t); len(got) != 4 {
		t.Errorf("%d blobs before the sweep", len(got))
	}
	if err := h.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.blobs(t); len(got) != 3 {
		t.Errorf("%d blobs after the sweep", len(got))
	}
	if got := h.text(t, session, "g"); got != small {
		t.Errorf("what was written again: got %q", got)
	}
	h.now = h.now.Add(24 * time.Hour)
	if err := h.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := left(), []string{"not_found", "not_found", large, large}; !slices.Equal(got, want) {
		t.Errorf("after a day: got %q, want %q", got, want)
	}
	for _, ref := range []collection.Ref{session, temporary} {
		if _, err := h.Collection(t.Context(), ref); runnel.CodeOf(err) != runnel.CodeNotFound {
			t.Errorf("the collection of kind %c is still there: %v", ref.Kind, err)
		}
	}
	h.put(t, session, "f", small)
	if err := h.EndSession(t.Context(), "demo", "s-1"); err != nil {
		t.Fatal(err)
	}
	if err := h.EndSession(t.Context(), "demo", "s-1"); err != nil {
		t.Errorf("the end of a session without files: %v", err)
	}
	if err := h.DeleteOwner(t.Context(), "demo"); err != nil {
		t.Fatal(err)
	}
	if got, want := left(), []string{"not_found", "not_found", "not_found", "not_found"}; !slices.Equal(got, want) {
		t.Errorf("without its owner: got %q", got)
	}
}

// TestSweepWhileAFileComes: the collection that it goes to stays, though it is
// empty.
func TestSweepWhileAFileComes(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.NewCrashFS(), nil)
	session := collection.Ref{Kind: collection.Session, Owner: "demo", Name: "s-1"}
	r := io.MultiReader(strings.NewReader(large), readerFunc(func([]byte) (int, error) {
		if err := h.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
		return 0, io.EOF
	}))
	if err := put(t, h, session, "f", r, -1); err != nil {
		t.Fatal(err)
	}
	if got := h.text(t, session, "f"); got != large {
		t.Errorf("got %q", got)
	}
}

// TestRaces has all that can happen to a name at once, and then looks for what
// should not be there.
func TestRaces(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.NewCrashFS(), nil)
	h.create(t, things)
	texts := []string{small, large, "", strings.Repeat("y", 100)}
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 60 {
				name := []string{"a", "b"}[random.IntN(2)]
				var err error
				switch random.IntN(10) {
				case 0:
					err = h.Remove(t.Context(), things, name)
				case 1:
					if _, err = h.Delete(t.Context(), things, true); err == nil {
						_, err = h.Create(t.Context(), things, collection.Private)
					}
				case 2:
					err = h.Sweep(t.Context())
				case 3, 4, 5:
					var r *collection.Reader
					if r, err = h.Open(t.Context(), things, name); err == nil {
						var b bytes.Buffer
						if _, err := b.ReadFrom(r); err != nil || !slices.Contains(texts, b.String()) {
							t.Errorf("read %q, %v", b.String(), err)
						}
						err = r.Close()
					}
				default:
					err = put(t, h, things, name, strings.NewReader(texts[random.IntN(len(texts))]), -1)
				}
				if err != nil && runnel.CodeOf(err) != runnel.CodeNotFound && runnel.CodeOf(err) != runnel.CodeConflict {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := h.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Delete(t.Context(), things, true); err != nil && runnel.CodeOf(err) != runnel.CodeNotFound {
		t.Fatal(err)
	}
	if got := h.blobs(t); len(got) != 0 {
		t.Errorf("blobs are left: %q", got)
	}
	for space, what := range map[store.Space]string{'i': "files", 'b': "contents"} {
		if err := h.store.Scan(space, nil, func(key, _ []byte) bool { t.Errorf("%s are left: %x", what, key); return false }); err != nil {
			t.Error(err)
		}
	}
}
