package envelope_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/envelope"
)

// TestAlgorithmPayload: what is JSON is given as such, other text as text, the
// rest as bytes, whatever the other messages are.
func TestAlgorithmPayload(t *testing.T) {
	for body, want := range map[string]runnel.Format{
		`{"a": 1}`: runnel.FormatJSON, `7`: runnel.FormatJSON, `"x"`: runnel.FormatJSON, ` null `: runnel.FormatJSON,
		`hello`: runnel.FormatText, ``: runnel.FormatText, `{"a": }`: runnel.FormatText, "w\u00f6rld": runnel.FormatText,
		"\xff\x00": runnel.FormatBytes, "{\"a\": \"\xff\"}": runnel.FormatBytes,
	} {
		f := &function{answer: echo}
		rs, err := handle(t, envelope.Config{Payload: runnel.PayloadAlgorithm, Function: f}, nil, runnel.Message{ID: "m", Body: []byte(body)})
		if err != nil || rs[0].Err != nil {
			t.Errorf("%q: %v, %v", body, err, rs[0].Err)
			continue
		}
		if f.got.Format != want || f.got.List || len(f.got.Items) != 1 || string(f.got.Items[0].Payload) != body {
			t.Errorf("%q was given as %s: %+v", body, f.got.Format, f.got)
		}
	}
	var got []runnel.Format
	f := &function{}
	f.answer = func(in *runnel.Invocation) ([]runnel.Answer, error) {
		got = append(got, in.Format)
		return echo(in)
	}
	rs, err := handle(t, envelope.Config{Payload: runnel.PayloadAlgorithm, Function: f}, nil,
		runnel.Message{ID: "a", Body: []byte("1")}, runnel.Message{ID: "b", Body: []byte("x")}, runnel.Message{ID: "c", Body: []byte("\xff")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]runnel.Format{runnel.FormatJSON, runnel.FormatText, runnel.FormatBytes}, got); diff != "" {
		t.Errorf("formats (-want +got):\n%s", diff)
	}
	for i, want := range []string{"1", "x", "\xff"} {
		if len(rs[i].Out) != 1 || string(rs[i].Out[0].Body) != want {
			t.Errorf("answer %d: %+v", i, rs[i])
		}
	}
}
