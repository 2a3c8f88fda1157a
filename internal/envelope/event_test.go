package envelope_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/envelope"
)

// TestBatchItemFailures: the rules of AWS. want is which of the messages a, b
// and a non-UTF-8 one between them failed.
func TestBatchItemFailures(t *testing.T) {
	reported := func(answer string) runnel.Answer { return jsonAnswer(answer) }
	for _, test := range []struct {
		name   string
		answer runnel.Answer
		want   string // failed messages
	}{
		{"none", runnel.Answer{Format: runnel.FormatNone}, ""},
		{"null", reported("null"), ""},
		{"empty text", runnel.Answer{Format: runnel.FormatText}, ""},
		{"empty object", reported("{}"), ""},
		{"another object", reported(`{"statusCode":200}`), ""},
		{"other case", reported(`{"BatchItemFailures":[{"itemIdentifier":"a"}]}`), ""},
		{"null list", reported(`{"batchItemFailures":null}`), ""},
		{"empty list", reported(`{"batchItemFailures":[]}`), ""},
		{"one", reported(`{"batchItemFailures":[{"itemIdentifier":"b"}]}`), "b"},
		{"one, twice", reported(` {"x":1,"batchItemFailures":[{"itemIdentifier":"b","y":2},{"itemIdentifier":"b"}]}`), "b"},
		{"both", reported(`{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"a"}]}`), "ab"},
		{"unknown id", reported(`{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"c"}]}`), "ab"},
		{"id that was not sent", reported(`{"batchItemFailures":[{"itemIdentifier":"bad"}]}`), "ab"},
		{"empty id", reported(`{"batchItemFailures":[{"itemIdentifier":""}]}`), "ab"},
		{"null id", reported(`{"batchItemFailures":[{"itemIdentifier":null}]}`), "ab"},
		{"number id", reported(`{"batchItemFailures":[{"itemIdentifier":1}]}`), "ab"},
		{"bad key", reported(`{"batchItemFailures":[{"itemidentifier":"a"}]}`), "ab"},
		{"null item", reported(`{"batchItemFailures":[null]}`), "ab"},
		{"string item", reported(`{"batchItemFailures":["a"]}`), "ab"},
		{"no list", reported(`{"batchItemFailures":"a"}`), "ab"},
		{"list", reported(`[{"itemIdentifier":"a"}]`), "ab"},
		{"string", reported(`"ok"`), "ab"},
		{"text", runnel.Answer{Format: runnel.FormatText, Payload: []byte("ok")}, "ab"},
		{"damaged", reported(`{"batchItemFailures":[`), "ab"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := []runnel.Message{{ID: "a", Body: []byte("1")}, {ID: "bad", Body: []byte("\xff")}, {ID: "b", Body: []byte("2")}}
			for _, report := range []bool{false, true} {
				f := &function{answer: says(test.answer)}
				cfg := envelope.Config{Payload: runnel.PayloadSQSEvent, Function: f, ReportBatchItemFailures: report}
				rs, err := handle(t, cfg, nil, in...)
				if err != nil {
					t.Fatal(err)
				}
				got, want := "", ""
				if report {
					want = test.want
				}
				for i, r := range rs {
					if r.Out != nil {
						t.Errorf("published %q", bodies(r.Out))
					}
					switch {
					case i == 1:
						wantError(t, r.Err, runnel.KindUndecodable, "UTF-8")
					case r.Err != nil:
						wantError(t, r.Err, runnel.KindError, "")
						got += string(in[i].ID)
					}
				}
				if got != want {
					t.Errorf("reporting %t: failed %q, want %q", report, got, want)
				}
			}
		})
	}
}

// TestEventFails: an error of the handler is that of all messages.
func TestEventFails(t *testing.T) {
	retry := runnel.RetryAfter(time.Second)
	f := &function{answer: says(runnel.Answer{Err: retry})}
	m := runnel.Message{ID: "a", Body: []byte("1")}
	rs, err := handle(t, envelope.Config{Payload: runnel.PayloadSQSEvent, Function: f}, nil, m, m)
	if err != nil || !errors.Is(rs[0].Err, retry) || !errors.Is(rs[1].Err, retry) {
		t.Errorf("got %+v, %v", rs, err)
	}
}

// FuzzBatchItemFailures: whatever a function returns, its messages are named
// or there is an error; what was named, JSON can say.
func FuzzBatchItemFailures(f *testing.F) {
	for _, s := range []string{``, `null`, `{}`, `{"batchItemFailures":[{"itemIdentifier":"a"}]}`, `{"batchItemFailures":[null]}`, `[1]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		ids, err := envelope.BatchItemFailures(&runnel.Answer{Format: runnel.FormatJSON, Payload: answer})
		if err != nil {
			return
		}
		var want struct {
			BatchItemFailures []struct {
				ItemIdentifier string `json:"itemIdentifier"`
			} `json:"batchItemFailures"`
		}
		if len(ids) > 0 {
			if err := json.Unmarshal(answer, &want); err != nil {
				t.Fatalf("%q names %q, and is not of the shape: %v", answer, ids, err)
			}
		}
		for _, id := range ids {
			if id == "" {
				t.Errorf("%q names an empty id", answer)
			}
		}
	})
}

// FuzzElements: a list is split as encoding/json splits it.
func FuzzElements(f *testing.F) {
	for _, s := range []string{`[]`, `[1]`, `[ 1 , "a,]\"" ,{"b":[2]}]`, `[[],[[]],{}]`, `["\\","\""]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		var want []json.RawMessage
		if len(list) == 0 || list[0] != '[' || list[len(list)-1] != ']' || json.Unmarshal(list, &want) != nil {
			return
		}
		var got []json.RawMessage
		for e := range envelope.Elements(list) {
			got = append(got, e)
		}
		if len(want) == 0 {
			want = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("elements of %q (-want +got):\n%s", list, diff)
		}
	})
}

// FuzzAppendString: any string becomes one that JSON reads back.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a\"\\\n\r\t\x00\x1f", "w\u00f6rld\u2028", "\xff\xc3("} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(envelope.AppendString(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		if utf8.ValidString(s) && got != s {
			t.Errorf("%q was read as %q", s, got)
		}
	})
}

// TestFirstReceive: a retry says when the message came first, and not now.
func TestFirstReceive(t *testing.T) {
	first := time.UnixMilli(1_700_000_000_123)
	var got string
	h := envelope.New(envelope.Config{Payload: runnel.PayloadSQSMessage, Function: &function{answer: func(in *runnel.Invocation) ([]runnel.Answer, error) {
		got = string(in.Items[0].Payload)
		return []runnel.Answer{{Format: runnel.FormatNone}}, nil
	}}})
	ctx := runnel.WithCall(t.Context(), &runnel.Call{Attempt: 2, Attempts: []int{2}, FirstReceived: []time.Time{first}})
	place, err := h.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer place.Release()
	if _, err := place.Call.Handle(ctx, []runnel.Message{{ID: "m", Body: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	if want := `"ApproximateFirstReceiveTimestamp":"1700000000123"`; !strings.Contains(got, want) {
		t.Errorf("got %s, want it to have %s", got, want)
	}
}
