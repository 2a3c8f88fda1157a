package shim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker/shim"
)

// startMany starts a worker for up to most calls in flight.
func startMany(t testing.TB, language string, most int, handler string, env ...string) *process {
	t.Helper()
	program, runtime := "python3", runnel.RuntimePython
	if language == "node" {
		program, runtime = "node", runnel.RuntimeNode
	}
	args := shim.Command(runtime, interpreter(t, program), writeShims(t))
	env = append(env, "RUNNEL_HANDLER="+handler, "PYTHONDONTWRITEBYTECODE=1")
	p := spawn(t, args, "testdata/"+language, env)
	p.send(fmt.Sprintf("start %d\n", most))
	return p.ready()
}

// heard is what came of several calls.
type heard struct {
	answers map[string][]string // by id
	logs    map[string][]string // by id, LEVEL TEXT in their order
	order   []string            // of the answers
}

func newHeard() *heard {
	return &heard{answers: map[string][]string{}, logs: map[string][]string{}}
}

// hear receives frames until done is content.
func (p *process) hear(h *heard, done func() bool) {
	p.t.Helper()
	for !done() {
		f := p.receive()
		id := f.words[1]
		if f.words[0] == "log" {
			h.logs[id] = append(h.logs[id], f.words[2]+" "+f.values[0])
			continue
		}
		if _, ok := h.answers[id]; ok {
			p.t.Fatalf("two answers to %s", id)
		}
		h.answers[id] = p.answersOf(f)
		h.order = append(h.order, id)
	}
}

func (p *process) invokeOne(id, payload string) {
	p.t.Helper()
	p.send(invokeFrame(id, "each", "json", testMeta, payload))
}

// kinds are the ways in which calls run side by side.
var kinds = []struct {
	language, handler string
	cancels           bool
}{
	{"python", "many.talk", true},
	{"python", "many.plain", false},
	{"python", "many.awaitable", true},
	{"node", "many.talk", true},
}

// TestMany is 16 calls in flight: what each prints is told to be its own, they
// are answered in the opposite order, one fails, and one is cancelled.
func TestMany(t *testing.T) {
	t.Parallel()
	const calls = 16
	for _, kind := range kinds {
		t.Run(kind.language+" "+kind.handler, func(t *testing.T) {
			t.Parallel()
			p := startMany(t, kind.language, calls+1, kind.handler)
			h := newHeard()
			name := func(i int) string { return fmt.Sprintf("c%d", i) }
			for i := range calls {
				fail := ""
				if i == 3 {
					fail = `,"fail":true`
				}
				p.invokeOne(name(i), fmt.Sprintf(`{"hold":%q%s}`, name(i), fail))
			}
			holding := func() bool {
				n := 0
				for id, lines := range h.logs {
					if slices.Contains(lines, "debug holding "+id) {
						n++
					}
				}
				return n == calls
			}
			p.hear(h, holding)
			if len(h.answers) > 0 {
				t.Fatalf("answers before a gate was opened: %v", h.answers)
			}

			cancelled := -1
			if kind.cancels {
				cancelled = 5
				p.send("cancel unknown\ncancel " + name(cancelled) + "\ncancel " + name(cancelled) + "\n")
				p.hear(h, func() bool { return len(h.answers) == 1 })
			}
			var order []string
			for i := calls - 1; i >= 0; i-- {
				if i == cancelled {
					continue
				}
				opener := fmt.Sprintf("open-%d", i)
				p.invokeOne(opener, fmt.Sprintf(`{"release":%q}`, name(i)))
				p.hear(h, func() bool { return h.answers[opener] != nil && h.answers[name(i)] != nil })
				order = append(order, name(i))
				if diff := cmp.Diff([]string{"none:"}, h.answers[opener]); diff != "" {
					t.Error(diff)
				}
			}
			p.drained()
			p.noFrames()

			got := slices.DeleteFunc(h.order, func(id string) bool {
				return strings.HasPrefix(id, "open-") || id == fmt.Sprintf("c%d", cancelled)
			})
			if diff := cmp.Diff(order, got); diff != "" {
				t.Errorf("order of the answers: %s", diff)
			}
			for i := range calls {
				id := name(i)
				answer := []string{fmt.Sprintf("json:%q", id)}
				logs := map[string][]string{
					"info": {"begin " + id, "child of " + id, "half of " + id, "end " + id},
					"warn": {"error " + id}, "debug": {"holding " + id},
				}
				logs["error"] = []string{"ERROR:mine:logged " + id}
				if kind.language == "node" {
					logs["error"], logs["warn"] = nil, append(logs["warn"], "logged "+id)
				}
				// What was written without the end of its line goes on in the next one.
				logs["info"][1], logs["info"][2] = "half of child of "+id, id
				switch {
				case i == 3 && kind.language == "node":
					answer = []string{"error RangeError: no c3"}
				case i == 3:
					answer = []string{"error ValueError: no c3"}
				case i == cancelled && kind.language == "node":
					answer = []string{"error AbortError: This operation was aborted"}
				case i == cancelled:
					answer = []string{"error CancelledError: the call was cancelled: nobody waits for it"}
				}
				if i == cancelled {
					logs["info"], logs["warn"], logs["error"] = logs["info"][:3], logs["warn"][:1], nil
				}
				if diff := cmp.Diff(answer, h.answers[id]); diff != "" {
					t.Errorf("answer of %s: %s", id, diff)
				}
				got := map[string][]string{}
				for _, line := range h.logs[id] {
					level, text, _ := strings.Cut(line, " ")
					got[level] = append(got[level], text)
				}
				for _, level := range []string{"debug", "info", "warn", "error"} {
					if diff := cmp.Diff(logs[level], got[level]); diff != "" {
						t.Errorf("%s of %s: %s", level, id, diff)
					}
				}
			}
			if len(h.logs["-"]) > 0 {
				t.Errorf("lines of nobody: %q", h.logs["-"])
			}
			// Outside of calls nothing changes.
			p.waitFor(p.out1, "loading\n")
			if p.out1.String() != "loading\n" || p.err2.String() != "" {
				t.Errorf("stdout %q, stderr %q: want what was printed while the code loaded", p.out1, p.err2)
			}
		})
	}
}

