package function_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// vault has the secrets of functions.
type vault struct {
	mu   sync.Mutex
	of   map[string]map[string]string
	fail error
}

func (v *vault) set(function, name, value string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = make(map[string]map[string]string)
	}
	v.of[function] = map[string]string{name: value} // a new one: the old may be read
}

func (v *vault) secrets(_ context.Context, def runnel.Function) (map[string]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil && def.Name == "demo/echo" {
		return nil, v.fail
	}
	return v.of[def.Name], nil
}

// newVault opens a set that takes its secrets from a vault.
func newVault(t *testing.T) (*bench, *vault) {
	v := &vault{}
	b := &bench{t: t, dir: t.TempDir(), records: &records{}, runner: &runner{}, secrets: v.secrets}
	b.open()
	return b, v
}

func TestSecrets(t *testing.T) {
	b, v := newVault(t)
	v.set("demo/echo", "TOKEN", "s3cr3t-s3cr3t")
	v.set("demo/other", "TOKEN", "another one")
	def := echo()
	def.Env = map[string]string{"TOKEN": "of the definition", "MODE": "loud"}
	b.deploy(def, code("one"))
	p := b.runner.started()[0]
	for _, want := range []string{"TOKEN=s3cr3t-s3cr3t", "MODE=loud"} {
		if !slices.Contains(p.Env, want) {
			t.Errorf("got the environment %q, want %s in it", p.Env, want)
		}
	}
	if diff := cmp.Diff([]string{"loud", "s3cr3t-s3cr3t"}, p.Mask); diff != "" {
		t.Errorf("masked values (-want +got):\n%s", diff)
	}
	// They are no part of what is kept or shown.
	info, err := b.set.Get("demo/echo")
	if want := map[string]string{"TOKEN": "***", "MODE": "***"}; err != nil || !cmp.Equal(want, info.Definition.Env) {
		t.Errorf("got %v, %v; want %v", info.Definition.Env, err, want)
	}
	if text := string(b.records.kept["demo/echo"]); strings.Contains(text, "s3cr3t") {
		t.Errorf("the secret is in the record: %s", text)
	}
	// A deploy of the same does not start workers again.
	if d := b.deploy(def, code("one")); d.Changed {
		t.Error("a deploy of the same changed something")
	}
}

// TestSecretThatCannotBeRead keeps one function from starting, and no other.
func TestSecretThatCannotBeRead(t *testing.T) {
	b, v := newVault(t)
	other := echo()
	other.Name = "demo/other"
	b.deploy(other, code("fine"))
	v.fail = runnel.Errorf(runnel.CodeUnavailable, "the secret TOKEN does not open")
	_, err := b.set.Deploy(t.Context(), echo(), code("one"))
	wantCode(t, err, runnel.CodeUnavailable, "the secret TOKEN does not open")
	if got := b.call("demo/other"); got != "fine" {
		t.Errorf("got %q of another function", got)
	}
}

// TestRefresh changes a secret again and again while calls are made: none
// fails, and none that begins after a change runs with the old value.
func TestRefresh(t *testing.T) {
	b, v := newVault(t)
	v.set("demo/echo", "TOKEN", "value-0")
	def := echo()
	def.Workers.Max = 4
	b.deploy(def, code("one"))
	var now atomic.Int64 // the value that Refresh has returned for
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var calls atomic.Int64
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				least := now.Load()
				place := b.acquire("demo/echo")
				p := place.Call.(*pool)
				i := slices.IndexFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "TOKEN=value-") })
				if got := int64(p.Env[i][len("TOKEN=value-")] - '0'); got < least {
					t.Errorf("a call that began after the value %d got %d", least, got)
				}
				b.invoke(place)
				place.Release()
				calls.Add(1)
			}
		})
	}
	for i := int64(1); i < 10; i++ {
		for before := calls.Load(); calls.Load() < before+50 && !t.Failed(); {
			place := b.acquire("demo/echo")
			place.Release()
		}
		v.set("demo/echo", "TOKEN", "value-"+string(rune('0'+i)))
		if err := b.set.Refresh(t.Context(), "demo/echo"); err != nil {
			t.Fatal(err)
		}
		now.Store(i)
	}
	stop()
	callers.Wait()
	b.close()
	if left := b.runner.open(); len(left) != 0 {
		t.Errorf("%d pools were not drained", len(left))
	}
}

