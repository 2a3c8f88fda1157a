package admin

import (
	"maps"
	"slices"
	"time"

	"github.com/runnel-io/runnel"
)

// FlowDefinition is a runnel.Flow in JSON.
type FlowDefinition struct {
	Name                    string      `json:"name" required:"false" doc:"1 to 64 letters, digits, hyphens and underscores. In a PUT it may be left out, as the path says it."`
	From                    string      `json:"from" doc:"The source, as in queue:images."`
	Call                    string      `json:"call" doc:"The function and, after an @, the version; the live one where nothing is said."`
	To                      []string    `json:"to,omitempty" doc:"The sinks of what the function returns. None: results are dropped."`
	Split                   bool        `json:"split,omitempty" doc:"Publish each element of a returned list as a message of its own."`
	Concurrency             int         `json:"concurrency,omitempty" doc:"The most calls in flight, 1 to 1000. Default 8."`
	Parked                  int         `json:"parked,omitempty" doc:"The most messages that wait inside for a call. Default: 4 x concurrency x batch size."`
	Batch                   FlowBatch   `json:"batch,omitzero"`
	Order                   string      `json:"order,omitempty" doc:"Which messages never overtake each other: none, key or lane. Default: as the source does." `
	Payload                 string      `json:"payload,omitempty" doc:"How the function sees a message: json, text, bytes, sqs-event, sqs-message or algorithmia. Default json."`
	ReportBatchItemFailures bool        `json:"report_batch_item_failures,omitempty" doc:"Read batchItemFailures in the answer to an event."`
	Filter                  string      `json:"filter,omitempty" doc:"An expression; a message for which it is false is settled without a call."`
	Retry                   FlowRetries `json:"retry,omitzero"`
	DeadLetter              string      `json:"dead_letter,omitempty" doc:"Where a message goes that was given up, as in queue:images-dead."`
	WhenBusy                string      `json:"when_busy,omitempty" doc:"What becomes of a message for which there is no worker: wait or requeue. Default wait."`
	RequeueDelay            Duration    `json:"requeue_delay,omitempty" doc:"When it is tried again with requeue. Default 5m, at most 12h."`
	Timeout                 Duration    `json:"timeout,omitempty" doc:"How long a call of the flow may take, to 12h; that of the function bounds it. Default: that of the function."`
	Ack                     string      `json:"ack,omitempty" doc:"When a message is settled: done, when the function has ended and what it returned is confirmed, or accepted, when it is durable in a queue of the flow's own. Default done."`
	MaxSteps                int         `json:"max_steps,omitempty" doc:"How often a record may go round where the flow returns to its own queue. Default 1000."`
}

// FlowBatch is a runnel.Batch in JSON.
type FlowBatch struct {
	Size   int      `json:"size,omitempty" doc:"The most messages in one call, 1 to 1000. Default 1."`
	Window Duration `json:"window,omitempty" doc:"How long to wait for more once there is one, at most 5m. Default 0s."`
	As     string   `json:"as,omitempty" doc:"each calls the function once per message, list once with all. Default each."`
}

// FlowRetries is a runnel.RetryPolicy in JSON.
type FlowRetries struct {
	MaxAttempts int      `json:"max_attempts,omitempty" doc:"How many failures a message may have, 1 to 1000. Default 5."`
	Initial     Duration `json:"initial,omitempty" doc:"The wait after the first failure; it doubles with each further one. Default 1s."`
	Max         Duration `json:"max,omitempty" doc:"The longest wait. Default 5m, at most 12h."`
}

// NewFlowDefinition returns f for JSON.
func NewFlowDefinition(f runnel.Flow) FlowDefinition {
	return FlowDefinition{
		Name: f.Name, From: string(f.From), Call: f.Call, To: words[string](f.To), Split: f.Split,
		Concurrency: f.Concurrency, Parked: f.Parked,
		Batch: FlowBatch{Size: f.Batch.Size, Window: Duration(f.Batch.Window), As: f.Batch.As},
		Order: string(f.Order), Payload: string(f.Payload), ReportBatchItemFailures: f.ReportBatchItemFailures, Filter: f.Filter,
		Retry:      FlowRetries{MaxAttempts: f.Retry.MaxAttempts, Initial: Duration(f.Retry.Initial), Max: Duration(f.Retry.Max)},
		DeadLetter: string(f.DeadLetter), WhenBusy: string(f.WhenBusy), RequeueDelay: Duration(f.RequeueDelay),
		Timeout: Duration(f.Timeout), Ack: string(f.Ack), MaxSteps: f.MaxSteps,
	}
}

