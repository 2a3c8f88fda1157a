package conformance_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestBoto3(t *testing.T) { boto3Session(t, "boto3", "requirements.txt") }

// TestBoto3Query is the same session by the query protocol.
func TestBoto3Query(t *testing.T) { boto3Session(t, "boto3-query", "requirements-query.txt") }

func boto3Session(t *testing.T, client, pins string) {
	t.Parallel()
	python := installed(t, client, "bin", "python")
	for _, m := range modes() {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			version := runScript(t, startServer(t, m), client, python, filepath.Join("boto3", "session.py"))
			if want := pinned(t, filepath.Join("boto3", pins), "boto3"); version != want {
				t.Errorf("version: got boto3 %s, want %s as pinned: run conformance/install", version, want)
			}
		})
	}
}

// The three AWS SDKs for JavaScript do the same session; v2 changed its protocol
// on the way.
func TestJSv3(t *testing.T)      { jsSession(t, "v3", "@aws-sdk/client-sqs") }
func TestJSv2(t *testing.T)      { jsSession(t, "v2", "aws-sdk") }
func TestJSv2Query(t *testing.T) { jsSession(t, "v2-query", "aws-sdk-query") }

func jsSession(t *testing.T, client, dependency string) {
	t.Parallel()
	folder := installed(t, "js")
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err) // it was there for conformance/install
	}
	want := strings.TrimPrefix(manifest(t).Dependencies[dependency], "npm:aws-sdk@")
	for _, m := range modes() {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			version := runScript(t, startServer(t, m), "js-"+client, node, filepath.Join("js", "session.js"), client, folder)
			if version != want {
				t.Errorf("version: got %s %s, want %s as pinned: run conformance/install", dependency, version, want)
			}
		})
	}
}

// packages is what package.json of the sessions in JavaScript asks for.
type packages struct{ Dependencies map[string]string }

func manifest(t *testing.T) (p packages) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("js", "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCelery is a session of Celery's producer and workers.
func TestCelery(t *testing.T) {
	celerySession(t, "celery", pinned(t, filepath.Join("celery", "requirements.txt"), "celery"))
}

// TestCeleryDebian is the same session with the Celery of Debian bookworm, which
// speaks the query protocol, and another dialect of it where it receives.
func TestCeleryDebian(t *testing.T) { celerySession(t, "celery-debian", "5.2.6") }

func celerySession(t *testing.T, client, want string) {
	t.Parallel()
	python := installed(t, client, "bin", "python")
	for _, m := range modes() {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			version := runScript(t, startServer(t, m), client, python, filepath.Join("celery", "session.py"))
			if !strings.HasPrefix(version, "celery "+want+", ") {
				t.Errorf("version: got %s, want celery %s: run conformance/install", version, want)
			}
		})
	}
}

// TestAWSCLI takes a minute of CPU or more: each call starts Python. So it has
// one of our modes only, the one that verifies; TestReadme has the CLI and dev.
func TestAWSCLI(t *testing.T) {
	t.Parallel()
	aws := installed(t, "awscli", "bin", "aws")
	for _, m := range modes() {
		if m == dev {
			continue
		}
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			version := runScript(t, startServer(t, m), "awscli", filepath.Join("awscli", "session.sh"), aws)
			if !strings.HasPrefix(version, "aws-cli/2.") {
				t.Errorf("version: got %q, want aws-cli/2.*", version)
			}
		})
	}
}

// scriptTimeout is for a whole session on a busy machine.
const scriptTimeout = 10 * time.Minute

// runScript runs a session in another language, and makes a subtest of each
// step. A script prints "version V", then "ok STEP" or "FAIL STEP: REASON" for
// each step, and "done N" at its end. It returns V.
func runScript(t *testing.T, e endpoint, client string, command ...string) (version string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
	defer cancel()
	command = append(command, e.prefix(client))
	if e.signed {
		command = append(command, "--signed")
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = e.clientEnv(t)
	// A group of its own, so that at a timeout its children end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	version, steps, faults := parseReport(stdout.String())
	t.Logf("%s, %d steps", version, len(steps))
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			if s.fault != "" {
				t.Error(s.fault)
			}
		})
	}
	// A failed step is the reason for exit code 1; anything else needs telling.
	if err != nil && (ctx.Err() != nil || !t.Failed()) {
		t.Errorf("%s: %v", client, errors.Join(ctx.Err(), err))
	}
	for _, fault := range faults {
		t.Error(fault)
	}
	if t.Failed() {
		t.Logf("standard error of the session:\n%s", &stderr)
	}
	return version
}

// step is one line of a script's report; fault is empty if it went well.
type step struct{ name, fault string }

var (
	okLine   = regexp.MustCompile(`^ok ([a-z0-9-]+)$`)
	failLine = regexp.MustCompile(`^FAIL ([a-z0-9-]+): (.*)$`)
)

// parseReport reads what a script printed. A report that does not end in the
// right number of steps is a fault, as is a line of another kind.
func parseReport(report string) (version string, steps []step, faults []string) {
	done := "no last line \"done N\""
	for lines := bufio.NewScanner(strings.NewReader(report)); lines.Scan(); {
		line := lines.Text()
		if v, ok := strings.CutPrefix(line, "version "); ok {
			version = v
		} else if m := okLine.FindStringSubmatch(line); m != nil {
			steps = append(steps, step{name: m[1]})
		} else if m := failLine.FindStringSubmatch(line); m != nil {
			steps = append(steps, step{m[1], m[2]})
		} else if n, ok := strings.CutPrefix(line, "done "); ok {
			done = ""
			if want := fmt.Sprint(len(steps)); n != want || len(steps) == 0 {
				done = fmt.Sprintf("the last line says %s steps, the report has %s", n, want)
			}
		} else {
			faults = append(faults, fmt.Sprintf("line of the session's report: %q", line))
		}
	}
	if done != "" {
		faults = append(faults, done)
	}
	return version, steps, faults
}

// pinned returns the version of a Python package in a file of pins.
func pinned(t *testing.T, pins, name string) string {
	t.Helper()
	text, err := os.ReadFile(pins)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+"=="); ok {
			return v
		}
	}
	t.Fatalf("%s pins no %s", pins, name)
	return ""
}
