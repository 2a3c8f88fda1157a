package server_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func TestMetrics(t *testing.T) {
	r := start(t, config(t))
	url := r.createQueue(t, "images")
	r.send(t, url, "a", "b", "c")
	r.sqs(t, "SendMessage", map[string]any{"QueueUrl": url, "MessageBody": "later", "DelaySeconds": 900}, nil)
	var out struct{ Messages []message }
	r.sqs(t, "ReceiveMessage", map[string]any{"QueueUrl": url, "MaxNumberOfMessages": 2}, &out)
	r.sqs(t, "DeleteMessage", map[string]any{"QueueUrl": url, "ReceiptHandle": out.Messages[0].ReceiptHandle}, nil)

	status, text := r.call(t, "GET", "/metrics", nil, "")
	if status != 200 {
		t.Fatalf("got %d %s", status, text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for name, family := range families {
		for _, m := range family.Metric {
			key := name
			for _, l := range m.Label {
				if strings.HasPrefix(name, "runnel_queue_") {
					key += " " + l.GetValue()
				}
			}
			got[key] = value(family.GetType(), m)
		}
	}
	for key, want := range map[string]float64{
		"runnel_queue_messages default images visible":   1,
		"runnel_queue_messages default images in_flight": 1,
		"runnel_queue_messages default images delayed":   1,
		"runnel_queue_sent_total default images":         4,
		"runnel_queue_received_total default images":     2,
		"runnel_queue_deleted_total default images":      1,
		"runnel_queue_receivers default images":          0,
		"runnel_build_info":                              1,
		"runnel_store_no_room":                           0,
	} {
		if v, ok := got[key]; !ok || v != want {
			t.Errorf("%s: got %v (%v), want %v", key, v, ok, want)
		}
	}
	for _, key := range []string{"runnel_store_commits_total", "runnel_store_batches_total", "runnel_store_free_bytes", "process_start_time_seconds", "go_goroutines"} {
		if got[key] <= 0 {
			t.Errorf("%s: got %v", key, got[key])
		}
	}

	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "runnel_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func value(kind dto.MetricType, m *dto.Metric) float64 {
	switch kind {
	case dto.MetricType_COUNTER:
		return m.GetCounter().GetValue()
	case dto.MetricType_GAUGE:
		return m.GetGauge().GetValue()
	default:
		return 0
	}
}

// TestMetricsOfTwoServers would fail with a registry that they share.
func TestMetricsOfTwoServers(t *testing.T) {
	one, two := start(t, config(t)), start(t, config(t))
	one.createQueue(t, "images")
	for _, r := range []*running{one, two} {
		_, text := r.call(t, "GET", "/metrics", nil, "")
		if got := strings.Contains(text, `queue="images"`); !cmp.Equal(got, r == one) {
			t.Errorf("the queue is in the metrics: %v, want %v", got, r == one)
		}
	}
}

// TestMetricsOfFlows: each has its name and unit as Prometheus wants it, and
// its labels are bounded by what is declared.
func TestMetricsOfFlows(t *testing.T) {
	t.Parallel()
	needPython(t)
	r := start(t, config(t))
	status, out := r.apply(t, "app.yaml", "functions: {echo: {runtime: python, source: .}}\nqueues: {in: {}, out: {}}\n"+
		"flows: {echo: {from: queue:in, call: echo, to: [queue:out]}}\n", map[string]string{"default/echo": echo}, false)
	if status != 200 {
		t.Fatalf("apply: %d %+v", status, out.Error)
	}
	a := &app{running: r, t: t}
	a.sendTo("in", messages("1")...)
	a.take("out", 1)
	a.until("it is counted", func() bool { return a.stats("echo").Published == 1 })
	_, text := r.call(t, "GET", "/metrics", nil, "")
	contains(t, text, `runnel_flow_published_total{account="default",flow="echo"} 1`,
		`runnel_flow_stage_seconds_bucket{account="default",flow="echo",stage="run",le="+Inf"} 1`,
		`runnel_function_calls_total{function="default/echo"} 1`, `runnel_function_failing{function="default/echo"} 0`,
		`runnel_function_wait_seconds_count{function="default/echo"} 1`, `runnel_function_start_seconds_count{function="default/echo"} 1`,
		`runnel_function_run_seconds_bucket{function="default/echo",le="+Inf"} 1`, `runnel_function_interrupted_total{function="default/echo"} 0`,
		`runnel_function_waiting{function="default/echo"} 0`, `runnel_function_peak_memory_bytes{function="default/echo"} `)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "runnel_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