// TestManyCrash is that the end of the process cuts no frame into two.
func TestManyCrash(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct{ language, handler string }{
		{"python", "many.crash"}, {"python", "many.crash_thread"}, {"node", "many.crash"},
	} {
		t.Run(kind.language+" "+kind.handler, func(t *testing.T) {
			t.Parallel()
			p := startMany(t, kind.language, 16, kind.handler)
			h := newHeard()
			for i := range 15 {
				p.invokeOne(fmt.Sprintf("c%d", i), fmt.Sprint(i))
			}
			p.hear(h, func() bool { return len(h.logs) == 15 })
			p.invokeOne("last", `"crash"`)
			if code := p.wait(); code != 9 {
				t.Errorf("exit code: got %d, want 9", code)
			}
			p.noFrames()
			if len(h.answers) > 0 {
				t.Errorf("answers: %v", h.answers)
			}
		})
	}
}

// TestManyRejections is that a rejection that nobody handles fails its own call.
func TestManyRejections(t *testing.T) {
	t.Parallel()
	p := startMany(t, "node", 16, "many.dangling")
	h := newHeard()
	for i := range 10 {
		p.invokeOne(fmt.Sprint(i), fmt.Sprintf(`{"hold":"g%d","fail":%t}`, i, i%2 == 1))
	}
	p.hear(h, func() bool { return len(h.logs) == 10 })
	for i := range 10 {
		p.invokeOne(fmt.Sprint("open", i), fmt.Sprintf(`{"release":"g%d"}`, i))
	}
	p.hear(h, func() bool { return len(h.answers) == 20 })
	for i := range 10 {
		want := fmt.Sprintf(`json:"g%d"`, i)
		if i%2 == 1 {
			want = fmt.Sprintf("error RangeError: nobody looks at g%d", i)
		}
		if diff := cmp.Diff([]string{want}, h.answers[fmt.Sprint(i)]); diff != "" {
			t.Error(diff)
		}
	}
	p.drained()
}