// Flow returns the flow that d describes. It is not validated.
func (d FlowDefinition) Flow() runnel.Flow {
	return runnel.Flow{
		Name: d.Name, From: runnel.Ref(d.From), Call: d.Call, To: words[runnel.Ref](d.To), Split: d.Split,
		Concurrency: d.Concurrency, Parked: d.Parked,
		Batch: runnel.Batch{Size: d.Batch.Size, Window: time.Duration(d.Batch.Window), As: d.Batch.As},
		Order: runnel.Order(d.Order), Payload: runnel.Payload(d.Payload), ReportBatchItemFailures: d.ReportBatchItemFailures, Filter: d.Filter,
		Retry:      runnel.RetryPolicy{MaxAttempts: d.Retry.MaxAttempts, Initial: time.Duration(d.Retry.Initial), Max: time.Duration(d.Retry.Max)},
		DeadLetter: runnel.Ref(d.DeadLetter), WhenBusy: runnel.WhenBusy(d.WhenBusy), RequeueDelay: time.Duration(d.RequeueDelay),
		Timeout: time.Duration(d.Timeout), Ack: runnel.AckMode(d.Ack), MaxSteps: d.MaxSteps,
	}
}

// words converts a list of one string type to another; nil stays nil.
func words[To, From ~string](in []From) []To {
	if in == nil {
		return nil
	}
	out := make([]To, len(in))
	for i, w := range in {
		out[i] = To(w)
	}
	return out
}

// FunctionDefinition is a runnel.Function in JSON.
type FunctionDefinition struct {
	Name         string            `json:"name" required:"false" doc:"OWNER/NAME. In a PUT it may be left out, as the path says it."`
	Runtime      string            `json:"runtime" doc:"What runs the code: python, node, go, wasm, exec or http."`
	Source       string            `json:"source,omitempty" doc:"The directory or file the code came from. It is for people: the code itself is the archive."`
	Inline       string            `json:"inline,omitempty" doc:"The text of the only file, in place of an archive, to 256 KiB."`
	URL          string            `json:"url,omitempty" doc:"The endpoint of runtime http."`
	Handler      string            `json:"handler,omitempty" doc:"MODULE.FUNCTION for python and node, the program with its arguments for exec, the package for go, the module for wasm. Default main.handler, index.handler, ., main.wasm."`
	Transport    string            `json:"transport,omitempty" doc:"How calls reach a worker of exec or go: frames or runtime-api. Default: frames for exec, runtime-api for go."`
	Timeout      Duration          `json:"timeout,omitempty" doc:"How long a call may take, to 12h. Default 30s."`
	StartTimeout Duration          `json:"start_timeout,omitempty" doc:"How long a worker may take to load the code, to 15m. Default 30s."`
	Workers      FunctionWorkers   `json:"workers,omitzero"`
	Concurrency  int               `json:"concurrency,omitempty" doc:"How many calls a worker may have in flight, 1 to 1000. Default 1."`
	Memory       int64             `json:"memory,omitempty" doc:"The most that a process may allocate, in bytes. 0: no limit."`
	MaxInput     int64             `json:"max_input,omitempty" doc:"The largest payload, in bytes, to 64 MiB. Default 10 MiB."`
	MaxOutput    int64             `json:"max_output,omitempty" doc:"The largest returned value, in bytes, to 64 MiB. Default 15,000,000."`
	Limits       FunctionLimits    `json:"limits,omitzero"`
	Writable     []string          `json:"writable,omitempty" doc:"Directories that a worker may write to besides its temporary one, as absolute paths."`
	Network      string            `json:"network,omitempty" doc:"What a worker can reach: full, or isolated, which is this API and nothing else. Default full."`
	SQSEndpoint  bool              `json:"sqs_endpoint,omitempty" doc:"Set AWS_ENDPOINT_URL_SQS and credentials for this server's queues."`
	Env          map[string]string `json:"env,omitempty" doc:"The environment of the processes. Answers show each value as ***."`
}

// FunctionWorkers is a runnel.Workers in JSON.
type FunctionWorkers struct {
	Min     int             `json:"min,omitempty" doc:"Processes that are kept warm, 0 to 1000. Default 0."`
	Max     int             `json:"max,omitempty" doc:"Processes at once, 1 to 1000. Default: the number of cores."`
	Idle    Duration        `json:"idle,omitempty" doc:"After how long without a call a process beyond min ends. Default 5m."`
	Recycle FunctionRecycle `json:"recycle,omitzero"`
}