// TestRefreshThatFails leaves the old workers at work.
func TestRefreshThatFails(t *testing.T) {
	b, v := newVault(t)
	v.set("demo/echo", "TOKEN", "the old value")
	b.deploy(echo(), code("one"))
	v.set("demo/echo", "TOKEN", "the new value")
	b.runner.fails = func(p function.Program) error {
		return &runnel.FunctionError{Kind: runnel.KindError, Message: "the new value is refused"}
	}
	err := b.set.Refresh(t.Context(), "demo/echo")
	wantCode(t, err, runnel.CodeInvalid, "*** is refused")
	place := b.acquire("demo/echo")
	defer place.Release()
	if got := place.Call.(*pool).Mask; !slices.Equal(got, []string{"the old value"}) {
		t.Errorf("got the values %q", got)
	}
	if err := b.set.Refresh(t.Context(), "demo/none"); runnel.CodeOf(err) != runnel.CodeNotFound {
		t.Errorf("of no function: got %v", err)
	}
}

// TestRefreshOfNothing starts no workers where none run, and lets what failed
// be tried at once.
func TestRefreshOfNothing(t *testing.T) {
	b, v := newVault(t)
	b.deploy(echo(), code("one"))
	b.close()
	b.open()
	v.mu.Lock()
	v.fail = errors.New("sealed")
	v.mu.Unlock()
	if _, err := b.set.Acquire(t.Context(), "demo/echo"); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Fatalf("got %v", err)
	}
	v.mu.Lock()
	v.fail = nil
	v.mu.Unlock()
	before := len(b.runner.started())
	if err := b.set.Refresh(t.Context(), "demo/echo"); err != nil {
		t.Fatal(err)
	}
	if n := len(b.runner.started()); n != before {
		t.Errorf("%d pools were started", n-before)
	}
	if got := b.call("demo/echo"); got != "one" {
		t.Errorf("got %q", got)
	}
}

// TestRefreshDuringAStart changes the secret while a start has read the old
// one: the workers that answer have the new one.
func TestRefreshDuringAStart(t *testing.T) {
	b, v := newVault(t)
	v.set("demo/echo", "TOKEN", "the old value")
	b.deploy(echo(), code("one"))
	b.close()
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.runner.fails = func(function.Program) error {
		once.Do(func() { close(begun); <-goOn })
		return nil
	}
	b.open()
	got := make(chan runnel.Place[runnel.Invoker], 1)
	go func() {
		place, err := b.set.Acquire(t.Context(), "demo/echo")
		if err != nil {
			t.Error(err)
		}
		got <- place
	}()
	<-begun
	v.set("demo/echo", "TOKEN", "the new value")
	if err := b.set.Refresh(t.Context(), "demo/echo"); err != nil {
		t.Error(err)
	}
	close(goOn)
	place := <-got
	if place.Call == nil {
		t.FailNow()
	}
	defer place.Release()
	if got := place.Call.(*pool).Mask; !slices.Equal(got, []string{"the new value"}) {
		t.Errorf("got the values %q", got)
	}
}

// TestSecretsInBuilds has a secret in a requirement, and pip repeats it.
func TestSecretsInBuilds(t *testing.T) {
	need(t, "python3")
	v := &vault{}
	var lines []string
	b := &bench{t: t, dir: t.TempDir(), records: &records{}, runner: &runner{}, secrets: v.secrets,
		built: func(_, line string) { lines = append(lines, line) }}
	b.open()
	v.set("demo/plain", "TOKEN", "s3cr3t-s3cr3t")
	_, err := b.set.Deploy(t.Context(), python("demo/plain"), tree(t, map[string]string{"main.py": "", "requirements.txt": "./s3cr3t-s3cr3t.whl\n"}))
	if err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "***") {
		t.Errorf("got the error %v, want it with the value masked", err)
	}
	log := strings.Join(lines, "\n")
	if strings.Contains(log, "s3cr3t") || !strings.Contains(log, "***") {
		t.Errorf("got the log %s", log)
	}
}