// TestManyLate is that what outlives its call prints as before.
func TestManyLate(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			p := startMany(t, l.name, 4, "many.late")
			h := newHeard()
			p.invokeOne("a", `"x"`)
			p.hear(h, func() bool { return len(h.answers) == 1 })
			p.invokeOne("b", `"release"`)
			p.hear(h, func() bool { return len(h.answers) == 2 })
			p.waitFor(p.out1, "after x\n")
			if len(h.logs) > 0 {
				t.Errorf("log frames: %q", h.logs)
			}
			p.drained()
			p.noFrames()
		})
	}
}

// TestManyBatches is that batches and lists work as they do one at a time, and
// that a call that is cancelled does not begin with its next item.
func TestManyBatches(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		language, handler, mode string
		payloads, want          []string
	}{
		{"python", "values.later", "each", []string{"1", "{", "3"}, []string{"json:1", "undecodable InputError: ...", "json:3"}},
		{"python", "values.echo", "each", []string{"1", "{", "3"}, []string{"json:1", "undecodable InputError: ...", "json:3"}},
		{"python", "values.awaitable", "each", []string{"1", "2"}, []string{"json:1", "json:2"}},
		{"python", "values.total", "list", []string{"1", "2"}, []string{`json:[1,"m-1"]`, `json:[2,"m-2"]`}},
		{"python", "values.short", "list", []string{"1", "2"}, []string{"call output OutputError: the handler returned a list of 1 for a list of 2"}},
		{"python", "values.reverse", "list", []string{"1", "2"}, []string{"json:2", "json:1"}},
		{"python", "failures.fail_later", "list", []string{"1"}, []string{"call error ValueError: bad event: [1]"}},
		{"python", "many.leave", "each", []string{"1"}, []string{"error SystemExit: 3"}},
		{"python", "failures.leave", "each", []string{"1"}, []string{"error SystemExit: 3"}},
		{"python", "many.forks", "each", []string{"1"}, []string{"json:0"}},
		{"node", "values.later", "each", []string{"1", "{", "3"}, []string{"json:1", "undecodable InputError: ...", "json:3"}},
		{"node", "values.total", "list", []string{"1", "2"}, []string{`json:[1,"m-1"]`, `json:[2,"m-2"]`}},
		{"node", "many.callback", "each", []string{"1", "2"}, []string{"json:1", "json:2"}},
	} {
		t.Run(test.language+" "+test.handler, func(t *testing.T) {
			t.Parallel()
			p := startMany(t, test.language, 4, test.handler)
			h := newHeard()
			for i := range 4 {
				p.send(invokeFrame(fmt.Sprint(i), test.mode, "json", testMeta, test.payloads...))
			}
			p.hear(h, func() bool { return len(h.answers) == 4 })
			for id, got := range h.answers {
				if !beginLike(got, test.want) {
					t.Errorf("answer of %s: %s", id, cmp.Diff(test.want, got))
				}
			}
			p.drained()
			p.noFrames()
		})
	}
	for _, kind := range kinds {
		if !kind.cancels {
			continue
		}
		t.Run("cancelled "+kind.language+" "+kind.handler, func(t *testing.T) {
			t.Parallel()
			p := startMany(t, kind.language, 2, kind.handler)
			h := newHeard()
			p.send(invokeFrame("a", "each", "json", testMeta, `{"hold":"one"}`, `{"hold":"two"}`))
			p.hear(h, func() bool { return slices.Contains(h.logs["a"], "debug holding one") })
			p.send("cancel a\n")
			p.hear(h, func() bool { return len(h.answers) == 1 })
			got := h.answers["a"]
			const second = "error CancelledError: the call was cancelled: nobody waits for it"
			if len(got) != 2 || got[1] != second {
				t.Errorf("got %q, want the second answer %q", got, second)
			}
			if slices.Contains(h.logs["a"], "info begin two") {
				t.Errorf("the handler was called for the second item: %q", h.logs["a"])
			}
			p.drained()
		})
	}
}

// TestManyThreads is that plain handlers have as many threads as calls.
func TestManyThreads(t *testing.T) {
	t.Parallel()
	p := startMany(t, "python", 16, "many.threads")
	h := newHeard()
	for i := range 16 {
		p.invokeOne(fmt.Sprint(i), "16")
	}
	p.hear(h, func() bool { return len(h.answers) == 16 })
	for id, got := range h.answers {
		if diff := cmp.Diff([]string{"json:16"}, got); diff != "" {
			t.Errorf("answer of %s: %s", id, diff)
		}
	}
	p.drained()
}

