package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/internal/function"
)

func flowMetric(kind prometheus.ValueType, name, help string, value func(dispatch.Stats) float64) metric[dispatch.Stats] {
	return metric[dispatch.Stats]{prometheus.NewDesc("runnel_flow_"+name, help, []string{"account", "flow"}, nil), kind, value}
}

func functionMetric(kind prometheus.ValueType, name, help string, value func(function.PoolStats) float64) metric[function.PoolStats] {
	return metric[function.PoolStats]{prometheus.NewDesc("runnel_function_"+name, help, []string{"function"}, nil), kind, value}
}

func functionHistogram(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("runnel_function_"+name, help, []string{"function"}, nil)
}

var (
	flowMetrics = []metric[dispatch.Stats]{
		flowMetric(counter, "received_total", "Deliveries from the source.", func(s dispatch.Stats) float64 { return float64(s.Received) }),
		flowMetric(counter, "calls_total", "Calls of the function; one may hold several messages.", func(s dispatch.Stats) float64 { return float64(s.Calls) }),
		flowMetric(counter, "handled_total", "Messages that the function answered.", func(s dispatch.Stats) float64 { return float64(s.Handled) }),
		flowMetric(counter, "failed_total", "Attempts that failed.", func(s dispatch.Stats) float64 { return float64(s.Failed) }),
		flowMetric(counter, "published_total", "Messages that went to sinks.", func(s dispatch.Stats) float64 { return float64(s.Published) }),
		flowMetric(counter, "filtered_total", "Messages that the filter settled without a call.", func(s dispatch.Stats) float64 { return float64(s.Filtered) }),
		flowMetric(counter, "retried_total", "Messages that were given back after a failed attempt.", func(s dispatch.Stats) float64 { return float64(s.Retried) }),
		flowMetric(counter, "released_total", "Messages that were given back without an attempt.", func(s dispatch.Stats) float64 { return float64(s.Released) }),
		flowMetric(counter, "dead_lettered_total", "Messages that were given up.", func(s dispatch.Stats) float64 { return float64(s.DeadLettered) }),
		flowMetric(counter, "leases_lost_total", "Messages whose lease ended before they were settled.", func(s dispatch.Stats) float64 { return float64(s.LeaseLost) }),
		flowMetric(counter, "busy_total", "Calls that found no worker in time.", func(s dispatch.Stats) float64 { return float64(s.Busy) }),
		flowMetric(gauge, "calling", "Calls under way.", func(s dispatch.Stats) float64 { return float64(s.Calling) }),
		flowMetric(gauge, "waiting", "Calls under way that wait for a worker.", func(s dispatch.Stats) float64 { return float64(s.Waiting) }),
		flowMetric(gauge, "parked", "Messages that wait inside for a call.", func(s dispatch.Stats) float64 { return float64(s.Parked) }),
		flowMetric(gauge, "settling", "Messages whose results are being stored.", func(s dispatch.Stats) float64 { return float64(s.Settling) }),
	}

	// flowStage is how long messages are at each stage of their way.
	flowStage = prometheus.NewDesc("runnel_flow_stage_seconds",
		"How long it takes: wait, from the receive of a message to its call; run, a call; publish, from the answer until all of it is durable.",
		[]string{"account", "flow", "stage"}, nil)

	functionMetrics = []metric[function.PoolStats]{
		functionMetric(gauge, "workers_idle", "Worker processes that wait for a call.", func(s function.PoolStats) float64 { return float64(s.Idle) }),
		functionMetric(gauge, "workers_busy", "Worker processes in a call.", func(s function.PoolStats) float64 { return float64(s.Busy) }),
		functionMetric(gauge, "workers_starting", "Worker processes that load the code.", func(s function.PoolStats) float64 { return float64(s.Starting) }),
		functionMetric(counter, "calls_total", "Calls that ended.", func(s function.PoolStats) float64 { return float64(s.Calls) }),
		functionMetric(counter, "errors_total", "Calls with any failure.", func(s function.PoolStats) float64 { return float64(s.Errors) }),
		functionMetric(counter, "timeouts_total", "Calls that were not answered in time.", func(s function.PoolStats) float64 { return float64(s.Timeouts) }),
		functionMetric(counter, "crashes_total", "Worker processes that died by themselves.", func(s function.PoolStats) float64 { return float64(s.Crashes) }),
		functionMetric(counter, "out_of_memory_total", "Calls that wanted more memory than they may have.", func(s function.PoolStats) float64 { return float64(s.OutOfMemory) }),
		functionMetric(gauge, "waiting", "Calls that wait for a place on a worker.", func(s function.PoolStats) float64 { return float64(s.Waiting) }),
		functionMetric(gauge, "peak_memory_bytes", "The most that one worker process ever occupied.", func(s function.PoolStats) float64 { return float64(s.PeakMemory) }),
		functionMetric(counter, "interrupted_total", "Calls that ended since their worker was drained, recycled, or killed for another call; they are not among runnel_function_calls_total.", func(s function.PoolStats) float64 { return float64(s.Interrupted) }),
		functionMetric(counter, "starts_total", "Worker processes that were started.", func(s function.PoolStats) float64 { return float64(s.Starts) }),
	}

	functionWait  = functionHistogram("wait_seconds", "How long calls waited for a place on a worker.")
	functionStart = functionHistogram("start_seconds", "How long worker processes took to load the code.")
	functionRun   = functionHistogram("run_seconds", "How long calls took on a worker.")

	functionFailing = prometheus.NewDesc("runnel_function_failing", "1 while the workers of the function do not start, else 0.", []string{"function"}, nil)
)

// sender sends one number.
type sender func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string)

func describeFlows(ch chan<- *prometheus.Desc) {
	for _, m := range flowMetrics {
		ch <- m.desc
	}
	ch <- flowStage
	for _, m := range functionMetrics {
		ch <- m.desc
	}
	for _, desc := range []*prometheus.Desc{functionWait, functionStart, functionRun, functionFailing} {
		ch <- desc
	}
}

func (c collector) collectFlows(ch chan<- prometheus.Metric, send sender) {
	for _, f := range c.server.flows.all("") {
		d, _, _ := f.now()
		if d == nil {
			continue
		}
		rec, s := f.record(), d.Stats()
		account, name := rec.Account, rec.Flow.Name
		for _, m := range flowMetrics {
			send(m.desc, m.kind, m.value(s), account, name)
		}
		for stage, h := range map[string]runnel.Histogram{"wait": s.Wait, "run": s.Run, "publish": s.Publish} {
			ch <- constHistogram(flowStage, h, account, name, stage)
		}
	}
	for _, info := range c.server.functions.set.List() {
		for _, m := range functionMetrics {
			send(m.desc, m.kind, m.value(info.Stats), info.Name)
		}
		ch <- constHistogram(functionWait, info.Stats.Wait, info.Name)
		ch <- constHistogram(functionStart, info.Stats.Start, info.Name)
		ch <- constHistogram(functionRun, info.Stats.Run, info.Name)
		failing := 0.0
		if info.State == function.StateFailing {
			failing = 1
		}
		send(functionFailing, gauge, failing, info.Name)
	}
}

// constHistogram renders a histogram; its buckets count what is in those below
// them too.
func constHistogram(desc *prometheus.Desc, h runnel.Histogram, labels ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(runnel.Bounds))
	var count uint64
	for i, n := range h.Counts {
		count += n
		if i < len(runnel.Bounds) {
			buckets[runnel.Bounds[i].Seconds()] = count
		}
	}
	return prometheus.MustNewConstHistogram(desc, count, h.Sum.Seconds(), buckets, labels...)
}
