package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Flows is what the API reads and does of flows. A flow that does not exist
// is CodeNotFound.
type Flows interface {
	// List returns the flows of an account, by name.
	List(ctx context.Context, account string) ([]Flow, error)
	// Find returns one flow.
	Find(ctx context.Context, account, name string) (Flow, error)
	// Put creates the flow, or changes the one of that name; the old one
	// drains first. It belongs to the caller's account; for others than
	// admins functions of other accounts do not exist. It is CodeConflict if a
	// spec file owns it, and CodeInvalid where it names what does not exist
	// or the filter does not compile.
	Put(ctx context.Context, caller auth.Caller, flow runnel.Flow) (Flow, error)
	// Delete drains the flow and then removes it.
	Delete(ctx context.Context, account, name string) error
	// Pause stops or continues the intake of a flow. It is remembered across
	// restarts; pausing twice is pausing once.
	Pause(ctx context.Context, account, name string, paused bool) (Flow, error)
	// Explain says why a flow moves or does not.
	Explain(ctx context.Context, account, name string) (Explanation, error)
}

// Flow is a flow with its defaults filled in, and what it does now.
type Flow struct {
	FlowDefinition
	OwnerFile string    `json:"owner_file" doc:"The spec file that owns the flow; only an apply of it changes the flow. Empty: none."`
	State     string    `json:"state" enum:"running,breaker,paused,draining,failed" doc:"breaker: it runs, and no worker of its function starts; that is tried again, later each time."`
	Error     string    `json:"error" doc:"Why the flow failed, or no worker starts. Empty: neither."`
	Version   string    `json:"version" doc:"The version of the function that answers now. Empty for functions without one."`
	Backlog   Backlog   `json:"backlog" doc:"What waits in the source and, with ack: accepted, in the flow's own queue."`
	Accepted  *Accepted `json:"accepted,omitempty" doc:"Of a flow with ack: accepted: the queue of its own."`
	Features  []string  `json:"features" doc:"What the flow has of its source and sinks, in words." example:"leases,one commit"`
	Stats     FlowStats `json:"stats"`
}

// Backlog is what waits in the source of a flow.
type Backlog struct {
	Visible  int64     `json:"visible" doc:"Messages that can be received now. -1: the source does not say."`
	InFlight int64     `json:"in_flight"`
	Delayed  int64     `json:"delayed"`
	Oldest   time.Time `json:"oldest,omitzero" doc:"When the oldest message was sent, where the source says."`
}

// Accepted is the queue of a flow's own, and what it holds.
type Accepted struct {
	Queue    string `json:"queue" example:"resize-images-accepted"`
	Total    uint64 `json:"total" doc:"How many messages were accepted since the flow started."`
	Visible  int64  `json:"visible"`
	InFlight int64  `json:"in_flight"`
	Delayed  int64  `json:"delayed"`
}

// FlowStats count messages since the flow started; in_flight, parked and
// waiting are of now.
type FlowStats struct {
	Received     uint64 `json:"received"`
	Calls        uint64 `json:"calls" doc:"Calls of the function; one may hold several messages."`
	Handled      uint64 `json:"handled" doc:"Messages that were answered and settled."`
	Published    uint64 `json:"published" doc:"Messages that were sent to sinks."`
	Filtered     uint64 `json:"filtered" doc:"Messages that the filter settled without a call."`
	Retried      uint64 `json:"retried" doc:"Failures after which the message is tried again."`
	Released     uint64 `json:"released" doc:"Messages that were given back without an attempt."`
	DeadLettered uint64 `json:"dead_lettered"`
	LeaseLost    uint64 `json:"lease_lost" doc:"Messages whose lease ended before they were settled."`

	InFlight int `json:"in_flight" doc:"Messages in a call."`
	Parked   int `json:"parked" doc:"Messages that wait inside for their turn or for a batch."`
	Waiting  int `json:"waiting" doc:"Calls that wait for a worker."`

	StageSeconds StageSeconds `json:"stage_seconds"`
}

// StageSeconds is the time that messages spent in each stage, summed up.
type StageSeconds struct {
	Wait    float64 `json:"wait" doc:"From receipt to call."`
	Run     float64 `json:"run" doc:"In the call."`
	Publish float64 `json:"publish" doc:"From the answer until it was settled."`
}

