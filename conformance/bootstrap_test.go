package conformance_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBootstrap runs the shell script of docs/transports.md.
func TestBootstrap(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "" {
			t.Skip("the script needs curl")
		}
		t.Fatal(err)
	}
	text, err := os.ReadFile("../docs/transports.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "So does a `bootstrap` in shell:\n\n```sh\n")
	if !ok {
		t.Fatal("docs/transports.md has no bootstrap")
	}
	script, _, _ := strings.Cut(rest, "```\n")
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "bootstrap"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	e := startFunctions(t, fmt.Sprintf(`
functions:
  echo: {runtime: exec, transport: runtime-api, source: %q, handler: ./bootstrap}
queues:
  in:
  out:
flows:
  echo: {from: "queue:in", call: echo, to: ["queue:out"]}
`, source))
	for _, test := range []struct{ kind, payload, want string }{
		{"json", `{"a": "it's $HOME"}`, `{"a": "it's $HOME"}`},
		{"json", `"@grüße\n"`, `"@grüße\n"`},
		{"text", "two\nlines\n", `"two\u000alines\u000a"`},
		{"bytes", "abc", `"YWJj"`},
	} {
		if got := e.call(t, "echo", test.kind, test.payload); got != test.want {
			t.Errorf("%s %q: got %q, want %q", test.kind, test.payload, got, test.want)
		}
	}
	long := `"` + strings.Repeat("@", 200<<10) + `"` // longer than an argument of a program may be
	if got := e.commandFrom(t, strings.NewReader(long), "invoke", "echo", "-"); got != long {
		t.Errorf("%d bytes: got %d, %.80q", len(long), len(got), got)
	}

	var bodies []string
	for i := range 20 {
		bodies = append(bodies, fmt.Sprintf(`{"n":%d}`, i))
	}
	e.command(t, append([]string{"send", "in"}, bodies...)...)
	if got, want := e.receive(t, "out", len(bodies)), slices.Sorted(slices.Values(bodies)); !slices.Equal(got, want) {
		t.Errorf("through a flow: got %q, want %q", got, want)
	}
}
