package spec_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/spec"
)

// options are those of a command, with an environment of the test's own.
func options(dir string) spec.Options {
	return spec.Options{
		Dir: dir, ReadFile: os.ReadFile, Stat: os.Stat,
		Env: func(name string) (string, bool) {
			value, ok := map[string]string{"BUCKET_TOKEN": "s3cret", "N": "7", "EMPTY": "", "KAFKA_PASSWORD": "p", "WAIT": "2d"}[name]
			return value, ok
		},
	}
}

func pointer[T any](v T) *T { return &v }

// TestExample reads the file at the top of docs/spec.md.
func TestExample(t *testing.T) {
	text, err := os.ReadFile("testdata/runnel.yaml")
	if err != nil {
		t.Fatal(err)
	}
	filters := 0
	opt := options("testdata")
	opt.CheckFilter = func(string) error { filters++; return nil }
	got, err := spec.Parse("runnel.yaml", text, opt)
	if err != nil {
		t.Fatal(err)
	}
	want := &spec.File{
		Name:    "runnel.yaml",
		Account: "demo",
		Server:  []spec.Entry{{Key: "addr", Value: "127.0.0.1:7070"}, {Key: "dir", Value: "./data"}},
		Functions: []runnel.Function{
			{
				Name: "demo/resize", Runtime: runnel.RuntimePython, Source: "./resize", Handler: "main.handler", Timeout: 30 * time.Second,
				Workers: runnel.Workers{Max: 4, Idle: 5 * time.Minute}, Memory: 512 << 20,
				Env: map[string]string{"LOG_LEVEL": "info", "BUCKET_TOKEN": "s3cret"},
			},
			{
				Name: "demo/router", Runtime: runnel.RuntimeNode, Source: "./router", StartTimeout: time.Minute, MaxOutput: 256 << 10,
				Env: map[string]string{"LOG_LEVEL": "debug", "BUCKET_TOKEN": "s3cret", "RULES": "v1 first rule wins"},
			},
		},
		Queues: []runnel.Queue{
			{Name: "images", VisibilityTimeout: pointer(30 * time.Second), DeadLetter: &runnel.QueueDeadLetter{Queue: "images-dead", MaxReceives: 10}},
			{Name: "images-dead", Retention: pointer(14 * 24 * time.Hour)},
			{Name: "thumbnails"},
			{Name: "orders", Delay: pointer(time.Duration(0)), ReceiveWait: pointer(20 * time.Second), MaxMessage: 64 << 10},
			{
				Name: "payments.fifo", ContentBasedDeduplication: true, DeduplicationScope: "messageGroup",
				DeadLetter: &runnel.QueueDeadLetter{Queue: "payments-dead.fifo"},
			},
			{
				Name:         "payments-dead.fifo",
				RedriveAllow: &runnel.RedriveAllow{Permission: "byQueue", SourceQueues: []string{"payments.fifo"}},
				Tags:         map[string]string{"team": "billing"},
			},
			{Name: "route-orders-dead"},
		},
		Flows: []runnel.Flow{
			{
				Name: "resize-images", From: "queue:images", Call: "demo/resize@live", To: []runnel.Ref{"queue:thumbnails"},
				Batch: runnel.Batch{Size: 10, Window: 20 * time.Millisecond}, Concurrency: 8, Filter: `body.kind == "image"`,
				Retry:      runnel.RetryPolicy{MaxAttempts: 5, Initial: time.Second, Max: 5 * time.Minute},
				DeadLetter: "queue:images-dead", WhenBusy: runnel.BusyWait,
			},
			{
				Name: "route-orders", From: "queue:orders", Call: "demo/router", To: []runnel.Ref{"queue:orders"}, Order: runnel.OrderKey,
				MaxSteps: 100, DeadLetter: "queue:route-orders-dead", WhenBusy: runnel.BusyRequeue, RequeueDelay: 90 * time.Second,
			},
		},
		QueueTemplates: []runnel.QueueTemplate{{Match: "celery*", Queue: runnel.Queue{VisibilityTimeout: pointer(time.Hour)}}},
		Implied:        []string{"route-orders-dead"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(spec.File{}, spec.Entry{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if filters != 1 {
		t.Errorf("%d filters were looked at, want 1", filters)
	}
	for path, want := range map[string]int{
		"functions.resize": 9, "functions.demo/resize.timeout": 13, "functions.resize.workers.max": 14, "functions.resize.workers.nothing": 14,
		"functions.router.env.BUCKET_TOKEN": 18, "functions.router.env.LOG_LEVEL": 26, "queues.route-orders-dead": 29, "queues.payments.fifo.dead_letter.queue": 39, "flows.route-orders.to[0]": 64, "queue_templates[0].visibility_timeout": 46,
		"nothing": 0,
	} {
		if line := got.Line(path); line != want {
			t.Errorf("%s: got line %d, want %d", path, line, want)
		}
	}
	guide, err := os.ReadFile("../../docs/spec.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(guide), "```yaml\n"+string(text)+"```\n") {
		t.Error("the example of docs/spec.md is not testdata/runnel.yaml")
	}
}

// TestSections reads the same things in the many ways that YAML has.
func TestSections(t *testing.T) {
	for _, test := range []struct {
		name, text string
		opt        spec.Options
		want       spec.File // Account "" means default
	}{
		{"empty", "", spec.Options{}, spec.File{}},
		{"comment only", "# nothing\n", spec.Options{}, spec.File{}},
		{"empty sections", "server:\nfunctions: {}\nqueues: ~\nflows:\naccount:\n", spec.Options{}, spec.File{}},
		{"one document, marked", "---\naccount: a\n...\n", spec.Options{}, spec.File{Account: "a"}},
		{"server", "server:\n  # where\n  addr: :7070\n  insecure: true\n  drain_timeout: 5s\n  dir: \"a b\"\n  n: 0x10", spec.Options{}, spec.File{Server: []spec.Entry{
			{Key: "addr", Value: ":7070"}, {Key: "insecure", Value: "true"}, {Key: "drain_timeout", Value: "5s"}, {Key: "dir", Value: "a b"}, {Key: "n", Value: "0x10"},
		}}},
		{"byte order mark", "\ufeffqueues: {a: {}}", spec.Options{}, spec.File{Queues: []runnel.Queue{{Name: "a"}}}},
		{"aliases", "queues:\n  a: &q {retention: 1d12h}\n  b: *q\n", spec.Options{}, spec.File{Queues: []runnel.Queue{
			{Name: "a", Retention: pointer(36 * time.Hour)}, {Name: "b", Retention: pointer(36 * time.Hour)},
		}}},
		{
			"merge keys: own ones first, then the first of several",
			"x-defaults:\n  - &a {delay: 1s, receive_wait: 1s}\n  - &b {delay: 2s, retention: 2m}\nqueues:\n  q:\n    <<: [*a, *b]\n    receive_wait: 3s\n",
			spec.Options{},
			spec.File{Queues: []runnel.Queue{{Name: "q", ReceiveWait: pointer(3 * time.Second), Delay: pointer(time.Second), Retention: pointer(2 * time.Minute)}}},
		},
		{"null takes a merged value away", "queues:\n  a: &a {max_message: 1MiB}\n  b:\n    <<: *a\n    max_message:\n", spec.Options{}, spec.File{Queues: []runnel.Queue{{Name: "a", MaxMessage: 1 << 20}, {Name: "b"}}}},
		{"numbers as names, tags", "queues: {5: {max_message: !!int 2048}, !!str 6: {max_message: 2kB}}", spec.Options{}, spec.File{Queues: []runnel.Queue{
			{Name: "5", MaxMessage: 2048}, {Name: "6", MaxMessage: 2000},
		}}},
		{
			"colons in inline lists", "flows: {f: {from: queue:a, call: f, to: [queue:a, 'queue:b', queue:5]}}\nqueues: {a: , b: , 5: }\nfunctions: {f: {runtime: node, source: s}}\n",
			spec.Options{},
			spec.File{
				Functions: []runnel.Function{{Name: "default/f", Runtime: runnel.RuntimeNode, Source: "s"}},
				Queues:    []runnel.Queue{{Name: "a"}, {Name: "b"}, {Name: "5"}, {Name: "f-dead"}},
				Implied:   []string{"f-dead"},
				Flows:     []runnel.Flow{{Name: "f", From: "queue:a", Call: "default/f", To: []runnel.Ref{"queue:a", "queue:b", "queue:5"}, DeadLetter: "queue:f-dead"}},
			},
		},
		{
			"references in values", "queues:\n  q:\n    retention: ${env:WAIT}\nfunctions:\n  f:\n    runtime: exec\n    source: .\n    handler: run $${env:N} ${env:N}${env:EMPTY}${env:N} $$ $\n    timeout: ${env:N}s\n    workers: {max: \"${env:N}\"}\n    env: {A: 1.10, B: true, C: '', D: \"\\u00e9\"}\n",
			options("."),
			spec.File{
				Queues: []runnel.Queue{{Name: "q", Retention: pointer(48 * time.Hour)}},
				Functions: []runnel.Function{{
					Name: "default/f", Runtime: runnel.RuntimeExec, Source: ".", Handler: "run ${env:N} 77 $$ $", Timeout: 7 * time.Second, Workers: runnel.Workers{Max: 7},
					Env: map[string]string{"A": "1.10", "B": "true", "C": "", "D": "é"},
				}},
			},
		},
		{
			"what exists outside", "flows: {f: {from: queue:in, call: go/greet, to: [queue:out]}, g: {from: queue:out, call: greet}}",
			spec.Options{
				Functions:   func(name string) bool { return name == "go/greet" || name == "default/greet" },
				Queues:      func(name string) bool { return name == "in" || name == "out" },
				DeadLetters: func(queue string) string { return map[string]string{"in": "out"}[queue] },
			},
			spec.File{
				Queues: []runnel.Queue{{Name: "g-dead"}}, Implied: []string{"g-dead"},
				Flows: []runnel.Flow{
					{Name: "f", From: "queue:in", Call: "go/greet", To: []runnel.Ref{"queue:out"}, DeadLetter: "queue:out"},
					{Name: "g", From: "queue:out", Call: "default/greet", DeadLetter: "queue:g-dead"},
				},
			},
		},
		{
			"dead letters: of the source, implied, and read by another flow",
			"account: me\nqueues: {a: {dead_letter: {queue: d}}, b: , d: , c-dead: }\nflows:\n  z: {from: queue:y-dead, call: f}\n  x: {from: queue:a, call: f}\n  y: {from: queue:b, call: f@1.2.*}\n  c: {from: queue:b, call: you/f}\nfunctions: {f: {runtime: node, source: s}, you/f: {runtime: node, source: s}}\n",
			spec.Options{},
			spec.File{
				Account:   "me",
				Functions: []runnel.Function{{Name: "me/f", Runtime: runnel.RuntimeNode, Source: "s"}, {Name: "you/f", Runtime: runnel.RuntimeNode, Source: "s"}},
				Queues:    []runnel.Queue{{Name: "a", DeadLetter: &runnel.QueueDeadLetter{Queue: "d"}}, {Name: "b"}, {Name: "d"}, {Name: "c-dead"}, {Name: "z-dead"}, {Name: "y-dead"}},
				Implied:   []string{"z-dead", "y-dead"},
				Flows: []runnel.Flow{
					{Name: "z", From: "queue:y-dead", Call: "me/f", DeadLetter: "queue:z-dead"},
					{Name: "x", From: "queue:a", Call: "me/f", DeadLetter: "queue:d"},
					{Name: "y", From: "queue:b", Call: "me/f@1.2.*", DeadLetter: "queue:y-dead"},
					{Name: "c", From: "queue:b", Call: "you/f", DeadLetter: "queue:c-dead"},
				},
			},
		},
	} {
		got, err := spec.Parse("runnel.yaml", []byte(test.text), test.opt)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		test.want.Name = "runnel.yaml"
		if test.want.Account == "" {
			test.want.Account = spec.DefaultAccount
		}
		if diff := cmp.Diff(&test.want, got, cmpopts.IgnoreUnexported(spec.File{}, spec.Entry{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestDesignExample reads that of the design, but for its broker.
func TestDesignExample(t *testing.T) {
	const text = `functions:
  demo/resize: {runtime: python, source: ./resize, handler: main.handler, timeout: 30s, workers: {min: 0, max: 4}}
queues:
  images: {visibility_timeout: 30s, dead_letter: {queue: images-dead, max_receives: 10}}
  images-dead: {}
  thumbnails: {}
flows:
  resize-images:
    from: queue:images            # kafka:main/topic?group=g, sqs:QUEUE-URL, redis:name/stream, servicebus:name/queue, ...
    call: demo/resize@live
    to: [queue:thumbnails]        # the returned value; optional
    batch: {size: 10, window: 20ms}
    concurrency: 8
    filter: body.kind == "image"  # expr
    retry: {max_attempts: 5, initial: 1s, max: 5m}
    dead_letter: queue:images-dead
    when_busy: wait               # or requeue, with requeue_delay: 5m
`
	f, err := spec.Parse("runnel.yaml", []byte(text), options("testdata"))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Functions) != 1 || len(f.Queues) != 3 || len(f.Flows) != 1 || f.Flows[0].Call != "demo/resize@live" || len(f.Implied) != 0 {
		t.Errorf("got %+v", f)
	}
}

// TestFault places what others find.
func TestFault(t *testing.T) {
	f, err := spec.Parse("a.yaml", []byte("functions:\n  f:\n    runtime: node\n    source: s\n    timeout: 1s\n"), spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = f.Fault("functions.default/f", errors.Join(
		&runnel.FieldError{Path: "workers.max", Err: errors.New("few")},
		&runnel.FieldError{Path: "timeout", Err: runnel.Errorf(runnel.CodeLimit, "short")},
		errors.New("odd"),
	))
	var got []spec.Fault
	for _, fault := range spec.Faults(err) {
		got = append(got, spec.Fault{File: fault.File, Line: fault.Line, Path: fault.Path})
	}
	want := []spec.Fault{{File: "a.yaml", Line: 2, Path: "functions.f.workers.max"}, {File: "a.yaml", Line: 2, Path: "functions.f"}, {File: "a.yaml", Line: 5, Path: "functions.f.timeout"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var field *runnel.FieldError
	if !errors.As(err, &field) || field.Path != "functions.f.workers.max" {
		t.Errorf("field: got %v", field)
	}
	if code := runnel.CodeOf(spec.Faults(err)[2]); code != runnel.CodeInvalid {
		t.Errorf("code: got %s", code)
	}
	if err := f.Fault("flows", nil); err != nil {
		t.Errorf("no error: got %v", err)
	}
}

func TestClosest(t *testing.T) {
	names := []string{"addr", "dir", "insecure", "public-url", "tls-cert", "tls-key"}
	for typed, want := range map[string]string{
		"adr": "addr", "adress": "addr", "address": "addr", "Addr": "addr", "aadr": "addr",
		"directory": "dir", "idr": "dir", "tls": "tls-cert", "tls-certificate": "tls-cert", "publicurl": "public-url",
		"x": "", "verbose": "", "port": "", "": "", strings.Repeat("addr", 100): "",
	} {
		if got := spec.Closest(typed, names); got != want {
			t.Errorf("%q: got %q, want %q", typed, got, want)
		}
	}
}

// TestQueues: FIFO queues, and references to what a template makes.
func TestQueues(t *testing.T) {
	got, err := spec.Parse("f", []byte(`
functions: {f: {runtime: exec, source: s, handler: run}}
queues:
  in.fifo: {content_based_deduplication: true, deduplication_scope: messageGroup, fifo_throughput_limit: perMessageGroupId, tags: {team: a}}
  dead: {redrive_allow: {permission: byQueue, source_queues: [celery-a]}}
queue_templates:
  - {match: "celery*", visibility_timeout: 1m, dead_letter: {queue: dead}}
  - {match: "*.fifo"}
flows:
  x: {from: queue:in.fifo, call: f, to: [queue:celery-out, queue:celery.fifo]}
`), spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantQueues := []runnel.Queue{
		{
			Name: "in.fifo", ContentBasedDeduplication: true, DeduplicationScope: "messageGroup", FIFOThroughputLimit: "perMessageGroupId",
			Tags: map[string]string{"team": "a"},
		},
		{Name: "dead", RedriveAllow: &runnel.RedriveAllow{Permission: "byQueue", SourceQueues: []string{"celery-a"}}},
		{Name: "x-dead.fifo"},
	}
	if diff := cmp.Diff(wantQueues, got.Queues); diff != "" {
		t.Errorf("queues (-want +got):\n%s", diff)
	}
	wantTemplates := []runnel.QueueTemplate{
		{Match: "celery*", Queue: runnel.Queue{VisibilityTimeout: pointer(time.Minute), DeadLetter: &runnel.QueueDeadLetter{Queue: "dead"}}},
		{Match: "*.fifo"},
	}
	if diff := cmp.Diff(wantTemplates, got.QueueTemplates); diff != "" {
		t.Errorf("templates (-want +got):\n%s", diff)
	}
	if dead := got.Flows[0].DeadLetter; dead != "queue:x-dead.fifo" {
		t.Errorf("dead letters go to %s", dead)
	}
	// The dead-letter queue of the first is none for a FIFO queue.
	if _, ok := got.QueueTemplates[0].For("celery.fifo"); ok {
		t.Error("celery.fifo is made from a template with a standard dead-letter queue")
	}
	if _, ok := got.QueueTemplates[0].For("celery"); !ok {
		t.Error("celery does not match")
	}
	if _, ok := got.QueueTemplates[1].For("a.b.fifo"); ok {
		t.Error("a name that no queue can have matches")
	}
}

// TestGuide reads every file that docs/spec.md shows.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/spec.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(guide), "```yaml\n")[1:]
	if len(blocks) < 2 {
		t.Errorf("docs/spec.md shows %d files", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```\n")
		if _, err := spec.Parse("docs/spec.md", []byte(text), options("testdata")); err != nil {
			t.Errorf("%v in:\n%s", err, text)
		}
	}
}
