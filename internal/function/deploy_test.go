package function_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

func TestDeploy(t *testing.T) {
	b := newBench(t)
	first := b.deploy(echo(), code("one"))
	if got, want := first, (function.Deployment{Name: "demo/echo", Version: first.Version, Live: first.Version, Changed: true, Build: first.Build}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := len(first.Version), 16; got != want {
		t.Errorf("got a hash of %d digits, want %d", got, want)
	}
	place := b.acquire("demo/echo")
	if got, want := place.Version, first.Version; got != want {
		t.Errorf("got a place of version %s, want %s", got, want)
	}
	if got, want := place.Timeout, 30*time.Second; got != want {
		t.Errorf("got the timeout %s, want %s", got, want)
	}
	second := b.deploy(echo(), code("two"))
	if got, want := second, (function.Deployment{Name: "demo/echo", Version: second.Version, Live: second.Version, Previous: first.Version, Changed: true, Build: second.Build}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := b.call("demo/echo@live"), "two"; got != want {
		t.Errorf("got %q of the new version, want %q", got, want)
	}
	if got, want := b.invoke(place), "one"; got != want {
		t.Errorf("got %q of a call that began before, want %q", got, want)
	}
	place.Release()
	b.close()
	if open := b.runner.open(); len(open) != 0 {
		t.Errorf("%d pools were not drained", len(open))
	}
}

func TestDeployOfTheSameDoesNothing(t *testing.T) {
	b := newBench(t)
	puts := 0
	b.records.put = func(function.Record) error { puts++; return nil }
	first := b.deploy(echo(), code("one"))
	again := b.deploy(echo(), code("one"))
	if want := (function.Deployment{Name: "demo/echo", Version: first.Version, Live: first.Version, Previous: first.Version}); again != want {
		t.Errorf("got %+v, want %+v", again, want)
	}
	if got := len(b.runner.started()); got != 1 || puts != 1 {
		t.Errorf("got %d pools and %d records, want 1 and 1", got, puts)
	}
	// The same after a restart, when no pool runs yet.
	b.close()
	b.open()
	if again := b.deploy(echo(), code("one")); again.Changed {
		t.Errorf("got %+v after a restart, want no change", again)
	}
	if got := len(b.runner.started()); got != 1 || puts != 1 {
		t.Errorf("got %d pools and %d records after a restart, want 1 and 1", got, puts)
	}
	if got, want := b.versions(), []string{first.Version}; !slices.Equal(got, want) {
		t.Errorf("got the directories %v, want %v", got, want)
	}
}

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*runnel.Function)
		pools  int
		check  func(t *testing.T, b *bench, p *pool)
	}{
		{"timeout", func(f *runnel.Function) { f.Timeout = time.Minute }, 1, func(t *testing.T, b *bench, _ *pool) {
			place := b.acquire("demo/echo")
			defer place.Release()
			if got, want := place.Timeout, time.Minute; got != want {
				t.Errorf("got the timeout %s, want %s", got, want)
			}
		}},
		{"workers", func(f *runnel.Function) { f.Workers = runnel.Workers{Min: 2, Max: 7} }, 1, func(t *testing.T, _ *bench, p *pool) {
			if got, want := p.workers(), (runnel.Workers{Min: 2, Max: 7, Idle: 5 * time.Minute}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}},
		{"env", func(f *runnel.Function) { f.Env = map[string]string{"A": "b"} }, 2, func(t *testing.T, _ *bench, p *pool) {
			if !slices.Contains(p.Env, "A=b") {
				t.Errorf("got the environment %q, want A=b in it", p.Env)
			}
		}},
		{"memory", func(f *runnel.Function) { f.Memory = 64 << 20 }, 2, func(t *testing.T, _ *bench, p *pool) {
			if got, want := p.Memory, int64(64<<20); got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		}},
		{"max_output", func(f *runnel.Function) { f.MaxOutput = 10 }, 2, func(t *testing.T, _ *bench, p *pool) {
			if got, want := p.MaxOutput, int64(10); got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			first := b.deploy(echo(), code("one"))
			def := echo()
			test.change(&def)
			second := b.deploy(def, code("one"))
			if second.Version != first.Version || !second.Changed {
				t.Errorf("got %+v after %+v, want a change of the same version", second, first)
			}
			pools := b.runner.started()
			if got, want := len(pools), test.pools; got != want {
				t.Fatalf("got %d pools, want %d", got, want)
			}
			test.check(t, b, pools[len(pools)-1])
			b.close()
			b.open()
			if again := b.deploy(def, code("one")); again.Changed {
				t.Error("the setting was not recorded")
			}
		})
	}
}

