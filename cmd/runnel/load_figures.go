package main

import (
	"runtime"
	"runtime/metrics"
	"syscall"
	"time"
)

// figures is what runnel load prints: one line of JSON. What could not be
// measured is left out.
type figures struct {
	// What was asked for.
	Mode         string  `json:"mode"`
	InProcess    bool    `json:"in_process"`
	Leases       bool    `json:"leases,omitempty"`
	URL          string  `json:"url,omitempty"`
	SizeBytes    int     `json:"size_bytes"`
	Batch        int     `json:"batch"`
	ReceiveBatch int     `json:"receive_batch"`
	Producers    int     `json:"producers"`
	Consumers    int     `json:"consumers"`
	RateAsked    float64 `json:"rate_asked,omitempty"`

	// What happened. Messages is how many went through the whole of the mode.
	Messages int64   `json:"messages"`
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"messages_per_second"`

	Send    *phase `json:"send,omitempty"`
	Receive *phase `json:"receive,omitempty"`
	Delete  *phase `json:"delete,omitempty"`
	Cycle   *phase `json:"cycle,omitempty"`
	// Wake is from when a send was due to when its message was received.
	Wake *latency `json:"send_to_receive_ms,omitempty"`

	// Series is there with --every only.
	Series []interval `json:"series,omitempty"`

	// Flow is there with --flow only.
	Flow *flowFigures `json:"flow,omitempty"`

	// What it cost. CPU is this process's: the client's over HTTP, the
	// engine's and the load generator's in process.
	CPU              float64  `json:"cpu_us_per_message"`
	ServerCPU        *float64 `json:"server_cpu_us_per_message,omitempty"`
	ServerCores      *float64 `json:"server_cores,omitempty"` // busy, on average
	WrittenBytes     *float64 `json:"bytes_written_per_message,omitempty"`
	Allocs           *float64 `json:"allocs_per_message,omitempty"`
	AllocBytes       *float64 `json:"alloc_bytes_per_message,omitempty"`
	RSS              int64    `json:"rss_bytes,omitempty"`
	PeakRSS          int64    `json:"peak_rss_bytes,omitempty"`
	ServerRSS        int64    `json:"server_rss_bytes,omitempty"`
	Backlog          int64    `json:"backlog"`         // visible messages when the run began
	Held             int64    `json:"held,omitempty"`  // of --hold, in flight when it began
	Polls            int64    `json:"polls,omitempty"` // answers without a message, in mode poll
	OpenMS           *float64 `json:"open_ms,omitempty"`
	ReadyMS          *float64 `json:"ready_ms,omitempty"` // opened, and a first message received
	SettledSeconds   *float64 `json:"settled_seconds,omitempty"`
	PreloadSeconds   float64  `json:"preload_seconds,omitempty"`
	PreloadMessages  int64    `json:"preload_messages,omitempty"`
	DiskBytes        int64    `json:"disk_bytes,omitempty"`
	BatchesPerCommit *float64 `json:"batches_per_commit,omitempty"`

	Durability string    `json:"durability"`
	Commit     string    `json:"commit"`
	Machine    machine   `json:"machine"`
	Time       time.Time `json:"time"`
}

// phase is one kind of call.
type phase struct {
	Messages int64   `json:"messages"`
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"per_second"`
	// CPU per message, where the phase had the process to itself.
	CPU *float64 `json:"cpu_us,omitempty"`
	// ServerCPU is the server's.
	ServerCPU *float64 `json:"server_cpu_us,omitempty"`
	Latency   *latency `json:"latency_ms,omitempty"` // of a call
}

func newPhase(messages int64, took time.Duration, h *histogram) *phase {
	if messages == 0 {
		return nil
	}
	p := &phase{Messages: messages, Seconds: rounded(took.Seconds()), Latency: h.latency()}
	if took > 0 {
		p.Rate = rounded(float64(messages) / took.Seconds())
	}
	return p
}

// per is a total per message in the unit of the figures, or nil if it is not
// known or there were none.
func per(total float64, messages int64) *float64 {
	if messages == 0 || total < 0 {
		return nil
	}
	v := rounded(total / float64(messages))
	return &v
}

type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

func thisMachine() machine {
	return machine{CPU: cpuModel(), Cores: runtime.NumCPU(), Kernel: kernel(), Go: runtime.Version()}
}

// usage is what a process has used up so far.
type usage struct {
	at                 time.Time
	cpu                time.Duration
	written            int64 // bytes; -1: unknown
	allocs, allocBytes uint64
}

func usageNow() usage {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return usage{
		at: time.Now(), cpu: cpuNow(), written: writtenBytes(),
		allocs: samples[0].Value.Uint64(), allocBytes: samples[1].Value.Uint64(),
	}
}

// cpuNow is the processor time of this process, user and system.
func cpuNow() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
