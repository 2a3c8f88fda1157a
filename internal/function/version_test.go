package function_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
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

func (b *bench) buildOnly(def runnel.Function, text string) function.Deployment {
	b.t.Helper()
	d, err := b.set.Build(b.t.Context(), def, code(text))
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bench) publish(p function.Publication) function.VersionInfo {
	b.t.Helper()
	v, err := b.set.Publish(b.t.Context(), "demo/echo", p)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *bench) alias(alias, ref string) {
	b.t.Helper()
	if _, err := b.set.SetAlias(b.t.Context(), "demo/echo", alias, ref); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) rollback(to string) function.Deployment {
	b.t.Helper()
	d, err := b.set.Rollback(b.t.Context(), "demo/echo", to)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bench) info() function.Info {
	b.t.Helper()
	info, err := b.set.Get("demo/echo")
	if err != nil {
		b.t.Fatal(err)
	}
	return info
}

func hashes(vs []function.Version) (out []string) {
	for _, v := range vs {
		out = append(out, v.Hash)
	}
	return out
}

func TestNumbers(t *testing.T) {
	b := newBench(t)
	b.deploy(echo(), code("0"))
	texts := make(map[string]string)
	for i, test := range []struct {
		bump    string
		private bool
		want    string
	}{
		{function.BumpRevision, false, "0.0.1"},
		{function.BumpMinor, false, "0.1.0"},
		{function.BumpMinor, true, "0.2.0"},
		{function.BumpRevision, false, "0.2.1"},
		{function.BumpMajor, false, "1.0.0"},
		{function.BumpRevision, false, "1.0.1"},
		{function.BumpMinor, false, "1.1.0"},
		{function.BumpMinor, true, "1.2.0"},
		{function.BumpMajor, true, "2.0.0"},
	} {
		text := fmt.Sprint("v", i)
		b.deploy(echo(), code(text))
		got := b.publish(function.Publication{Bump: test.bump, Private: test.private})
		if got.Release.Version.String() != test.want || got.Release.Public == test.private {
			t.Errorf("%s: got %s, public %t, want %s", test.bump, got.Release.Version, got.Release.Public, test.want)
		}
		texts[test.want] = text
	}
	b.deploy(echo(), code("unpublished"))
	for range 2 {
		for _, test := range []struct{ ref, want string }{
			{"live", ""}, {"latest", "1.1.0"}, {"latestPrivate", "2.0.0"},
			{"1.0.0", "1.0.0"}, {"2.0.0", "2.0.0"}, {"0.2.0", "0.2.0"},
			{"1.0", "1.0.1"}, {"1.0.*", "1.0.1"}, {"1", "1.1.0"}, {"1.*", "1.1.0"}, {"0", "0.2.1"}, {"0.2", "0.2.1"}, {"0.1", "0.1.0"},
		} {
			want := texts[test.want]
			if test.want == "" {
				want = "unpublished"
			}
			if got := b.call("demo/echo@" + test.ref); got != want {
				t.Errorf("@%s: got %q, want %q, which is %s", test.ref, got, want, test.want)
			}
		}
		// Only private ones begin so.
		for _, ref := range []string{"2", "2.0", "1.2", "1.2.*", "3", "1.0.2", "01", "1.0.0.0", "1..0", "*", "1.*.*", "v1", "1.0.x", "-1", "99999999999999999999"} {
			_, err := b.set.Acquire(t.Context(), "demo/echo@"+ref)
			wantCode(t, err, runnel.CodeNotFound, fmt.Sprintf("%q", ref))
		}
		b.close()
		b.open()
	}
}

func TestNeverPublished(t *testing.T) {
	b := newBench(t)
	b.deploy(echo(), code("one"))
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, ref := range []string{"latest", "latestPrivate"} {
		_, err := b.set.Acquire(t.Context(), "demo/echo@"+ref)
		wantCode(t, err, runnel.CodeNotFound, "demo/echo@live")
	}
}

// Digits are a hash before they are a number.
func TestDigits(t *testing.T) {
	b := newBench(t)
	r := function.Record{Name: "demo/echo", Definition: echo(), Live: "1234000000000001"}
	r.Versions = []function.Version{
		{Hash: "1234000000000001"},
		{Hash: "aaaa000000000001", Release: &function.Release{Version: function.Semantic{Major: 1234}, Public: true}},
		{Hash: "aaaa000000000002", Release: &function.Release{Version: function.Semantic{Major: 5678}, Public: true}},
	}
	if err := b.records.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	b.open()
	for ref, want := range map[string]string{
		"1234": "1234000000000001", "1234.*": "aaaa000000000001", "5678": "aaaa000000000002", "1234000000000001": "1234000000000001",
	} {
		if _, got, err := b.set.Resolve("demo/echo@" + ref); err != nil || got != want {
			t.Errorf("@%s: got %s, %v, want %s", ref, got, err, want)
		}
	}
}