func TestDeployThatFailsChangesNothing(t *testing.T) {
	lost := errors.New("disk full")
	for _, test := range []struct {
		name   string
		deploy func(b *bench) error
		code   runnel.Code
		texts  []string
		kept   int // directories
	}{
		{"load", func(b *bench) error {
			_, err := b.set.Deploy(t.Context(), echo(), code("boom: password1"))
			return err
		}, runnel.CodeInvalid, []string{"SyntaxError: boom", "at worker:1"}, 1},
		{"no program", func(b *bench) error {
			def := echo()
			def.Handler = "./nothing"
			_, err := b.set.Deploy(t.Context(), def, code("two"))
			return err
		}, runnel.CodeInvalid, []string{"no program ./nothing"}, 1},
		{"not executable", func(b *bench) error {
			def := echo()
			def.Handler = "./text"
			_, err := b.set.Deploy(t.Context(), def, code("two"))
			return err
		}, runnel.CodeInvalid, []string{"chmod +x"}, 1},
		{"runner", func(b *bench) error {
			b.runner.fails = func(function.Program) error {
				return runnel.Errorf(runnel.CodeUnavailable, "no processes left")
			}
			_, err := b.set.Deploy(t.Context(), echo(), code("two"))
			b.runner.fails = nil
			return err
		}, runnel.CodeUnavailable, []string{"no processes left"}, 1},
		// Whether it was stored is not known, so the code stays.
		{"record", func(b *bench) error {
			b.records.put = func(function.Record) error { return lost }
			_, err := b.set.Deploy(t.Context(), echo(), code("two"))
			b.records.put = nil
			return err
		}, runnel.CodeInternal, []string{"disk full"}, 2},
		{"cancelled", func(b *bench) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := b.set.Deploy(ctx, echo(), code("two"))
			return err
		}, runnel.CodeInternal, []string{"canceled"}, 1},
		{"definition", func(b *bench) error {
			def := echo()
			def.Runtime = "cobol"
			_, err := b.set.Deploy(t.Context(), def, code("two"))
			return err
		}, runnel.CodeInternal, []string{"cobol"}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			first := b.deploy(echo(), code("one"))
			wantCode(t, test.deploy(b), test.code, test.texts...)
			if got, want := b.call("demo/echo"), "one"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			info, err := b.set.Get("demo/echo")
			if err != nil {
				t.Fatal(err)
			}
			if len(info.Versions) != 1 || info.Live != first.Version || info.State != function.StateReady {
				t.Errorf("got %+v, want the first version alone and ready", info)
			}
			if got := b.versions(); len(got) != test.kept {
				t.Errorf("got the directories %v, want %d", got, test.kept)
			}
			b.close()
			b.open()
			if got, want := b.call("demo/echo"), "one"; got != want {
				t.Errorf("got %q after a restart, want %q", got, want)
			}
			if got, want := b.versions(), []string{first.Version}; !slices.Equal(got, want) {
				t.Errorf("got the directories %v after a restart, want %v", got, want)
			}
			b.deploy(echo(), code("three"))
			if got, want := b.call("demo/echo"), "three"; got != want {
				t.Errorf("got %q after another deploy, want %q", got, want)
			}
		})
	}
}

func TestCrashAfterTheRecord(t *testing.T) {
	b := newBench(t)
	b.deploy(echo(), code("one"))
	// The record is stored, and the process that did it knows nothing of it.
	kept := b.records
	b.records.put = func(r function.Record) error {
		b.records = &records{}
		if err := b.records.Put(t.Context(), r); err != nil {
			return err
		}
		return errors.New("gone")
	}
	if _, err := b.set.Deploy(t.Context(), echo(), code("two")); err == nil {
		t.Fatal("got no error")
	}
	kept.put = nil
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q before the crash, want %q", got, want)
	}
	b.open()
	if got, want := b.call("demo/echo"), "two"; got != want {
		t.Errorf("got %q after it, want %q", got, want)
	}
}