// FunctionRecycle is a runnel.Recycle in JSON.
type FunctionRecycle struct {
	Calls  int      `json:"calls,omitempty" doc:"After how many calls a process is replaced. 0: never."`
	Age    Duration `json:"age,omitempty" doc:"How old a process may become, at most 720h. 0: no limit."`
	Memory int64    `json:"memory,omitempty" doc:"How many bytes of memory a process may occupy after a call. 0: no limit."`
}

// FunctionLimits is a runnel.ProcessLimits in JSON.
type FunctionLimits struct {
	Processes int      `json:"processes,omitempty" doc:"The most processes and threads of a worker. Default 512."`
	Files     int      `json:"files,omitempty" doc:"The most open files of a process. Default 1024."`
	FileSize  int64    `json:"file_size,omitempty" doc:"How large a file may become, in bytes. Default 1 GiB."`
	Temp      int64    `json:"temp,omitempty" doc:"How much the directory for temporary files may hold, in bytes. Default 512 MiB."`
	CPUTime   Duration `json:"cpu_time,omitempty" doc:"The processor time of a process in all its life. Default: no limit."`
}

// NewFunctionDefinition returns f for JSON, with the values of its
// environment: the door hides them.
func NewFunctionDefinition(f runnel.Function) FunctionDefinition {
	w, l := f.Workers, f.Limits
	return FunctionDefinition{
		Name: f.Name, Runtime: string(f.Runtime), Source: f.Source, Inline: f.Inline, URL: f.URL,
		Handler: f.Handler, Transport: string(f.Transport),
		Timeout: Duration(f.Timeout), StartTimeout: Duration(f.StartTimeout),
		Workers: FunctionWorkers{
			Min: w.Min, Max: w.Max, Idle: Duration(w.Idle),
			Recycle: FunctionRecycle{Calls: w.Recycle.Calls, Age: Duration(w.Recycle.Age), Memory: int64(w.Recycle.Memory)},
		},
		Concurrency: f.Concurrency, Memory: int64(f.Memory), MaxInput: int64(f.MaxInput), MaxOutput: int64(f.MaxOutput),
		Limits: FunctionLimits{
			Processes: l.Processes, Files: l.Files, FileSize: int64(l.FileSize), Temp: int64(l.Temp), CPUTime: Duration(l.CPUTime),
		},
		Writable: slices.Clone(f.Writable), Network: string(f.Network), SQSEndpoint: f.SQSEndpoint, Env: maps.Clone(f.Env),
	}
}

// Function returns the function that d describes. It is not validated.
func (d FunctionDefinition) Function() runnel.Function {
	w, l := d.Workers, d.Limits
	return runnel.Function{
		Name: d.Name, Runtime: runnel.Runtime(d.Runtime), Source: d.Source, Inline: d.Inline, URL: d.URL,
		Handler: d.Handler, Transport: runnel.Transport(d.Transport),
		Timeout: time.Duration(d.Timeout), StartTimeout: time.Duration(d.StartTimeout),
		Workers: runnel.Workers{
			Min: w.Min, Max: w.Max, Idle: time.Duration(w.Idle),
			Recycle: runnel.Recycle{Calls: w.Recycle.Calls, Age: time.Duration(w.Recycle.Age), Memory: runnel.Size(w.Recycle.Memory)},
		},
		Concurrency: d.Concurrency, Memory: runnel.Size(d.Memory), MaxInput: runnel.Size(d.MaxInput), MaxOutput: runnel.Size(d.MaxOutput),
		Limits: runnel.ProcessLimits{
			Processes: l.Processes, Files: l.Files, FileSize: runnel.Size(l.FileSize), Temp: runnel.Size(l.Temp), CPUTime: time.Duration(l.CPUTime),
		},
		Writable: slices.Clone(d.Writable), Network: runnel.Network(d.Network), SQSEndpoint: d.SQSEndpoint, Env: maps.Clone(d.Env),
	}
}