func TestPublishOnce(t *testing.T) {
	b := newBench(t)
	first := b.deploy(echo(), code("one")).Version
	b.publish(function.Publication{Bump: function.BumpMinor, Private: true, Notes: function.Notes{Release: "r", SampleInput: "in", SampleOutput: "out"}})
	again := func(p function.Publication) error {
		_, err := b.set.Publish(t.Context(), "demo/echo", p)
		return err
	}
	wantCode(t, again(function.Publication{Bump: function.BumpMinor, Private: true}), runnel.CodeConflict, first, "privately", "0.1.0")
	// The flow that calls the only private version would have none.
	b.pinned = []string{"latestPrivate"}
	wantCode(t, again(function.Publication{}), runnel.CodeConflict, "latestPrivate", first)
	b.pinned = nil
	v := b.publish(function.Publication{Bump: function.BumpMajor, Notes: function.Notes{Release: "for all"}})
	if got, want := v.Release.Version.String(), "0.1.0"; got != want || !v.Release.Public {
		t.Errorf("got %s, public %t, want that %s became public", got, v.Release.Public, want)
	}
	if want := (function.Notes{Release: "for all", SampleInput: "in", SampleOutput: "out"}); v.Notes != want {
		t.Errorf("got %+v, want %+v", v.Notes, want)
	}
	wantCode(t, again(function.Publication{Bump: function.BumpMinor}), runnel.CodeConflict, first, "publicly", "0.1.0")
	wantCode(t, again(function.Publication{Bump: function.BumpMinor, Private: true}), runnel.CodeConflict, first, "publicly")
	if got, want := b.call("demo/echo@latest"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// The same code again is the same version, with its number.
	b.deploy(echo(), code("two"))
	b.deploy(echo(), code("one"))
	b.close()
	b.open()
	if v, err := b.set.Version("demo/echo", "live"); err != nil || v.Release == nil || v.Notes.Release != "for all" || !v.Live {
		t.Errorf("got %+v, %v, want the published version", v, err)
	}
}

func TestPublishFaults(t *testing.T) {
	b := newBench(t)
	d := b.deploy(echo(), code("one"))
	for _, test := range []struct {
		name string
		p    function.Publication
		code runnel.Code
		text string
	}{
		{"no bump", function.Publication{}, runnel.CodeInternal, "version_type: is missing"},
		{"bad bump", function.Publication{Bump: "patch"}, runnel.CodeInternal, `version_type: "patch": want major, minor or revision`},
		{"notes", function.Publication{Bump: "minor", Notes: function.Notes{Release: strings.Repeat("x", 64<<10+1)}}, runnel.CodeInternal, "release_notes: is over 64 KiB"},
		{"input", function.Publication{Bump: "minor", Notes: function.Notes{SampleInput: strings.Repeat("x", 1<<20+1)}}, runnel.CodeInternal, "sample_input: is over 1024 KiB"},
		{"output", function.Publication{Bump: "minor", Notes: function.Notes{SampleOutput: "\xff"}}, runnel.CodeInternal, "sample_output: is not text"},
		{"no version", function.Publication{Bump: "minor", Version: "prod"}, runnel.CodeNotFound, `"prod"`},
	} {
		_, err := b.set.Publish(t.Context(), "demo/echo", test.p)
		if err == nil || runnel.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: got %v, want %s: %s", test.name, err, test.code, test.text)
		}
		var field *runnel.FieldError
		if test.code == runnel.CodeInternal && !errors.As(err, &field) {
			t.Errorf("%s: got %v, want the fault of a field", test.name, err)
		}
	}
	_, err := b.set.Publish(t.Context(), "demo/none", function.Publication{Bump: "minor"})
	wantCode(t, err, runnel.CodeNotFound)
	// A record that cannot be stored publishes nothing, whatever is on disk.
	b.records.put = func(function.Record) error { return errors.New("disk full") }
	_, err = b.set.Publish(t.Context(), "demo/echo", function.Publication{Bump: "minor"})
	wantCode(t, err, runnel.CodeInternal, "disk full")
	_, err = b.set.Acquire(t.Context(), "demo/echo@latest")
	wantCode(t, err, runnel.CodeNotFound)
	b.records.put = nil
	b.close()
	b.open()
	if got, want := b.versions(), []string{d.Version}; !slices.Equal(got, want) {
		t.Errorf("got the files %v, want %v", got, want)
	}
	// Neither is damaged code published.
	if err := os.RemoveAll(filepath.Join(b.dir, "functions", "demo", "echo", d.Version, "code")); err != nil {
		t.Fatal(err)
	}
	_, err = b.set.Publish(t.Context(), "demo/echo", function.Publication{Bump: "minor"})
	wantCode(t, err, runnel.CodeUnavailable, "damaged")
	b.deploy(echo(), code("one"))
	if got, want := b.publish(function.Publication{Bump: "minor"}).Release.Version.String(), "0.1.0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What is published, has an alias, or a flow calls, stays; and so do notes,
// also where the code is written anew.
func TestVersionsThatStay(t *testing.T) {
	b := newBench(t)
	published := b.deploy(echo(), code("published")).Version
	b.publish(function.Publication{Bump: function.BumpMinor, Notes: function.Notes{Release: "notes"}})
	named := b.deploy(echo(), code("named")).Version
	b.alias("stable", "live")
	pinned := b.deploy(echo(), code("pinned")).Version
	b.pinned = []string{"live", pinned[:8], "nothing"}
	gone := b.deploy(echo(), code("gone")).Version
	for i := range 25 {
		b.deploy(echo(), code(fmt.Sprint(i)))
	}
	b.close()
	b.open()
	var last string
	for i := range 25 { // workers of the others have ended
		last = b.deploy(echo(), code(fmt.Sprint("again", i))).Version
	}
	b.close()
	b.open()
	kept := hashes(b.info().Versions)
	for _, hash := range []string{published, named, pinned, last} {
		if !slices.Contains(kept, hash) {
			t.Errorf("version %s is gone", hash)
		}
	}
	if slices.Contains(kept, gone) || len(kept) > 25 {
		t.Errorf("got %v, want the old ones gone", kept)
	}
	for ref, want := range map[string]string{"stable": "named", "latest": "published", pinned: "pinned"} {
		if got := b.call("demo/echo@" + ref); got != want {
			t.Errorf("@%s: got %q, want %q", ref, got, want)
		}
	}
	if err := os.RemoveAll(filepath.Join(b.dir, "functions", "demo", "echo", published)); err != nil {
		t.Fatal(err)
	}
	b.deploy(echo(), code("published"))
	if v, err := b.set.Version("demo/echo", published); err != nil || v.Notes.Release != "notes" {
		t.Errorf("got %+v, %v, want its notes", v, err)
	}
	if err := b.set.Delete(t.Context(), "demo/echo"); err != nil {
		t.Fatal(err)
	}
	b.close()
	if got := b.versions(); len(got) != 0 {
		t.Errorf("got the files %v after the function was deleted", got)
	}
}

func TestBuildOnly(t *testing.T) {
	b := newBench(t)
	def := echo()
	def.Timeout, def.Env = time.Minute, map[string]string{"A": "b"}
	first := b.buildOnly(def, "one")
	if first.Live != first.Version || !first.Changed {
		t.Errorf("got %+v, want the first build to be live", first)
	}
	second := b.buildOnly(echo(), "two")
	if want := (function.Deployment{Name: "demo/echo", Version: second.Version, Live: first.Version, Previous: first.Version, Changed: true, Build: second.Build}); second != want || second.Build == "" {
		t.Errorf("got %+v, want %+v", second, want)
	}
	for ref, want := range map[string]string{"live": "one", second.Version: "two", second.Version[:6]: "two"} {
		if got := b.call("demo/echo@" + ref); got != want {
			t.Errorf("@%s: got %q, want %q", ref, got, want)
		}
	}
	pools := b.runner.started()
	p := pools[len(pools)-1]
	if len(pools) != 2 || !slices.Contains(p.Env, "A=b") || p.workers().Min != 0 {
		t.Errorf("got %d pools, the last with %v and %+v: want the build's, with the function's environment", len(pools), p.Env, p.workers())
	}
	if again := b.buildOnly(echo(), "two"); again.Changed {
		t.Errorf("got %+v of the same build", again)
	}
	other := echo()
	other.Timeout, other.Memory = time.Hour, 64<<20
	_, err := b.set.Build(t.Context(), other, code("three"))
	if err == nil || !strings.Contains(err.Error(), "timeout: is not what the function has") || !strings.Contains(err.Error(), "memory: ") {
		t.Errorf("got %v, want the two settings that differ", err)
	}
	_, err = b.set.Build(t.Context(), echo(), code("boom"))
	wantCode(t, err, runnel.CodeInvalid, "SyntaxError")
	b.records.put = func(function.Record) error { return errors.New("disk full") }
	_, err = b.set.Build(t.Context(), echo(), code("four"))
	wantCode(t, err, runnel.CodeInternal, "disk full")
	b.records.put = nil
	if diff := cmp.Diff([]string{second.Version, first.Version}, hashes(b.info().Versions)); diff != "" {
		t.Errorf("the versions (-want +got):\n%s", diff)
	}
	b.close()
	b.open()
	if got, want := b.call("demo/echo@"+second.Version), "two"; got != want {
		t.Errorf("got %q after a restart, want %q", got, want)
	}
	// The newest build is what is published, and need not be live.
	v := b.publish(function.Publication{Bump: function.BumpMajor})
	if v.Hash != second.Version || v.Live || b.call("demo/echo@latest") != "two" || b.call("demo/echo") != "one" {
		t.Errorf("got %+v, want the build to be published, and not live", v)
	}
	if d := b.rollback("1.0.0"); d.Version != second.Version || b.call("demo/echo") != "two" {
		t.Errorf("got %+v, want the build to be live", d)
	}
}

func TestAliases(t *testing.T) {
	b := newBench(t)
	one := b.deploy(echo(), code("one")).Version
	two := b.deploy(echo(), code("two")).Version
	b.alias("stable", one)
	b.alias("canary", "live")
	b.alias("same", "stable")
	b.alias("stable", "stable")
	for range 2 {
		for ref, want := range map[string]string{"stable": "one", "canary": "two", "same": "one"} {
			if got := b.call("demo/echo@" + ref); got != want {
				t.Errorf("@%s: got %q, want %q", ref, got, want)
			}
		}
		b.close()
		b.open()
	}
	// It means a version, not another reference.
	three := b.deploy(echo(), code("three")).Version
	b.alias("stable", "live")
	if diff := cmp.Diff(map[string]string{"stable": three, "canary": two, "same": one}, b.info().Aliases); diff != "" {
		t.Errorf("the aliases (-want +got):\n%s", diff)
	}
	if v, err := b.set.Version("demo/echo", one[:5]); err != nil || !slices.Equal(v.Aliases, []string{"same"}) {
		t.Errorf("got %+v, %v, want the alias same", v, err)
	}
	for alias, text := range map[string]string{
		"live": "deploy or a rollback", "latest": "publishing", "latestPrivate": "publishing", "beef": "hash", "facade00": "hash", "": "a letter", "1x": "a letter",
		"Prod": "a letter", "a.b": "a letter", "a_b": "a letter", "1": "a letter", strings.Repeat("x", 33): "a letter",
	} {
		_, err := b.set.SetAlias(t.Context(), "demo/echo", alias, "live")
		wantCode(t, err, runnel.CodeInvalid, fmt.Sprintf("%q", alias), text)
	}
	for _, alias := range []string{"a", "bee", "x-1", "deadbeefdeadbeef0", strings.Repeat("x", 32)} {
		b.alias(alias, "live")
	}
	_, err := b.set.SetAlias(t.Context(), "demo/echo", "stable", "nothing")
	wantCode(t, err, runnel.CodeNotFound, `"nothing"`)
	_, err = b.set.SetAlias(t.Context(), "demo/none", "stable", "live")
	wantCode(t, err, runnel.CodeNotFound, "demo/none")
	wantCode(t, b.set.DeleteAlias(t.Context(), "demo/echo", "prod"), runnel.CodeNotFound, `"prod"`)
	b.pinned = []string{"stable"}
	wantCode(t, b.set.DeleteAlias(t.Context(), "demo/echo", "stable"), runnel.CodeConflict, "demo/echo@stable")
	b.pinned = nil
	if err := b.set.DeleteAlias(t.Context(), "demo/echo", "stable"); err != nil {
		t.Fatal(err)
	}
	_, err = b.set.Acquire(t.Context(), "demo/echo@stable")
	wantCode(t, err, runnel.CodeNotFound, `"stable"`)
	// What cannot be stored is not so.
	b.records.put = func(function.Record) error { return errors.New("disk full") }
	_, err = b.set.SetAlias(t.Context(), "demo/echo", "canary", "live")
	wantCode(t, err, runnel.CodeInternal, "disk full")
	b.records.put = nil
	if got, want := b.call("demo/echo@canary"), "two"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := os.RemoveAll(filepath.Join(b.dir, "functions", "demo", "echo", one, "code")); err != nil {
		t.Fatal(err)
	}
	_, err = b.set.SetAlias(t.Context(), "demo/echo", "canary", one)
	wantCode(t, err, runnel.CodeUnavailable, "damaged", one)
	for i := range 100 {
		_, err = b.set.SetAlias(t.Context(), "demo/echo", fmt.Sprintf("n-%d", i), "live")
	}
	wantCode(t, err, runnel.CodeLimit, "100 aliases")
}

func TestRollback(t *testing.T) {
	b := newBench(t)
	ctx := function.By(t.Context(), "RKEXAMPLE")
	def := echo()
	def.Env = map[string]string{"A": "1"}
	one, err := b.set.Deploy(ctx, def, code("one"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.set.Rollback(ctx, "demo/echo", "")
	wantCode(t, err, runnel.CodeConflict, "no version that was live before "+one.Version)
	_, err = b.set.Rollback(ctx, "demo/none", "")
	wantCode(t, err, runnel.CodeNotFound)
	def.Env = map[string]string{"A": "2"}
	two := b.deploy(def, code("two"))
	_, err = b.set.Rollback(ctx, "demo/echo", "prod")
	wantCode(t, err, runnel.CodeNotFound, `"prod"`)

	held := b.acquire("demo/echo")
	d, err := b.set.Rollback(ctx, "demo/echo", "")
	if want := (function.Deployment{Name: "demo/echo", Version: one.Version, Live: one.Version, Previous: two.Version, Changed: true}); err != nil || d != want {
		t.Fatalf("got %+v, %v, want %+v", d, err, want)
	}
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := b.invoke(held), "two"; got != want {
		t.Errorf("got %q of a call that began before, want %q", got, want)
	}
	held.Release()
	pools := b.runner.started()
	if got := pools[len(pools)-1]; !slices.Contains(got.Env, "A=2") {
		t.Errorf("got the environment %q, want the settings that there were", got.Env)
	}
	if again := b.rollback(one.Version[:7]); again.Changed {
		t.Errorf("got %+v of what is live already", again)
	}
	type step struct{ Version, By, How string }
	history := func() (out []step) {
		for _, c := range b.info().History {
			if c.Time.IsZero() {
				t.Errorf("no time of %+v", c)
			}
			out = append(out, step{c.Version, c.By, c.How})
		}
		return out
	}
	want := []step{{one.Version, "RKEXAMPLE", "rollback"}, {two.Version, "", "deploy"}, {one.Version, "RKEXAMPLE", "deploy"}}
	if diff := cmp.Diff(want, history()); diff != "" {
		t.Errorf("the history (-want +got):\n%s", diff)
	}
	b.close()
	b.open()
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q after a restart, want %q", got, want)
	}
	if info := b.info(); info.Previous != two.Version || info.Versions[0].Hash != two.Version {
		t.Errorf("got %+v, want %s to be the one before, and still the newest build", info, two.Version)
	}
	b.rollback("")
	if got, want := b.call("demo/echo"), "two"; got != want {
		t.Errorf("got %q of two rollbacks, want %q", got, want)
	}
	for range 60 {
		b.rollback("")
	}
	if got := len(b.info().History); got != 50 {
		t.Errorf("got %d changes in the history, want 50", got)
	}
}

// The one before is there for a rollback, however many builds came since.
func TestRollbackAfterManyBuilds(t *testing.T) {
	b := newBench(t)
	b.deploy(echo(), code("one"))
	b.deploy(echo(), code("two"))
	for i := range 30 {
		b.buildOnly(echo(), fmt.Sprint("build", i))
	}
	b.close()
	b.open()
	b.buildOnly(echo(), "another")
	if got := len(b.info().Versions); got > 12 {
		t.Errorf("got %d versions", got)
	}
	b.rollback("")
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What a rollback cannot start, and what cannot be recorded, stays as it was.
func TestRollbackThatFails(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, b *bench, dir string)
		code  runnel.Code
		text  string
	}{
		"damaged": {func(t *testing.T, _ *bench, dir string) {
			if err := os.Remove(filepath.Join(dir, "code", "text")); err != nil {
				t.Fatal(err)
			}
		}, runnel.CodeUnavailable, "damaged"},
		"missing": {func(t *testing.T, _ *bench, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, runnel.CodeUnavailable, "damaged"},
		"load": {func(_ *testing.T, b *bench, _ string) {
			b.runner.fails = func(function.Program) error {
				return &runnel.FunctionError{Kind: runnel.KindError, Name: "ImportError", Message: "no such library"}
			}
		}, runnel.CodeInvalid, "no such library"},
		"record": {func(_ *testing.T, b *bench, _ string) {
			b.records.put = func(function.Record) error { return errors.New("disk full") }
		}, runnel.CodeInternal, "disk full"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			one := b.deploy(echo(), code("one"))
			two := b.deploy(echo(), code("two"))
			test.spoil(t, b, filepath.Join(b.dir, "functions", "demo", "echo", one.Version))
			_, err := b.set.Rollback(t.Context(), "demo/echo", "")
			wantCode(t, err, test.code, test.text)
			b.runner.fails, b.records.put = nil, nil
			if got, want := b.call("demo/echo"), "two"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if info := b.info(); info.Live != two.Version || len(info.History) != 2 || info.State != function.StateReady {
				t.Errorf("got %+v, want nothing to have changed", info)
			}
		})
	}
}

// A process that dies between the record and the swap has rolled back, or
// moved an alias, when it starts again.
func TestCrashAfterTheRecordOfARollback(t *testing.T) {
	b := newBench(t)
	b.deploy(echo(), code("one"))
	b.deploy(echo(), code("two"))
	b.alias("stable", "live")
	crash := func(do func() error) {
		t.Helper()
		kept := b.records
		b.records.put = func(r function.Record) error {
			b.records = &records{}
			return errors.Join(b.records.Put(t.Context(), r), errors.New("gone"))
		}
		if err := do(); err == nil {
			t.Fatal("got no error")
		}
		kept.put = nil
	}
	crash(func() error { _, err := b.set.Rollback(t.Context(), "demo/echo", ""); return err })
	if got, want := b.call("demo/echo"), "two"; got != want {
		t.Errorf("got %q before the crash, want %q", got, want)
	}
	b.open()
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q after it, want %q", got, want)
	}
	crash(func() error { _, err := b.set.SetAlias(t.Context(), "demo/echo", "stable", "live"); return err })
	if got, want := b.call("demo/echo@stable"), "two"; got != want {
		t.Errorf("got %q before the crash, want %q", got, want)
	}
	b.open()
	if got, want := b.call("demo/echo@stable"), "one"; got != want {
		t.Errorf("got %q after it, want %q", got, want)
	}
	crash(func() error {
		_, err := b.set.Publish(t.Context(), "demo/echo", function.Publication{Version: "live", Bump: "minor", Notes: function.Notes{Release: "n"}})
		return err
	})
	b.open()
	if v, err := b.set.Version("demo/echo", "latest"); err != nil || v.Notes.Release != "n" {
		t.Errorf("got %+v, %v, want the version to be published, with its notes", v, err)
	}
}