// TestManyPieces is TestPieces for readers of more than one call.
func TestManyPieces(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct{ language, handler string }{
		{"python", "many.echo"}, {"python", "many.soon"}, {"node", "many.soon"},
	} {
		t.Run(kind.language+" "+kind.handler, func(t *testing.T) {
			t.Parallel()
			p := startMany(t, kind.language, 4, kind.handler)
			long := `"` + strings.Repeat("ü", 300_000) + `"`
			one := invokeFrame("a", "each", "json", testMeta, `"x"`, long)
			want := []string{`json:"x"`, "json:" + long}
			for _, cut := range []int{1, 10, strings.Index(one, "\n"), strings.Index(one, "\n") + 1, 200, 70_000, len(one) - 1} {
				p.send(one[:cut])
				p.send(one[cut:])
				if diff := cmp.Diff(want, p.answers("a")); diff != "" {
					t.Errorf("cut at %d: %s", cut, diff)
				}
			}
			// Several at once, and the end of the pipe right behind them.
			p.send(invokeFrame("b", "each", "json", "", "1") + "cancel z\n" + invokeFrame("c", "each", "json", "", "2"))
			h := newHeard()
			p.hear(h, func() bool { return len(h.answers) == 2 })
			p.send(one)
			p.in.Close()
			if diff := cmp.Diff(want, p.answers("a")); diff != "" {
				t.Error(diff)
			}
			if code := p.wait(); code != 0 {
				t.Errorf("exit code: got %d, want 0", code)
			}
			p.noFrames()
		})
	}
}

// TestManyUnknownFrame is TestUnknownFrame for readers of more than one call.
func TestManyUnknownFrame(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct{ language, handler string }{
		{"python", "many.echo"}, {"python", "many.soon"}, {"node", "many.soon"},
	} {
		t.Run(kind.language+" "+kind.handler, func(t *testing.T) {
			t.Parallel()
			p := startMany(t, kind.language, 4, kind.handler)
			p.send("hello\n")
			if code := p.wait(); code == 0 {
				t.Error("exit code: got 0")
			}
			p.waitFor(p.err2, "unknown frame")
		})
	}
}

// TestManyServerGone is that a worker ends when nobody reads its answers.
func TestManyServerGone(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct{ language, handler string }{
		{"python", "many.plain"}, {"python", "many.talk"}, {"node", "many.talk"},
	} {
		t.Run(kind.language+" "+kind.handler, func(t *testing.T) {
			t.Parallel()
			p := startMany(t, kind.language, 4, kind.handler)
			h := newHeard()
			p.invokeOne("a", `{"hold":"a"}`)
			p.hear(h, func() bool { return slices.Contains(h.logs["a"], "debug holding a") })
			p.out.Close()
			p.send(invokeFrame("b", "each", "json", "", `{"release":"a"}`))
			p.in.Close()
			p.wait()
		})
	}
}

// TestNodeSignal is that a cancelled call's signal is aborted, also where there
// is one call at a time.
func TestNodeSignal(t *testing.T) {
	t.Parallel()
	p := startNode(t, "many.signal").ready()
	id := p.invoke("each", "json", "", "1")
	p.receive() // the handler waits
	p.send("cancel " + id + "\n")
	if diff := cmp.Diff([]string{"json:true"}, p.answers(id)); diff != "" {
		t.Error(diff)
	}
	p.drained()
}

// TestManyLongLines is that no log frame is longer than is allowed.
func TestManyLongLines(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			handler := map[string]string{"python": "effects.long", "node": "effects.floods"}[l.name]
			p := startMany(t, l.name, 2, handler)
			h := newHeard()
			p.invokeOne("a", "200000")
			p.hear(h, func() bool { return len(h.answers) == 1 })
			var text strings.Builder
			for _, line := range h.logs["a"] {
				if len(line) > 64<<10+len("info ") {
					t.Errorf("a log frame of %d bytes", len(line))
				}
				text.WriteString(strings.TrimPrefix(line, "info "))
			}
			if text.String() != strings.Repeat("x", 200000) {
				t.Errorf("got %d bytes, want 200000 times x", text.Len())
			}
		})
	}
}
