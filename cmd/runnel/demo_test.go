package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/server"
)

// TestDemoInterrupted ends a demonstration in the middle, and looks for what
// is left of it.
func TestDemoInterrupted(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for _, moment := range []string{"listening on", "1. images", "2. greetings"} {
		messages := "1000000"
		if moment == "2. greetings" {
			messages = "20"
		}
		p := startProcess(t.TempDir(), "demo", "--messages", messages)
		if !p.shows(moment) {
			t.Fatalf("it has ended: %v\n%s", p.err, p.errOut.String())
		}
		if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		<-p.ended
		var exit *exec.ExitError
		clean := p.err == nil && moment == "2. greetings" // it was faster
		if !clean && (!errors.As(p.err, &exit) || exit.ExitCode() != exitInterrupted || p.errOut.String() != "runnel: interrupted\n") {
			t.Errorf("at %q: ended with %v: %s", moment, p.err, p.errOut.String())
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("at %q: left behind: %v, %v", moment, left, err)
		}
	}
}

// TestDemoFiles writes the spec file for whatever interpreters there are.
func TestDemoFiles(t *testing.T) {
	both := map[runnel.Runtime]bool{runnel.RuntimePython: true, runnel.RuntimeNode: true}
	for _, test := range []struct {
		there map[runnel.Runtime]bool
		want  [2]string
	}{
		{both, [2]string{"Python", "JavaScript"}},
		{map[runnel.Runtime]bool{runnel.RuntimePython: true}, [2]string{"Python", "Python"}},
		{map[runnel.Runtime]bool{runnel.RuntimeNode: true}, [2]string{"JavaScript", "JavaScript"}},
		{nil, [2]string{"Go", "Go"}},
	} {
		files, err := writeDemo(t.TempDir(), test.there)
		if err != nil {
			t.Fatal(err)
		}
		if err := server.CheckSpec(files.spec, demoHandlers(files)); err != nil {
			t.Error(err)
		}
		if got := [2]string{files.language("thumbnail"), files.language("router")}; got != test.want {
			t.Errorf("languages %v, want %v", got, test.want)
		}
		var next strings.Builder
		if err := writeNext(&next, "http://127.0.0.1:1", "runnel", files); err != nil {
			t.Fatal(err)
		}
		for _, f := range files.Declared() {
			if _, err := os.Stat(f.file); err != nil || !strings.Contains(next.String(), f.file) {
				t.Errorf("%s is to be edited: %v\n%s", f.file, err, &next)
			}
		}
	}
}

// TestDemoAccount has the ways in which a message is not accounted for.
func TestDemoAccount(t *testing.T) {
	stage := func() *demoStage {
		s := newDemoStage("http://127.0.0.1:1", greetFlow, 1)
		s.messages[0].confirmed = true
		return s
	}
	states := []string{`{"id":0,"greeting":"hello"}`, `{"id":0,"greeting":"hello","name":"world"}`}
	for _, test := range []struct {
		name       string
		change     func(s *demoStage)
		open       int
		duplicates int
	}{
		{"nothing came", func(*demoStage) {}, 1, 0},
		{"one of two results", func(s *demoStage) { received(t, s, states[1]) }, 1, 0},
		{"both", func(s *demoStage) { received(t, s, states...) }, 0, 0},
		{"one twice", func(s *demoStage) { received(t, s, states[0], states[0], states[1]) }, 0, 1},
		{"a dead letter", func(s *demoStage) { s.messages[0].dead = true }, 0, 0},
		{"not confirmed", func(s *demoStage) { s.messages[0].confirmed = false; received(t, s, states...) }, 1, 0},
		{"still there", func(s *demoStage) { s.stats.Backlog.Visible = 1; received(t, s, states...) }, 1, 0},
	} {
		s := stage()
		test.change(s)
		if got := s.open(); got != test.open || s.counts.duplicates != test.duplicates {
			t.Errorf("%s: %d not accounted for and %d duplicates, want %d and %d", test.name, got, s.counts.duplicates, test.open, test.duplicates)
		}
	}
	for _, body := range []string{`{"id":1,"greeting":"hello"}`, `{"id":-1}`, `hello`} {
		if err := stage().received([]types.Message{{Body: aws.String(body)}}); err == nil {
			t.Errorf("%s was taken for a result", body)
		}
	}
}

func received(t *testing.T, s *demoStage, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		if err := s.received([]types.Message{{Body: aws.String(body)}}); err != nil {
			t.Fatal(err)
		}
	}
}