// A rollback between versions of different handlers takes the handler along.
func TestRollbackToAnotherHandler(t *testing.T) {
	b := newBench(t)
	source := code("one")
	source["other"] = source["worker"]
	b.deploy(echo(), source)
	def := echo()
	def.Handler = "./other"
	b.deploy(def, source)
	b.rollback("")
	pools := b.runner.started()
	if got, want := filepath.Base(pools[len(pools)-1].Args[0]), "worker"; got != want || b.info().Definition.Handler != "./worker" {
		t.Errorf("got the program %s and the handler %s, want %s", got, b.info().Definition.Handler, want)
	}
}

// A record of the release before, which knew no history and no numbers.
func TestOlderRecord(t *testing.T) {
	b := newBench(t)
	one := b.deploy(echo(), code("one")).Version
	two := b.deploy(echo(), code("two")).Version
	b.close()
	old := fmt.Sprintf(`{"name":"demo/echo","definition":{"name":"demo/echo","runtime":"exec","handler":"./worker"},"live":%q,"deployed":"2026-01-02T03:04:05Z",
		"versions":[{"version":%q,"created":"2026-01-02T03:04:05Z","runtime":"exec"},{"version":%q,"created":"2026-01-01T00:00:00Z","runtime":"exec"}]}`, two, two, one)
	if !json.Valid([]byte(old)) {
		t.Fatal(old)
	}
	b.records.kept["demo/echo"] = []byte(old)
	b.open()
	if info := b.info(); info.Previous != one || len(info.History) != 2 {
		t.Errorf("got %+v, want %s to be the one before", info, one)
	}
	b.rollback("")
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if info := b.info(); len(info.History) != 3 || info.History[1].Version != two || info.Definition.Handler != "./worker" {
		t.Errorf("got %+v", info)
	}
	if got, want := b.publish(function.Publication{Bump: "minor"}).Release.Version.String(), "0.1.0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRemove(t *testing.T) {
	b := newBench(t)
	one := b.deploy(echo(), code("one")).Version
	b.publish(function.Publication{Bump: "minor"})
	two := b.deploy(echo(), code("two")).Version
	remove := func(ref string) error { return b.set.Remove(t.Context(), "demo/echo", ref) }
	wantCode(t, remove(two), runnel.CodeConflict, "is live")
	b.alias("stable", one)
	wantCode(t, remove("0.1.0"), runnel.CodeConflict, "stable")
	if err := b.set.DeleteAlias(t.Context(), "demo/echo", "stable"); err != nil {
		t.Fatal(err)
	}
	b.pinned = []string{"0.1"}
	wantCode(t, remove(one), runnel.CodeConflict, "demo/echo@0.1")
	b.pinned = nil
	held := b.acquire("demo/echo@" + one)
	if err := remove("0.1.0"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, remove(one), runnel.CodeNotFound)
	_, err := b.set.Acquire(t.Context(), "demo/echo@"+one)
	wantCode(t, err, runnel.CodeNotFound)
	if got, want := b.invoke(held), "one"; got != want {
		t.Errorf("got %q of a call that runs, want %q", got, want)
	}
	held.Release()
	if got, want := b.publish(function.Publication{Bump: "minor"}).Release.Version.String(), "0.2.0"; got != want {
		t.Errorf("got %s, want %s: no number is given twice", got, want)
	}
	b.close()
	if got, want := b.versions(), []string{two, two + ".json"}; !slices.Equal(got, want) {
		t.Errorf("got the files %v, want %v", got, want)
	}
}

