package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// dev starts a server and makes it the one that commands find.
func dev(t *testing.T) *client {
	t.Helper()
	noEnvironment(t)
	s := startServer(t, true)
	t.Setenv("RUNNEL_URL", s.URL())
	return clientOf(s.URL())
}

// counts are the messages of a queue: visible, in flight, delayed.
func counts(t *testing.T, c *client, queue string) (n [3]string) {
	t.Helper()
	url, err := c.queueURL(t.Context(), queue)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]any{"QueueUrl": url, "AttributeNames": []string{"All"}}
	var out struct{ Attributes map[string]string }
	if err := c.sqs(t.Context(), "GetQueueAttributes", in, &out); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"", "NotVisible", "Delayed"} {
		n[i] = out.Attributes["ApproximateNumberOfMessages"+name]
	}
	return n
}

func TestSendAndReceive(t *testing.T) {
	c := dev(t)
	ids := mustRun(t, "", "send", "--create", "jobs", "one", "two", `{"three": "<3>"}`).lines()
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) != 3 || len(ids[0]) != 36 {
		t.Errorf("ids %q, want three different ones", ids)
	}
	if got := mustRun(t, "", "receive", "jobs").lines(); !cmp.Equal(got, []string{"one"}) {
		t.Errorf("received %q, want one", got)
	}
	if got, want := mustRun(t, "", "receive", "-n", "10", "jobs").lines(), []string{"two", `{"three": "<3>"}`}; !cmp.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
	if got, want := counts(t, c, "jobs"), [3]string{"0", "0", "0"}; got != want {
		t.Errorf("visible, in flight, delayed = %v, want %v: what was printed is deleted", got, want)
	}
	o := mustRun(t, "", "receive", "jobs")
	if o.stdout.Len() > 0 || o.stderr.String() != "no message in jobs\n" {
		t.Errorf("of an empty queue: %q and %q", &o.stdout, &o.stderr)
	}
}

// TestSendMany sends more than a batch takes, by number and by bytes.
func TestSendMany(t *testing.T) {
	c := dev(t)
	args := []string{"send", "--create", "many"}
	for i := range 25 {
		args = append(args, fmt.Sprint(i))
	}
	if got := mustRun(t, "", args...).lines(); len(got) != 25 {
		t.Errorf("%d ids, want 25", len(got))
	}
	big := strings.Repeat("x", 600<<10)
	if got := mustRun(t, big+"\n"+big+"\n"+big+"\n", "send", "many").lines(); len(got) != 3 {
		t.Errorf("%d ids of large messages, want 3", len(got))
	}
	if got := counts(t, c, "many")[0]; got != "28" {
		t.Errorf("%s messages in the queue, want 28", got)
	}
	if got := mustRun(t, "", "receive", "-n", "28", "many").lines(); len(got) != 28 || got[24] != "24" || got[27] != big {
		t.Errorf("received %d messages, want 28 in their order", len(got))
	}
}

func TestSendLines(t *testing.T) {
	dev(t)
	var in strings.Builder
	var want []string
	for i := range 57 {
		want = append(want, fmt.Sprintf("line %d", i))
		fmt.Fprintf(&in, "line %d\n", i)
	}
	mustRun(t, in.String(), "send", "--create", "lines", "-")
	if got := mustRun(t, "", "receive", "-n", "100", "lines").lines(); !cmp.Equal(got, want) {
		t.Errorf("received %q", got)
	}
	for name, test := range map[string]struct{ in, want string }{
		"empty line": {"one\n\nthree\n", "line 2 is empty"},
		"long line":  {"one\n" + strings.Repeat("x", 2<<20) + "\n", "line 2 is longer than a message may be"},
	} {
		o, err := try(t.Context(), strings.NewReader(test.in), "send", "lines")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
		if len(o.lines()) != 1 {
			t.Errorf("%s: printed %q, want the id of the line before", name, o.lines())
		}
	}
}

