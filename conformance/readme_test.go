package conformance_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestReadme pastes the README's lines into a shell, one right after the other.
func TestReadme(t *testing.T) {
	if program == "" {
		t.Skip("the lines start a server of their own")
	}
	aws := installed(t, "awscli", "bin", "aws")
	paste(t, aws, "## Ten lines to paste", func(i int, out string) {
		switch i {
		case 4:
			mustHave(t, out, `{"greeting":"hello ada"}`)
		case 6:
			mustHave(t, out, "KeyError", "nome", "main.py", `"name": "bob"`)
		case 8:
			mustHave(t, out, `{"greeting":"hello bob"}`)
		}
	})
}

// TestReadmeGuide does the same with the lines of Algorithmia's guide.
func TestReadmeGuide(t *testing.T) {
	if program == "" {
		t.Skip("the lines start a server of their own")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is missing")
		}
		t.Skip("curl is missing")
	}
	paste(t, installed(t, "awscli", "bin", "aws"), "## The guide's example", func(i int, out string) {
		switch i {
		case 4:
			mustHave(t, out, `"compilation":{"successful":true`, `"semantic_version":"0.1.0"`)
		case 6:
			mustHave(t, out, `"sourceType":"AmazonSQS"`, `"algoTimeoutSeconds":420`)
		case 8:
			if lines := strings.Split(strings.TrimSpace(out), "\n"); lines[len(lines)-1] != "file contents to store" {
				t.Errorf("the file has %q", out)
			}
		}
	})
}

// paste pastes the ten lines below a heading of the README.
func paste(t *testing.T, aws, heading string, look func(i int, out string)) {
	t.Helper()
	lines := pasteable(t, heading)
	if len(lines) != 10 {
		t.Fatalf("got %d lines, want ten", len(lines))
	}
	// The lines' port is the default one, which may be in use here.
	addr := freeAddr(t)
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], "127.0.0.1:7070", addr)
		lines[i] = strings.Replace(lines[i], "runnel dev ", "runnel dev --addr "+addr+" ", 1)
	}
	sh := newShell(t, "http://"+addr, filepath.Dir(program), filepath.Dir(aws))
	for i, line := range lines {
		out := sh.run(line)
		t.Logf("%s\n%s", line, out)
		look(i, out)
	}
}

// freeAddr is a loopback address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func mustHave(t *testing.T, out string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(out, word) {
			t.Errorf("the output does not have %q:\n%s", word, out)
		}
	}
}

// pasteable returns the lines of one of the README's walkthroughs.
func pasteable(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), heading+"\n")
	if !ok {
		t.Fatal("the README has no walkthrough")
	}
	_, rest, _ = strings.Cut(rest, "```sh\n")
	block, _, _ := strings.Cut(rest, "\n```")
	return strings.Split(block, "\n")
}

// shell is an interactive-like bash: lines go in, and what each prints comes
// out.
type shell struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

func newShell(t *testing.T, url string, path ...string) *shell {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	cmd := exec.CommandContext(ctx, "bash", "--norc", "--noprofile")
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + strings.Join(append(path, os.Getenv("PATH")), ":"), "HOME=" + cmd.Dir, "AWS_PAGER=", "RUNNEL_URL=" + url}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe() // both streams in one, as on a screen
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	var once sync.Once
	t.Cleanup(func() {
		once.Do(func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the server is of the group
			_ = cmd.Wait()
			cancel()
			_ = read.Close()
		})
	})
	return &shell{t: t, in: in, out: bufio.NewReader(read)}
}

// run runs a line, and returns what it printed. Jobs in the background go on.
func (s *shell) run(line string) string {
	s.t.Helper()
	const mark = "--readme-line-done--"
	if _, err := fmt.Fprintf(s.in, "%s\necho; echo %s $?\n", line, mark); err != nil {
		s.t.Fatal(err)
	}
	var out strings.Builder
	for {
		text, err := s.out.ReadString('\n')
		if rest, ok := strings.CutPrefix(text, mark); ok {
			if status := strings.TrimSpace(rest); status != "0" {
				s.t.Errorf("exit status %s of %s\n%s", status, line, out.String())
			}
			return out.String()
		}
		out.WriteString(text)
		if err != nil {
			s.t.Fatalf("the shell ended: %v\n%s", err, out.String())
		}
	}
}