// What takes the place of a version has as many workers before that is
// recorded, bounded by the most that there may be.
func TestSwapIsWarm(t *testing.T) {
	for _, test := range []struct {
		name, ref string
		swap      func(b *bench, def runnel.Function, one string)
	}{
		{"deploy", "live", func(b *bench, def runnel.Function, _ string) { b.deploy(def, code("three")) }},
		{"rollback", "live", func(b *bench, _ runnel.Function, _ string) { b.rollback("") }},
		{"alias", "stable", func(b *bench, _ runnel.Function, one string) { b.alias("stable", one) }},
		{"publish", "latest", func(b *bench, _ runnel.Function, one string) {
			b.publish(function.Publication{Version: one, Bump: function.BumpMinor})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			def := echo()
			def.Workers.Max = 3
			one := b.deploy(def, code("one")).Version
			b.deploy(def, code("two"))
			b.alias("stable", "live")
			b.publish(function.Publication{Bump: function.BumpMinor})
			for range 3 {
				place := b.acquire("demo/echo@" + test.ref)
				defer place.Release()
			}
			var ready, recorded atomic.Int64
			b.runner.got = func(string) { ready.Add(1) }
			b.records.put = func(function.Record) error { recorded.Store(ready.Load()); return nil }
			test.swap(b, def, one)
			if got := recorded.Load(); got != 3 {
				t.Errorf("%d workers of the version were ready when it was recorded, want 3", got)
			}
			pools := b.runner.started()
			if got := pools[len(pools)-1].workers(); len(pools) != 3 || got.Min != 0 || got.Max != 3 {
				t.Errorf("got %+v of pool %d afterwards, want the function's", got, len(pools))
			}
		})
	}
}