// TestSendAsLinesCome waits for the id of a line before it writes the next.
func TestSendAsLinesCome(t *testing.T) {
	dev(t)
	mustRun(t, "", "send", "--create", "lines", "first")
	in, lines := io.Pipe()
	ids, out := io.Pipe()
	root := newSendCommand()
	root.SetArgs([]string{"lines"})
	root.SetIn(in)
	root.SetOut(out)
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(t.Context()) }()
	read := bufio.NewReader(ids)
	for i := range 3 {
		if _, err := fmt.Fprintf(lines, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
		if _, err := read.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if err := lines.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSendDelayAndAttributes(t *testing.T) {
	c := dev(t)
	mustRun(t, "", "send", "--create", "--delay", "15m", "later", "x")
	if got, want := counts(t, c, "later"), [3]string{"0", "0", "1"}; got != want {
		t.Errorf("visible, in flight, delayed = %v, want %v", got, want)
	}
	mustRun(t, "", "send", "--create", "--attribute", "kind=image", "--attribute", "where=a=b", "now", "x")
	o := mustRun(t, "", "receive", "--json", "--keep", "now")
	var got printed
	if err := json.Unmarshal(o.stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"kind": "image", "where": "a=b"}; !cmp.Equal(got.Attributes, want) {
		t.Errorf("attributes %v, want %v", got.Attributes, want)
	}
	if got.Body != "x" || got.Receives != 1 || len(got.ID) != 36 || time.Since(got.Sent).Abs() > time.Minute || got.Receipt == "" {
		t.Errorf("printed %+v", got)
	}
	if got, want := counts(t, c, "now"), [3]string{"0", "1", "0"}; got != want {
		t.Errorf("visible, in flight, delayed = %v, want %v: it was kept", got, want)
	}
}

func TestSendRefusals(t *testing.T) {
	dev(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"send", "nowhere", "x"}, `there is no queue "nowhere"`},
		{[]string{"receive", "nowhere"}, `there is no queue "nowhere"`},
		{[]string{"send", "http://127.0.0.1/000000000000/nowhere", "x"}, "there is no queue"},
		{[]string{"send", "--delay", "1500ms", "q", "x"}, "--delay 1.5s: want whole seconds"},
		{[]string{"send", "--delay", "-1s", "q", "x"}, "--delay -1s"},
		{[]string{"send", "--attribute", "kind", "q", "x"}, "NAME=VALUE"},
		{[]string{"send", "--attribute", "a=1", "--attribute", "a=2", "q", "x"}, "twice"},
		{[]string{"send", "--create", "no/slash", "x"}, "InvalidParameterValue"},
		{[]string{"send", "--create", "--delay", "16m", "q", "x"}, "InvalidParameterValue"},
		{[]string{"send", "--create", "q", "bad \x01 letter"}, "InvalidMessageContents"},
		{[]string{"receive", "-n", "0", "q"}, "-n 0"},
		{[]string{"receive", "--wait", "-1s", "q"}, "--wait -1s"},
	} {
		if got := mustFail(t, "", test.args...); !strings.Contains(got, test.want) {
			t.Errorf("runnel %q: %q, want %q", test.args, got, test.want)
		}
	}
}

// TestSendBatchFailures has one bad message among good ones.
func TestSendBatchFailures(t *testing.T) {
	c := dev(t)
	o, err := try(t.Context(), nil, "send", "--create", "q", "one", "bad \x01", "three")
	if err == nil || !strings.Contains(err.Error(), "message 2 was not sent") {
		t.Errorf("error %v, want one about message 2", err)
	}
	if got := len(o.lines()); got != 2 {
		t.Errorf("%d ids, want those of the two others", got)
	}
	if got := counts(t, c, "q")[0]; got != "2" {
		t.Errorf("%s messages, want 2", got)
	}
}

// brokenPipe takes nothing.
type brokenPipe struct{}

var errBrokenPipe = errors.New("broken pipe")

func (brokenPipe) Write([]byte) (int, error) { return 0, errBrokenPipe }

func TestReceivePrintsBeforeItDeletes(t *testing.T) {
	c := dev(t)
	mustRun(t, "", "send", "--create", "jobs", "one")
	cmd := newReceiveCommand()
	cmd.SetArgs([]string{"jobs"})
	cmd.SetOut(brokenPipe{})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if err := cmd.ExecuteContext(t.Context()); !errors.Is(err, errBrokenPipe) {
		t.Errorf("error %v, want %v", err, errBrokenPipe)
	}
	if got, want := counts(t, c, "jobs"), [3]string{"0", "1", "0"}; got != want {
		t.Errorf("visible, in flight, delayed = %v, want %v: nobody has seen it", got, want)
	}
}

func TestReceiveWaits(t *testing.T) {
	dev(t)
	mustRun(t, "", "send", "--create", "jobs", "first")
	mustRun(t, "", "receive", "jobs")
	received := make(chan string, 1)
	go func() {
		o, err := try(t.Context(), nil, "receive", "--wait", "20s", "jobs")
		received <- fmt.Sprintf("%q, %v", o.lines(), err)
	}()
	mustRun(t, "", "send", "jobs", "second")
	select {
	case got := <-received:
		if want := `["second"], <nil>`; got != want {
			t.Errorf("received %s, want %s", got, want)
		}
	case <-time.After(deadline):
		t.Error("the message was not received")
	}
}

func TestReceiveFollows(t *testing.T) {
	c := dev(t)
	mustRun(t, "", "send", "--create", "jobs", "one", "two")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	lines, out := io.Pipe()
	cmd := newReceiveCommand()
	cmd.SetArgs([]string{"--follow", "jobs"})
	cmd.SetOut(out)
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	read := bufio.NewReader(lines)
	for i, want := range []string{"one", "two", "three"} {
		if i == 2 {
			mustRun(t, "", "send", "jobs", want)
		}
		if got, err := read.ReadString('\n'); got != want+"\n" || err != nil {
			t.Fatalf("line %d = %q, %v; want %q", i, got, err, want)
		}
	}
	interrupt()
	if err := <-done; err != nil {
		t.Errorf("an interrupt ends it with %v", err)
	}
	if got, want := counts(t, c, "jobs"), [3]string{"0", "0", "0"}; got != want {
		t.Errorf("visible, in flight, delayed = %v, want %v: what was printed is deleted after an interrupt, too", got, want)
	}
}

func TestReceiveFollowsUpToANumber(t *testing.T) {
	c := dev(t)
	mustRun(t, "", "send", "--create", "jobs", "one", "two", "three")
	if got, want := mustRun(t, "", "receive", "--follow", "-n", "2", "jobs").lines(), []string{"one", "two"}; !cmp.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
	if got := counts(t, c, "jobs")[0]; got != "1" {
		t.Errorf("%s messages are left, want 1", got)
	}
}
