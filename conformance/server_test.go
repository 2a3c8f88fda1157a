package conformance_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the server under test, built by TestMain; empty if the sessions go
// to a server that is running already (endpointVariable).
var program string

// endpointVariable names a running server for the sessions, instead of a new
// one of ours: another implementation to compare with. Credentials come from
// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
const endpointVariable = "RUNNEL_CONFORMANCE_ENDPOINT"

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getenv(endpointVariable) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "runnel-conformance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	program = filepath.Join(dir, "runnel")
	// Built as "make build" does, which is what users run, and shares its cache.
	build := exec.Command("go", "build", "-trimpath", "-o", program, "../cmd/runnel")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build cmd/runnel: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// mode is how a server is run.
type mode string

const (
	dev     mode = "dev"     // takes any credentials
	serve   mode = "serve"   // verifies signatures
	foreign mode = "foreign" // a server that is not ours
)

// modes are what the sessions of each client are run against.
func modes() []mode {
	if os.Getenv(endpointVariable) != "" {
		return []mode{foreign}
	}
	return []mode{dev, serve}
}

// endpoint is where a client finds a server, and with which key.
type endpoint struct {
	url    string
	id     string
	secret string
	signed bool // wrong keys and signatures are refused
}

// prefix begins the names of the queues of one session.
func (e endpoint) prefix(client string) string {
	return fmt.Sprintf("%s-%d", client, time.Now().UnixMilli())
}

// startTimeout is for a server on a new directory: it is ready in well under a
// second, unless the machine is very busy.
const startTimeout = 30 * time.Second

// startServer starts a server on a new directory, with more arguments, and stops
// it with SIGTERM when the test is over, when it must exit with code 0.
func startServer(t *testing.T, m mode, more ...string) endpoint {
	t.Helper()
	if m == foreign {
		return endpoint{
			url: os.Getenv(endpointVariable), id: os.Getenv("AWS_ACCESS_KEY_ID"), secret: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		}
	}
	dir := t.TempDir()
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{string(m), "--addr", "127.0.0.1:0", "--dir", filepath.Join(dir, "data")}, more...)
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e := endpoint{id: "any", secret: "any"}
	heard := make(chan error, 1) // gets what reading the announcement came to, once
	read := make(chan struct{})  // is closed when the server's output has ended
	go func() {
		defer close(read)
		lines := bufio.NewReader(stdout)
		heard <- e.announced(lines, m)
		_, _ = io.Copy(io.Discard, lines) // ends when the server does
	}()
	t.Cleanup(func() {
		stop(t, cmd, read)
		if err := stderr.Close(); err != nil {
			t.Error(err)
		}
		if log, err := os.ReadFile(stderr.Name()); err == nil && t.Failed() {
			t.Logf("log of runnel %s:\n%s", m, log)
		}
	})
	select {
	case err := <-heard:
		if err != nil {
			t.Fatalf("start runnel %s: %v", m, err)
		}
	case <-time.After(startTimeout):
		t.Fatalf("start runnel %s: it has not said where it listens for %v", m, startTimeout)
	}
	return e
}

var (
	listening = regexp.MustCompile(`^listening on (http://127\.0\.0\.1:[1-9][0-9]*)\n$`)
	adminKey  = regexp.MustCompile(`^admin key +id ([^ ]+) +secret ([^ ]+) +token [^ ]+\n$`)
)

// announced reads what a server says on its standard output at its start: where
// it listens, on the first line, and, when it makes keys, the first two.
func (e *endpoint) announced(lines *bufio.Reader, m mode) error {
	line, err := lines.ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the first line: %w", err)
	}
	got := listening.FindStringSubmatch(line)
	if got == nil {
		return fmt.Errorf("first line: got %q, want a match of %s", line, listening)
	}
	e.url = got[1]
	if m == dev {
		return nil
	}
	e.signed = true
	for {
		if line, err = lines.ReadString('\n'); err != nil {
			return fmt.Errorf("read the first admin key: %w", err)
		}
		if got := adminKey.FindStringSubmatch(line); got != nil {
			e.id, e.secret = got[1], got[2]
			return nil
		}
	}
}

// stop ends a server as its operator would.
func stop(t *testing.T, cmd *exec.Cmd, read <-chan struct{}) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("stop the server: %v", err)
	}
	select {
	case <-read:
	case <-time.After(startTimeout):
		t.Errorf("the server still runs %v after SIGTERM", startTimeout)
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		<-read
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit of the server after SIGTERM: got %v, want code 0", err)
	}
}

// installed returns the path of a program that ./install has installed. Where
// it has not, the test is skipped, or fails in CI.
func installed(t *testing.T, names ...string) string {
	t.Helper()
	dir := os.Getenv("RUNNEL_CONFORMANCE_DIR")
	if dir == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				t.Fatal(err)
			}
			cache = filepath.Join(home, ".cache")
		}
		dir = filepath.Join(cache, "runnel-conformance")
	}
	path := filepath.Join(append([]string{dir}, names...)...)
	_, err := os.Stat(path)
	if err == nil {
		// The stamp is written last, when everything is in place.
		_, err = os.Stat(filepath.Join(dir, names[0], "stamp"))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") == "":
		t.Skipf("%s is not installed: run conformance/install", path)
	case err != nil:
		t.Fatalf("run conformance/install first: %v", err)
	}
	return path
}

// clientEnv is the environment of a foreign client: the key and the server, and
// nothing that its user has set for AWS.
func (e endpoint) clientEnv(t *testing.T) []string {
	t.Helper()
	env := []string{
		"HOME=" + t.TempDir(), // no ~/.aws
		"AWS_ENDPOINT_URL_SQS=" + e.url,
		"AWS_ACCESS_KEY_ID=" + e.id,
		"AWS_SECRET_ACCESS_KEY=" + e.secret,
		"AWS_REGION=us-east-1",
		"ALGORITHMIA_API=" + e.url,
		"ALGORITHMIA_API_KEY=" + e.id + "." + e.secret,
		"AWS_DEFAULT_REGION=us-east-1", // boto3's name for it
		"AWS_EC2_METADATA_DISABLED=true",
		"PYTHONDONTWRITEBYTECODE=1", // leaves the source tree as it is
		"NO_PROXY=127.0.0.1",
	}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name == "HOME" || strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "PYTHON") || strings.EqualFold(name, "NO_PROXY") {
			continue
		}
		env = append(env, v)
	}
	return env
}