// The pool of a version that something names outlives its being live.
func TestNamedPoolStays(t *testing.T) {
	b := newBench(t)
	def := echo()
	def.Workers = runnel.Workers{Min: 1, Max: 1}
	b.deploy(def, code("one"))
	b.alias("stable", "live")
	one := b.runner.started()[0]
	held := b.acquire("demo/echo")
	// Who waits for live moves on all the same, who waits for the alias stays.
	waiting := b.acquireLater(t.Context(), "demo/echo")
	named := b.acquireLater(t.Context(), "demo/echo@stable")
	two := b.deploy(def, code("two"))
	got := receive(t, waiting)
	if got.err != nil || got.place.Version != two.Version {
		t.Fatalf("got a place of %s, %v, want %s", got.place.Version, got.err, two.Version)
	}
	got.place.Release()
	held.Release()
	if got = receive(t, named); got.err != nil || b.invoke(got.place) != "one" {
		t.Fatalf("got %v, want the version of the alias", got.err)
	}
	got.place.Release()
	if !slices.Contains(b.runner.open(), one) || one.workers().Min != 0 {
		t.Errorf("the pool was drained, or is kept warm: %+v", one.workers())
	}
}

// A wait by an alias ends when the alias moves, although the version that it
// named goes on.
func TestWaitMovesWithTheAlias(t *testing.T) {
	b := newBench(t)
	def := echo()
	def.Workers.Max = 1
	one := b.deploy(def, code("one")).Version
	two := b.buildOnly(echo(), "two").Version
	b.alias("stable", one)
	held := b.acquire("demo/echo")
	waiting := b.acquireLater(t.Context(), "demo/echo@stable")
	b.alias("stable", two)
	got := receive(t, waiting)
	if got.err != nil || got.place.Version != two {
		t.Fatalf("got a place of %s, %v, want %s", got.place.Version, got.err, two)
	}
	got.place.Release()
	// A caller that gives up meanwhile is told why.
	ctx, cancel := context.WithCancelCause(t.Context())
	waiting = b.acquireLater(ctx, "demo/echo@"+one)
	cause := errors.New("left")
	cancel(cause)
	if got := receive(t, waiting); !errors.Is(got.err, cause) {
		t.Errorf("got %v, want %v", got.err, cause)
	}
	held.Release()
}

