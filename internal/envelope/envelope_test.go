package envelope_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/envelope"
)

var update = flag.Bool("update", false, "write the golden files")

// function is a function in this process: it answers every invocation, and
// keeps the last.
type function struct {
	answer func(in *runnel.Invocation) ([]runnel.Answer, error)
	got    *runnel.Invocation
	held   int // places that were not given back

	deadline bool // the last call had one
}

func (f *function) Acquire(ctx context.Context) (runnel.Place[runnel.Invoker], error) {
	if err := context.Cause(ctx); err != nil {
		return runnel.Place[runnel.Invoker]{}, err
	}
	f.held++
	return runnel.Place[runnel.Invoker]{
		Call: f, Version: "v1", Timeout: time.Minute, Release: func() { f.held-- },
	}, nil
}

func (f *function) Invoke(ctx context.Context, in *runnel.Invocation) ([]runnel.Answer, error) {
	f.got = in
	_, f.deadline = ctx.Deadline()
	return f.answer(in)
}

// echo answers each payload with itself.
func echo(in *runnel.Invocation) ([]runnel.Answer, error) {
	out := make([]runnel.Answer, len(in.Items))
	for i := range in.Items {
		out[i] = runnel.Answer{Format: in.Format, Payload: in.Items[i].Payload}
	}
	return out, nil
}

// says answers every payload with a.
func says(a runnel.Answer) func(*runnel.Invocation) ([]runnel.Answer, error) {
	return func(in *runnel.Invocation) ([]runnel.Answer, error) {
		out := make([]runnel.Answer, len(in.Items))
		for i := range out {
			out[i] = a
		}
		return out, nil
	}
}

func jsonAnswer(s string) runnel.Answer {
	return runnel.Answer{Format: runnel.FormatJSON, Payload: []byte(s)}
}

// handle makes one call, as dispatch does.
func handle(t testing.TB, cfg envelope.Config, call *runnel.Call, in ...runnel.Message) ([]runnel.Result, error) {
	t.Helper()
	ctx := context.Background()
	if call != nil {
		ctx = runnel.WithCall(ctx, call)
	}
	p, err := envelope.New(cfg).Acquire(ctx)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	defer p.Release()
	if p.Version != "v1" || p.Timeout != time.Minute {
		t.Errorf("place of version %q with timeout %v", p.Version, p.Timeout)
	}
	rs, err := p.Call.Handle(ctx, in)
	if err == nil && len(rs) != len(in) {
		t.Fatalf("%d results for %d messages", len(rs), len(in))
	}
	return rs, err
}

func bodies(ms []runnel.Message) []string {
	out := []string{}
	for _, m := range ms {
		out = append(out, string(m.Body))
	}
	return out
}

func wantError(t *testing.T, err error, kind, text string) {
	t.Helper()
	var f *runnel.FunctionError
	if !errors.As(err, &f) || f.Kind != kind || !strings.Contains(f.Message, text) {
		t.Errorf("got error %v, want kind %s with %q", err, kind, text)
	}
}

var now = time.UnixMilli(1_700_000_100_000)

func sample() []runnel.Message {
	return []runnel.Message{
		{
			ID: "4bdfcaa4-41ef-450c-ac59-945b09d0a53c", Body: []byte("{\"stock_no\":\"STK650149\",\"name\":\"w\u00f6rld\",\n\"x\":\"\\u0001\"}"),
			Key: "tenant-1", DedupID: "d-1", Sender: "000000000000", Sent: time.UnixMilli(1_700_000_000_000),
			Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			Attributes: []runnel.Attribute{
				{Name: "kind", Type: "String", Value: []byte("gree\"ting\xff")},
				{Name: "count", Type: "Number.int", Value: []byte("7")},
				{Name: "raw", Type: "Binary", Value: []byte{0, 1, 0xff}},
				{Name: "AWS.TraceHeader", Value: []byte("Root=1-2-3")},
				{Name: "plain", Value: []byte("x")},
				{Name: "kind", Value: []byte("again")},
			},
		},
		{ID: "second", Body: []byte("2")},
	}
}