func TestOpenRemovesWhatACrashLeft(t *testing.T) {
	b := newBench(t)
	d := b.deploy(echo(), code("one"))
	b.close()
	functions := filepath.Join(b.dir, "functions")
	for _, dir := range []string{"demo/echo/tmp-1234/code", "demo/echo/0123456789abcdef/code", "demo/gone/0123456789abcdef", "who/what/tmp-1"} {
		if err := os.MkdirAll(filepath.Join(functions, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(b.dir, "cache", "tmp-5"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.open()
	var got []string
	for _, pattern := range []string{"functions/*", "functions/*/*", "functions/*/*/*", "cache/*"} {
		names, err := filepath.Glob(filepath.Join(b.dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			rel, err := filepath.Rel(b.dir, n)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rel)
		}
	}
	if diff := cmp.Diff([]string{"functions/demo", "functions/demo/echo", "functions/demo/echo/" + d.Version}, got); diff != "" {
		t.Errorf("what is there (-want +got):\n%s", diff)
	}
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDamagedVersion(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"missing":   os.RemoveAll,
		"no code":   func(dir string) error { return os.RemoveAll(filepath.Join(dir, "code")) },
		"no file":   func(dir string) error { return os.Remove(filepath.Join(dir, "code", "text")) },
		"manifest":  func(dir string) error { return os.Truncate(filepath.Join(dir, "version.json"), 10) },
		"exec bit":  func(dir string) error { return os.Chmod(filepath.Join(dir, "code", "worker"), 0o644) },
		"truncated": func(dir string) error { return os.Truncate(filepath.Join(dir, "code", "text"), 0) },
		"other bytes": func(dir string) error {
			name := filepath.Join(dir, "code", "text")
			return errors.Join(os.Chmod(name, 0o644), os.WriteFile(name, []byte("owe"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			d := b.deploy(echo(), code("one"))
			other := echo()
			other.Name = "demo/other"
			b.deploy(other, code("other"))
			b.close()
			if err := damage(filepath.Join(b.dir, "functions", "demo", "echo", d.Version)); err != nil {
				t.Fatal(err)
			}
			b.open()
			_, err := b.set.Acquire(t.Context(), "demo/echo")
			wantCode(t, err, runnel.CodeUnavailable, "damaged", d.Version)
			if got, want := b.call("demo/other"), "other"; got != want {
				t.Errorf("got %q of the other function, want %q", got, want)
			}
			info, err := b.set.Get("demo/echo")
			if err != nil || info.State != function.StateFailing || !strings.Contains(info.LastError, "damaged") {
				t.Errorf("got %q, %q, %v, want it to be failing and to say why", info.State, info.LastError, err)
			}
			// The same code again mends it.
			b.deploy(echo(), code("one"))
			if got, want := b.call("demo/echo"), "one"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestConcurrentDeploys(t *testing.T) {
	b := newBench(t)
	var last string // the version of the last record
	b.records.put = func(r function.Record) error { last = r.Live; return nil }
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			if _, err := b.set.Deploy(t.Context(), echo(), code(fmt.Sprint(i%6))); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	_, got, err := b.set.Resolve("demo/echo")
	if err != nil || got != last {
		t.Errorf("got %s, %v as the live version, want the one recorded last, %s", got, err, last)
	}
	place := b.acquire("demo/echo")
	place.Release()
	if place.Version != last {
		t.Errorf("got a place of %s, want %s", place.Version, last)
	}
}

func TestOldVersionsAreRemoved(t *testing.T) {
	b := newBench(t)
	var hashes []string
	for i := range 14 {
		hashes = append(hashes, b.deploy(echo(), code(fmt.Sprint(i))).Version)
	}
	b.close()
	info, err := b.set.Get("demo/echo")
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, v := range info.Versions {
		kept = append(kept, v.Hash)
	}
	want := slices.Clone(hashes[len(hashes)-len(kept):])
	slices.Reverse(want)
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("the versions (-want +got):\n%s", diff)
	}
	// A version may stay longer, when its workers had not ended yet.
	if len(kept) < 10 || len(kept) > 14 {
		t.Errorf("got %d versions, want 10 or a few more", len(kept))
	}
	slices.Sort(kept)
	if diff := cmp.Diff(kept, b.versions()); diff != "" {
		t.Errorf("the directories (-want +got):\n%s", diff)
	}
}

// Calls go on while the code changes 200 times. A version that answers was
// live, at the earliest, by the last deploy that had ended when the call was
// asked for, and at the latest by the last that had begun when it was granted.
func TestNoCallBeginsOnAVersionThatIsNotLive(t *testing.T) {
	const deploys, callers = 200, 16
	b := newBench(t)
	def := echo()
	def.Workers.Max = 3
	b.deploy(def, code("0"))
	var begun, ended, calls atomic.Int64
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := ended.Load()
				place, err := b.set.Acquire(t.Context(), "demo/echo")
				if err != nil {
					t.Error(err)
					return
				}
				most := begun.Load()
				var got int64
				if _, err := fmt.Sscan(b.invoke(place), &got); err != nil || got < least || got > most {
					t.Errorf("got version %d, %v, want one of %d to %d", got, err, least, most)
				}
				place.Release()
				calls.Add(1)
			}
		})
	}
	for i := range int64(deploys) {
		begun.Store(i + 1)
		b.deploy(def, code(fmt.Sprint(i+1)))
		ended.Store(i + 1)
	}
	close(stop)
	group.Wait()
	t.Logf("%d calls", calls.Load())
	b.close()
	for _, p := range b.runner.started() {
		if p.killed || !p.ended || p.busy != 0 {
			t.Errorf("pool of %s: killed %t, ended %t, busy %d", p.Version, p.killed, p.ended, p.busy)
		}
	}
	if got := len(b.versions()); got > 2*10 {
		t.Errorf("got %d directories, want about 10", got)
	}
}