// A pool has granted a place by an alias; before its caller hears of it the
// alias names another version.
func TestPlaceOfAVersionThatTheAliasDoesNotName(t *testing.T) {
	b := newBench(t)
	b.deploy(echo(), code("one"))
	two := b.buildOnly(echo(), "two").Version
	b.alias("stable", "live")
	granted, goOn := make(chan string), make(chan struct{})
	var hold atomic.Bool
	hold.Store(true)
	b.runner.started()[0].got = func(version string) {
		if hold.CompareAndSwap(true, false) {
			granted <- version
			<-goOn
		}
	}
	later := b.acquireLater(t.Context(), "demo/echo@stable")
	receive(t, granted)
	b.alias("stable", two)
	close(goOn)
	got := receive(t, later)
	if got.err != nil || got.place.Version != two {
		t.Fatalf("got a place of %s, %v, want %s", got.place.Version, got.err, two)
	}
	got.place.Release()
	if p := b.runner.started()[0]; p.busy != 0 || p.calls != 0 {
		t.Errorf("got busy %d, calls %d of the old version, want nothing", p.busy, p.calls)
	}
}

// Calls by live, an alias and latest go on while deploys, rollbacks, moves and
// publications change what they mean. Each change has a number; a version that
// answers was meant at the earliest by the last change that had ended when the
// call was asked for, and at the latest by the last that had begun when it was
// granted.
func TestNoCallBeginsOnAnotherVersion(t *testing.T) {
	const changes, callers = 120, 2
	b := newBench(t)
	def := echo()
	def.Workers.Max = 3
	refs := []string{"live", "stable", "latest"}
	type meaning struct {
		mu           sync.Mutex
		texts        []string // by change
		begun, ended int
	}
	meanings := make(map[string]*meaning)
	for _, ref := range refs {
		meanings[ref] = &meaning{texts: []string{"0"}}
	}
	b.deploy(def, code("0"))
	b.alias("stable", "live")
	b.publish(function.Publication{Bump: "revision"})
	var calls atomic.Int64
	stop := make(chan struct{})
	var group sync.WaitGroup
	for i := range callers * len(refs) {
		ref := refs[i%len(refs)]
		m := meanings[ref]
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				m.mu.Lock()
				least := m.ended
				m.mu.Unlock()
				place, err := b.set.Acquire(t.Context(), "demo/echo@"+ref)
				if err != nil {
					t.Error(err)
					return
				}
				m.mu.Lock()
				may := slices.Clone(m.texts[least : m.begun+1])
				m.mu.Unlock()
				if got := b.invoke(place); !slices.Contains(may, got) {
					t.Errorf("@%s: got version %s, want one of %v", ref, got, may)
				}
				place.Release()
				calls.Add(1)
			}
		})
	}
	change := func(ref, text string, do func()) {
		m := meanings[ref]
		m.mu.Lock()
		m.texts = append(m.texts, text)
		m.begun++
		m.mu.Unlock()
		do()
		m.mu.Lock()
		m.ended++
		m.mu.Unlock()
	}
	texts := map[string]string{b.info().Live: "0"}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range changes {
		text := fmt.Sprint(i + 1)
		switch random.IntN(5) {
		case 0, 1:
			change("live", text, func() { texts[b.deploy(def, code(text)).Version] = text })
		case 2:
			texts[b.buildOnly(def, text).Version] = text
		case 3:
			if previous := b.info().Previous; previous != "" {
				change("live", texts[previous], func() { b.rollback("") })
			}
		case 4:
			vs := b.info().Versions
			hash := vs[random.IntN(len(vs))].Hash
			change("stable", texts[hash], func() { b.alias("stable", hash) })
			newest := b.info().Versions[0]
			if newest.Release == nil && random.IntN(2) == 0 {
				change("latest", texts[newest.Hash], func() { b.publish(function.Publication{Bump: "revision"}) })
			}
		}
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
}

