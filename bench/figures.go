package main

import (
	"encoding/json"
	"fmt"
	"slices"
)

// figures is the part of what runnel load prints that scenarios look at. The
// line itself goes to the results as it is.
type figures struct {
	Mode     string  `json:"mode"`
	Messages int64   `json:"messages"`
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"messages_per_second"`

	Send    *phase   `json:"send,omitempty"`
	Receive *phase   `json:"receive,omitempty"`
	Delete  *phase   `json:"delete,omitempty"`
	Cycle   *phase   `json:"cycle,omitempty"`
	Wake    *latency `json:"send_to_receive_ms,omitempty"`

	Series []interval   `json:"series,omitempty"`
	Flow   *flowFigures `json:"flow,omitempty"`

	CPU              float64 `json:"cpu_us_per_message"`
	ServerCPU        float64 `json:"server_cpu_us_per_message,omitempty"`
	WorkerCPU        float64 `json:"workers_cpu_us_per_call,omitempty"`
	ServerCores      float64 `json:"server_cores,omitempty"`
	Polls            int64   `json:"polls,omitempty"`
	Held             int64   `json:"held,omitempty"`
	WrittenBytes     float64 `json:"bytes_written_per_message,omitempty"`
	Allocs           float64 `json:"allocs_per_message,omitempty"`
	PeakRSS          int64   `json:"peak_rss_bytes,omitempty"`
	RSS              int64   `json:"rss_bytes,omitempty"`
	ServerRSS        int64   `json:"server_rss_bytes,omitempty"`
	Backlog          int64   `json:"backlog,omitempty"`
	OpenMS           float64 `json:"open_ms,omitempty"`
	ReadyMS          float64 `json:"ready_ms,omitempty"`
	PreloadSeconds   float64 `json:"preload_seconds,omitempty"`
	PreloadMessages  int64   `json:"preload_messages,omitempty"`
	DiskBytes        int64   `json:"disk_bytes,omitempty"`
	BatchesPerCommit float64 `json:"batches_per_commit,omitempty"`

	Durability string `json:"durability"`
	Commit     string `json:"commit,omitempty"`
	Machine    struct {
		CPU    string `json:"cpu"`
		Cores  int    `json:"cores"`
		Kernel string `json:"kernel"`
		Go     string `json:"go"`
	} `json:"machine"`
}

// flowFigures are those of a flow, with --flow.
type flowFigures struct {
	Result     *latency `json:"send_to_result_ms,omitempty"`
	Handler    *latency `json:"send_to_handler_ms,omitempty"`
	WorkerCPU  float64  `json:"worker_cpu_us_per_message,omitempty"`
	Retried    int64    `json:"retried"`
	Dead       int64    `json:"dead_lettered"`
	Duplicates int64    `json:"duplicates"`
	Lost       int64    `json:"lost"`
}

// interval is a part of a run, with --every.
type interval struct {
	Seconds   float64  `json:"seconds"` // to its end
	Sent      int64    `json:"sent"`
	Received  int64    `json:"received"`
	Send      *latency `json:"send_ms,omitempty"`
	DiskBytes int64    `json:"disk_bytes,omitempty"`
	RSS       int64    `json:"rss_bytes,omitempty"`
}

type phase struct {
	Messages int64   `json:"messages"`
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"per_second"`
	CPU      float64 `json:"cpu_us,omitempty"`
	// ServerCPU is the server's, over HTTP.
	ServerCPU float64  `json:"server_cpu_us,omitempty"`
	Latency   *latency `json:"latency_ms,omitempty"`
}

type latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// line is one run in the results.
type line struct {
	Label   string          `json:"label"`
	Run     int             `json:"run"` // from 1
	Command string          `json:"command"`
	Figures json.RawMessage `json:"figures"`
}

// series are the values of one figure, one for each run.
type series []float64

// of picks a figure out of each run.
func of(runs []figures, pick func(*figures) float64) series {
	out := make(series, len(runs))
	for i := range runs {
		out[i] = pick(&runs[i])
	}
	return out
}

// median returns the middle value, or the mean of the two in the middle.
func (s series) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

func (s series) max() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Max(s)
}

// over returns the ratio of each pair, s to t: what disturbed the machine
// disturbed both runs of a pair.
func (s series) over(t series) series {
	out := make(series, min(len(s), len(t)))
	for i := range out {
		if t[i] != 0 {
			out[i] = s[i] / t[i]
		}
	}
	return out
}

// list writes all values, in the order of the runs.
func (s series) list(format string) string {
	out := ""
	for i, v := range s {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf(format, v)
	}
	return out
}