// Explanation says why a flow moves or does not.
type Explanation struct {
	State   string   `json:"state" enum:"moving,idle,paused,stuck,draining,failed"`
	Summary string   `json:"summary" doc:"One sentence."`
	Reasons []Reason `json:"reasons"`
}

// Reason is one thing that messages of a flow wait for.
type Reason struct {
	Code  string `json:"code" enum:"no_slot,session_limit,order,back_off,paused,draining,breaker,busy,settling,accepted,source,function,sink,settle,empty"`
	Count int64  `json:"count" doc:"How many messages it holds up."`
	Text  string `json:"text"`
}

// FlowPath is the path of a flow.
type FlowPath struct {
	Flow string `path:"flow" doc:"The name of the flow." example:"resize-images"`
}

type flowsAnswer struct {
	Body struct {
		Flows []Flow `json:"flows"`
	}
}

func (d *Door) listFlows(ctx context.Context, caller auth.Caller, _ *struct{}) (*flowsAnswer, error) {
	if d.Flows == nil {
		return nil, unsupported("flows")
	}
	flows, err := d.Flows.List(ctx, caller.Account)
	if err != nil {
		return nil, fmt.Errorf("list flows: %w", err)
	}
	out := new(flowsAnswer)
	out.Body.Flows = make([]Flow, len(flows))
	for i, f := range flows {
		out.Body.Flows[i] = f.whole()
	}
	return out, nil
}

// whole returns f without null lists.
func (f Flow) whole() Flow {
	f.Features = filled(f.Features)
	return f
}

type flowAnswer struct{ Body Flow }

// flowAnswerOf answers with what a call on one flow returned.
func flowAnswerOf(what string, f Flow, err error) (*flowAnswer, error) {
	if err != nil {
		return nil, fmt.Errorf("%s flow: %w", what, err)
	}
	return &flowAnswer{f.whole()}, nil
}

func (d *Door) findFlow(ctx context.Context, caller auth.Caller, in *FlowPath) (*flowAnswer, error) {
	if d.Flows == nil {
		return nil, unsupported("flows")
	}
	f, err := d.Flows.Find(ctx, caller.Account, in.Flow)
	return flowAnswerOf("find", f, err)
}

type putFlowInput struct {
	FlowPath
	Body FlowDefinition
}

func (d *Door) putFlow(ctx context.Context, caller auth.Caller, in *putFlowInput) (*flowAnswer, error) {
	if d.Flows == nil {
		return nil, unsupported("flows")
	}
	definition := in.Body.Flow()
	if err := errors.Join(named(&definition.Name, in.Flow), definition.Validate()); err != nil {
		return nil, err
	}
	f, err := d.Flows.Put(ctx, caller, definition)
	return flowAnswerOf("put", f, err)
}

func (d *Door) deleteFlow(ctx context.Context, caller auth.Caller, in *FlowPath) (*struct{}, error) {
	if d.Flows == nil {
		return nil, unsupported("flows")
	}
	if err := d.Flows.Delete(ctx, caller.Account, in.Flow); err != nil {
		return nil, fmt.Errorf("delete flow: %w", err)
	}
	return nil, nil //nolint:nilnil // 204
}

func (d *Door) pauseFlow(ctx context.Context, caller auth.Caller, in *FlowPath) (*flowAnswer, error) {
	if d.Flows == nil {
		return nil, unsupported("flows")
	}
	f, err := d.Flows.Pause(ctx, caller.Account, in.Flow, true)
	return flowAnswerOf("pause", f, err)
}

func (d *Door) resumeFlow(ctx context.Context, caller auth.Caller, in *FlowPath) (*flowAnswer, error) {
	if d.Flows == nil {
		return nil, unsupported("flows")
	}
	f, err := d.Flows.Pause(ctx, caller.Account, in.Flow, false)
	return flowAnswerOf("resume", f, err)
}

type explainAnswer struct{ Body Explanation }

func (d *Door) explainFlow(ctx context.Context, caller auth.Caller, in *FlowPath) (*explainAnswer, error) {
	if d.Flows == nil {
		return nil, unsupported("flows")
	}
	why, err := d.Flows.Explain(ctx, caller.Account, in.Flow)
	if err != nil {
		return nil, fmt.Errorf("explain flow: %w", err)
	}
	why.Reasons = filled(why.Reasons)
	return &explainAnswer{why}, nil
}