// TestConfigure: settings change, and neither what is live nor what is newest.
func TestConfigure(t *testing.T) {
	b := newBench(t)
	def := echo()
	one := b.deploy(def, code("one"))
	two := b.buildOnly(def, "two")
	before := b.info()
	isolate := func(def runnel.Function) runnel.Function {
		def.Network, def.Timeout = runnel.NetworkIsolated, time.Hour
		def.Runtime, def.Handler = runnel.RuntimeNode, "other.handler" // no settings
		return def
	}
	if err := b.set.Configure(t.Context(), "demo/echo", isolate); err != nil {
		t.Fatal(err)
	}
	got := b.info()
	if d := got.Definition; d.Network != runnel.NetworkIsolated || d.Timeout != time.Hour || d.Runtime != def.Runtime {
		t.Errorf("the definition is %+v", d)
	}
	if got.Live != one.Version || !slices.Equal(hashes(got.Versions), []string{two.Version, one.Version}) || !cmp.Equal(got.History, before.History) {
		t.Errorf("live %s, versions %q, history %+v", got.Live, hashes(got.Versions), got.History)
	}
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	pools := b.runner.started()
	if p := pools[len(pools)-1]; p.Network != runnel.NetworkIsolated || p.Version != one.Version {
		t.Errorf("the last pool is of version %s, network %q", p.Version, p.Network)
	}
	if err := b.set.Configure(t.Context(), "demo/echo", isolate); err != nil || len(b.runner.started()) != len(pools) {
		t.Errorf("the same again: %v, %d pools, want %d", err, len(b.runner.started()), len(pools))
	}
	err := b.set.Configure(t.Context(), "demo/echo", func(def runnel.Function) runnel.Function {
		def.Timeout = -1
		return def
	})
	if err == nil || b.info().Definition.Timeout != time.Hour {
		t.Errorf("a wrong setting: %v, %s", err, b.info().Definition.Timeout)
	}
	wantCode(t, b.set.Configure(t.Context(), "demo/none", isolate), runnel.CodeNotFound)
}

// TestPromote: what is published becomes live, and the history says how.
func TestPromote(t *testing.T) {
	b := newBench(t)
	b.deploy(echo(), code("one"))
	two := b.buildOnly(echo(), "two")
	b.publish(function.Publication{Bump: function.BumpMinor})
	d, err := b.set.Promote(t.Context(), "demo/echo", "0.1.0")
	if err != nil || d.Live != two.Version || !d.Changed {
		t.Fatalf("got %+v, %v", d, err)
	}
	if got, want := b.call("demo/echo"), "two"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if h := b.info().History; len(h) != 2 || h[0].How != function.ByPublish || h[0].Version != two.Version {
		t.Errorf("the history is %+v", h)
	}
	text, hash, err := b.set.Code("demo/echo", "0.1.0")
	if err != nil || hash != two.Version {
		t.Fatalf("the code of %s: %v", hash, err)
	}
	if files, err := fs.Glob(text, "*"); err != nil || !slices.Equal(files, []string{"text", "worker"}) {
		t.Errorf("the code is %q, %v", files, err)
	}
	_, _, err = b.set.Code("demo/echo", "9.9.9")
	wantCode(t, err, runnel.CodeNotFound)
}