// QueueDefinition is a runnel.Queue in JSON. What is left out has the default
// of Amazon SQS.
type QueueDefinition struct {
	Name              string    `json:"name" required:"false" doc:"1 to 80 letters, digits, hyphens and underscores; one that ends in .fifo is that of a FIFO queue. In a PUT it may be left out, as the path says it."`
	VisibilityTimeout *Duration `json:"visibility_timeout,omitempty" doc:"To 12h. Default 30s."`
	Delay             *Duration `json:"delay,omitempty" doc:"To 15m. Default 0s."`
	Retention         *Duration `json:"retention,omitempty" doc:"1m to 14d. Default 4d."`
	ReceiveWait       *Duration `json:"receive_wait,omitempty" doc:"To 20s. Default 0s."`
	MaxMessage        int64     `json:"max_message,omitempty" doc:"The largest message in bytes, 1 KiB to 1 MiB. Default 1 MiB."`

	ContentBasedDeduplication bool   `json:"content_based_deduplication,omitempty" doc:"Take the body for a deduplication id where there is none. FIFO queues only."`
	DeduplicationScope        string `json:"deduplication_scope,omitempty" doc:"Within what a deduplication id counts: queue or messageGroup. Default queue. FIFO queues only."`
	FIFOThroughputLimit       string `json:"fifo_throughput_limit,omitempty" doc:"perQueue or perMessageGroupId; kept, and without effect. FIFO queues only."`

	DeadLetter   *QueueDeadLetterPlace `json:"dead_letter,omitempty"`
	RedriveAllow *RedriveAllow         `json:"redrive_allow,omitempty" doc:"Which queues may name this one as their dead-letter queue. Default: all."`
	Tags         map[string]string     `json:"tags,omitempty" doc:"At most 50 labels. None: those that the queue has stay."`
	Delivery     string                `json:"delivery,omitempty" doc:"shuffle: in random order within a small window, for teaching and tests. Default: what was sent first comes first. Standard queues only."`
	Duplicate    float64               `json:"duplicate,omitempty" doc:"The share of deliveries to clients after which the message is delivered again, 0 to 1, for teaching and tests. Standard queues only."`
	Paused       *bool                 `json:"paused,omitempty" doc:"Whether receives find nothing. Left out: it stays as it is."`
}

// QueueDeadLetterPlace is a runnel.QueueDeadLetter in JSON.
type QueueDeadLetterPlace struct {
	Queue       string `json:"queue"`
	MaxReceives int    `json:"max_receives,omitempty" doc:"How often clients may receive a message, 1 to 1000. Default 10."`
}

// NewQueueDefinition returns q for JSON.
func NewQueueDefinition(q runnel.Queue) QueueDefinition {
	d := QueueDefinition{
		Name: q.Name, VisibilityTimeout: (*Duration)(q.VisibilityTimeout), Delay: (*Duration)(q.Delay),
		Retention: (*Duration)(q.Retention), ReceiveWait: (*Duration)(q.ReceiveWait), MaxMessage: int64(q.MaxMessage),
		ContentBasedDeduplication: q.ContentBasedDeduplication, DeduplicationScope: q.DeduplicationScope, FIFOThroughputLimit: q.FIFOThroughputLimit,
		RedriveAllow: (*RedriveAllow)(q.RedriveAllow), Tags: q.Tags,
		Delivery: q.Delivery, Duplicate: q.Duplicate, Paused: q.Paused,
	}
	if q.DeadLetter != nil {
		d.DeadLetter = &QueueDeadLetterPlace{Queue: q.DeadLetter.Queue, MaxReceives: q.DeadLetter.MaxReceives}
	}
	return d
}

// Queue returns the queue that d describes. It is not validated.
func (d QueueDefinition) Queue() runnel.Queue {
	q := runnel.Queue{
		Name: d.Name, VisibilityTimeout: (*time.Duration)(d.VisibilityTimeout), Delay: (*time.Duration)(d.Delay),
		Retention: (*time.Duration)(d.Retention), ReceiveWait: (*time.Duration)(d.ReceiveWait), MaxMessage: runnel.Size(d.MaxMessage),
		ContentBasedDeduplication: d.ContentBasedDeduplication, DeduplicationScope: d.DeduplicationScope, FIFOThroughputLimit: d.FIFOThroughputLimit,
		RedriveAllow: (*runnel.RedriveAllow)(d.RedriveAllow), Tags: d.Tags,
		Delivery: d.Delivery, Duplicate: d.Duplicate, Paused: d.Paused,
	}
	if d.DeadLetter != nil {
		q.DeadLetter = &runnel.QueueDeadLetter{Queue: d.DeadLetter.Queue, MaxReceives: d.DeadLetter.MaxReceives}
	}
	return q
}
