package main

import (
	"strings"
	"testing"
)

// TestDemoSQSFile does what the guide does, from nothing to the file.
func TestDemoSQSFile(t *testing.T) {
	needPython(t)
	p := startProcess(t.TempDir(), "demo", "sqs-file", "--exit")
	<-p.ended
	if p.err != nil {
		t.Fatalf("ended with %v: %s\n%s", p.err, p.errOut.String(), p.out.String())
	}
	for _, want := range []string{
		"create the algorithm", "algorithm = ADK(apply)", "connect the queue", `"algoName":"testSQSEventFlow"`,
		`{"filename": "some-new-file.txt", "data": "file contents to store"}`, "the file, after",
	} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("%q is not in what it says:\n%s", want, p.out.String())
		}
	}
	lines := strings.Split(strings.TrimSpace(p.out.String()), "\n")
	if last := lines[len(lines)-1]; !strings.HasSuffix(last, " file contents to store") {
		t.Errorf("the last line is %q", last)
	}
}