// TestShapes: what the function gets, against golden files.
func TestShapes(t *testing.T) {
	for _, payload := range []runnel.Payload{
		runnel.PayloadJSON, runnel.PayloadText, runnel.PayloadBytes, runnel.PayloadSQSEvent, runnel.PayloadSQSMessage,
	} {
		t.Run(string(payload), func(t *testing.T) {
			f := &function{answer: echo}
			call := &runnel.Call{Flow: "greet", Attempt: 3, Attempts: []int{3, 1}, Invocation: "inv-1"}
			cfg := envelope.Config{
				Flow: "greet", Payload: payload, Function: f, Source: "arn:aws:sqs:us-east-1:000000000000:q", Region: "us-east-1",
				Now: func() time.Time { return now },
			}
			if _, err := handle(t, cfg, call, sample()...); err != nil {
				t.Fatal(err)
			}
			if f.held != 0 {
				t.Error("the place was not given back")
			}
			if f.got.ID != "inv-1" || f.got.Flow != "greet" || f.got.List {
				t.Errorf("invocation %+v", f.got)
			}
			type item struct {
				Format     string
				Message    runnel.MessageID
				Attempt    int
				Key, Trace string
				Attributes int
			}
			var got []item
			for _, it := range f.got.Items {
				got = append(got, item{f.got.Format.String(), it.Message, it.Attempt, it.Key, it.Trace, len(it.Attributes)})
				if payload != runnel.PayloadText && payload != runnel.PayloadBytes && !json.Valid(it.Payload) {
					t.Errorf("not JSON: %s", it.Payload)
				}
			}
			text, err := json.MarshalIndent(got, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range f.got.Items {
				text = append(append(text, '\n'), it.Payload...)
			}
			golden(t, string(payload)+".golden", text)
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// TestNoCall: without dispatch, as in a test of a program, a call still has an
// id of its own and a first attempt.
func TestNoCall(t *testing.T) {
	f := &function{answer: echo}
	if _, err := handle(t, envelope.Config{Function: f}, nil, runnel.Message{Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	first := f.got.ID
	if _, err := handle(t, envelope.Config{Function: f}, nil, runnel.Message{Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if first == "" || first == f.got.ID || f.got.Items[0].Attempt != 1 {
		t.Errorf("ids %q and %q, attempt %d", first, f.got.ID, f.got.Items[0].Attempt)
	}
}

// TestHandle: without dispatch, a call finds its own place and deadline.
func TestHandle(t *testing.T) {
	f := &function{answer: echo}
	h := envelope.New(envelope.Config{Function: f})
	rs, err := h.Handle(t.Context(), []runnel.Message{{Body: []byte("1")}})
	if err != nil || len(rs) != 1 || string(rs[0].Out[0].Body) != "1" {
		t.Errorf("got %+v, %v", rs, err)
	}
	if f.held != 0 || !f.deadline {
		t.Errorf("%d places are held, the call had a deadline: %t", f.held, f.deadline)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Handle(ctx, []runnel.Message{{}}); !errors.Is(err, context.Canceled) {
		t.Errorf("without a place: %v", err)
	}
}

// TestUndecodable: such a message fails alone, and says where; the others are
// called, and get their own answers.
func TestUndecodable(t *testing.T) {
	const fine = `{"a":1}`
	for _, test := range []struct {
		payload runnel.Payload
		body    string
		want    string
	}{
		{runnel.PayloadJSON, "", "is empty"},
		{runnel.PayloadJSON, "hello", "at byte 0"},
		{runnel.PayloadJSON, `{"a":x}`, "at byte 5"},
		{runnel.PayloadJSON, `{"a":1}}`, "at byte 7"},
		{runnel.PayloadJSON, `{"a":1`, "at byte 6"},
		{runnel.PayloadJSON, "\"\xff\"", "at byte 1 (0xff): it is not UTF-8"},
		{runnel.PayloadText, "ab\xc3(", "at byte 2"},
		{runnel.PayloadSQSEvent, "\xff", "at byte 0"},
		{runnel.PayloadSQSMessage, "ab\x80", "at byte 2"},
	} {
		t.Run(fmt.Sprintf("%s %q", test.payload, test.body), func(t *testing.T) {
			f := &function{answer: echo}
			cfg := envelope.Config{Payload: test.payload, Function: f}
			bad := runnel.Message{ID: "bad", Body: []byte(test.body)}
			call := &runnel.Call{Attempts: []int{5, 6, 7}}
			rs, err := handle(t, cfg, call, bad, runnel.Message{ID: "a", Body: []byte(fine)}, runnel.Message{ID: "b", Body: []byte(fine)})
			if err != nil {
				t.Fatal(err)
			}
			wantError(t, rs[0].Err, runnel.KindUndecodable, test.want)
			if rs[0].Out != nil || rs[1].Err != nil || rs[2].Err != nil {
				t.Errorf("results %+v", rs)
			}
			for _, it := range f.got.Items {
				if strings.Contains(string(it.Payload), "bad") {
					t.Errorf("the function got %s", it.Payload)
				}
			}
			if it := f.got.Items[0]; it.Message != "a" || it.Attempt != 6 {
				t.Errorf("the first item is of message %s, attempt %d", it.Message, it.Attempt)
			}
			f.got = nil
			if _, err := handle(t, cfg, call, bad, bad); err != nil || f.got != nil {
				t.Errorf("called with %v, error %v; there was nothing to call with", f.got, err)
			}
		})
	}
}

// TestPublish: what becomes of an answer.
func TestPublish(t *testing.T) {
	retry, reject := runnel.RetryAfter(time.Second), runnel.Reject("no")
	text := func(s string) runnel.Answer {
		return runnel.Answer{Format: runnel.FormatText, Payload: []byte(s)}
	}
	for _, test := range []struct {
		name   string
		split  bool
		answer runnel.Answer
		want   []string
		err    string // of kind output
	}{
		{"json", false, jsonAnswer(`{"a":1}`), []string{`{"a":1}`}, ""},
		{"list, whole", false, jsonAnswer(`[1,2]`), []string{`[1,2]`}, ""},
		{"null", false, jsonAnswer(" null                  \n"), []string{}, ""},
		{"none", false, runnel.Answer{Format: runnel.FormatNone}, []string{}, ""},
		{"text", false, text("null"), []string{"null"}, ""},
		{"bytes", false, runnel.Answer{Format: runnel.FormatBytes, Payload: []byte{0, 0xff}}, []string{"\x00\xff"}, ""},
		{"unknown", false, runnel.Answer{Format: 9}, []string{}, "unknown format"},
		{"split", true, jsonAnswer(" [ 1 , \"a,]\\\"\\\\\" ,{\"b\":[2,3]}, [4,[5]],null ,true]"), []string{"1", `"a,]\"\\"`, `{"b":[2,3]}`, "[4,[5]]", "true"}, ""},
		{"split empty", true, jsonAnswer("[ ]"), []string{}, ""},
		{"split one", true, jsonAnswer("[[]]"), []string{"[]"}, ""},
		{"split null", true, jsonAnswer("null"), []string{}, ""},
		{"split none", true, runnel.Answer{Format: runnel.FormatNone}, []string{}, ""},
		{"split object", true, jsonAnswer(`{"a":1}`), []string{}, "returned an object"},
		{"split string", true, jsonAnswer(`"a"`), []string{}, "returned a string"},
		{"split number", true, jsonAnswer(`-1`), []string{}, "returned a number"},
		{"split boolean", true, jsonAnswer(`true`), []string{}, "returned a boolean"},
		{"split text", true, text("[1]"), []string{}, "returned text"},
		{"split damaged", true, jsonAnswer(`[1,"`), []string{}, "not JSON"},
		{"split too many", true, jsonAnswer(`[1,2,3,4,5,6,7]`), []string{}, "a list of 7, at most 6"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &function{answer: says(test.answer)}
			m := runnel.Message{
				ID: "in", Body: []byte("1"), Key: "k", Trace: "t", DedupID: "d", Hops: 3, Sender: "s",
				Attributes: []runnel.Attribute{{Name: "n"}},
			}
			rs, err := handle(t, envelope.Config{Function: f, Split: test.split, MaxOutputs: 6}, nil, m)
			if err != nil {
				t.Fatal(err)
			}
			if test.err != "" {
				wantError(t, rs[0].Err, runnel.KindOutput, test.err)
			} else if rs[0].Err != nil {
				t.Error(rs[0].Err)
			}
			if diff := cmp.Diff(test.want, bodies(rs[0].Out)); diff != "" {
				t.Errorf("bodies (-want +got):\n%s", diff)
			}
			for _, o := range rs[0].Out {
				if diff := cmp.Diff(runnel.Message{Body: o.Body, Key: "k", Trace: "t"}, o); diff != "" {
					t.Errorf("output (-want +got):\n%s", diff)
				}
			}
		})
	}
	t.Run("errors of single messages", func(t *testing.T) {
		f := &function{answer: func(in *runnel.Invocation) ([]runnel.Answer, error) {
			return []runnel.Answer{{Err: retry}, jsonAnswer("2"), {Err: reject}}, nil
		}}
		m := runnel.Message{Body: []byte("1")}
		rs, err := handle(t, envelope.Config{Function: f, List: true}, nil, m, m, m)
		if err != nil || !f.got.List {
			t.Fatalf("list %t, %v", f.got.List, err)
		}
		if !errors.Is(rs[0].Err, retry) || !errors.Is(rs[2].Err, reject) || rs[1].Err != nil || string(rs[1].Out[0].Body) != "2" {
			t.Errorf("results %+v", rs)
		}
		if extended := append(rs[1].Out, runnel.Message{}); len(extended) != 2 || rs[0].Out != nil {
			t.Errorf("outputs share room: %+v", rs)
		}
	})
}

// TestCallFails: errors of the call pass as they are; a worker that answers
// too little or too much fails it.
func TestCallFails(t *testing.T) {
	crash := &runnel.FunctionError{Kind: runnel.KindCrash, Message: "exit 1"}
	m := runnel.Message{Body: []byte("1")}
	for _, payload := range []runnel.Payload{runnel.PayloadJSON, runnel.PayloadSQSEvent} {
		for _, want := range []error{crash, runnel.ErrInterrupted} {
			f := &function{answer: func(*runnel.Invocation) ([]runnel.Answer, error) { return nil, want }}
			//nolint:errorlint // it must be the very same
			if _, err := handle(t, envelope.Config{Payload: payload, Function: f}, nil, m, m); err != want {
				t.Errorf("%s: got %v, want %v", payload, err, want)
			}
		}
		for _, n := range []int{0, 3} {
			f := &function{answer: func(*runnel.Invocation) ([]runnel.Answer, error) { return make([]runnel.Answer, n), nil }}
			_, err := handle(t, envelope.Config{Payload: payload, Function: f}, nil, m, m)
			wantError(t, err, runnel.KindOutput, fmt.Sprint(n, " answers"))
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	cancel(why)
	if _, err := envelope.New(envelope.Config{Function: &function{}}).Acquire(ctx); !errors.Is(err, why) {
		t.Errorf("acquire: got %v, want the cause", err)
	}
}
