package examples_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAWS: the policies are JSON and allow what they should, and the template has
// its sections, with the indentation that YAML wants.
func TestAWS(t *testing.T) {
	for name, want := range map[string]string{
		"aws/read-sqs-policy.json":        "sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueAttributes sqs:ReceiveMessage",
		"aws/assume-read-sqs-policy.json": "sts:AssumeRole",
	} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var policy struct {
			Statement []struct {
				Effect, Resource string
				Action           any
			}
		}
		if err := json.Unmarshal(text, &policy); err != nil || len(policy.Statement) != 1 || policy.Statement[0].Effect != "Allow" {
			t.Fatalf("%s: %v, %+v", name, err, policy)
		}
		got := ""
		switch action := policy.Statement[0].Action.(type) {
		case string:
			got = action
		case []any:
			for _, a := range action {
				got = strings.TrimSpace(got + " " + a.(string))
			}
		}
		if got != want || len(strings.Split(policy.Statement[0].Resource, ":")) != 6 {
			t.Errorf("%s allows %q on %q", name, got, policy.Statement[0].Resource)
		}
	}
	text, err := os.ReadFile("aws/client-aws-cloudformation-template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string][]string{}
	section := ""
	for line := range strings.Lines(string(text)) {
		key, _, ok := strings.Cut(strings.TrimRight(line, "\n"), ":")
		indent := len(key) - len(strings.TrimLeft(key, " "))
		switch {
		case ok && indent == 0:
			section = key
		case ok && indent == 2:
			sections[section] = append(sections[section], strings.TrimSpace(key))
		case indent%2 != 0:
			t.Errorf("indentation of %q", line)
		}
	}
	want := map[string][]string{
		"Resources":  {"algoqueuedlq", "algoqueue", "algoqueuepolicy", "algoqueuerole"},
		"Parameters": {"AlgorithmiaAccountNumber", "QueueName", "QueueDLQName"},
		"Outputs":    {"QueueURL", "QueueConsumerARN"},
	}
	if diff := cmp.Diff(want, sections); diff != "" {
		t.Errorf("the template (-want +got):\n%s", diff)
	}
	if actions := strings.Count(string(text), "'sqs:"); actions != 4 || !slices.Contains(strings.Fields(string(text)), "'sts:AssumeRole'") {
		t.Errorf("the template allows %d actions", actions)
	}
}
