package admin

import (
	"context"
	"fmt"

	"github.com/runnel-io/runnel/internal/auth"
)

// NamedFlowStats are the numbers of one flow.
type NamedFlowStats struct {
	Name  string    `json:"name"`
	Stats FlowStats `json:"stats"`
}

// NamedFunctionStats are the numbers of one function.
type NamedFunctionStats struct {
	Name  string        `json:"name" doc:"OWNER/NAME."`
	Stats FunctionStats `json:"stats"`
}

// NamedQueueStats are the numbers of one queue.
type NamedQueueStats struct {
	Name  string     `json:"name"`
	Stats QueueStats `json:"stats"`
}

type statsAnswer struct {
	Body struct {
		Flows     []NamedFlowStats     `json:"flows"`
		Functions []NamedFunctionStats `json:"functions"`
		Queues    []NamedQueueStats    `json:"queues"`
	}
}

// stats are those of the lists of flows, functions and queues; a part that
// the server does not have is empty.
func (d *Door) stats(ctx context.Context, caller auth.Caller, _ *struct{}) (*statsAnswer, error) {
	out := new(statsAnswer)
	out.Body.Flows, out.Body.Functions, out.Body.Queues = []NamedFlowStats{}, []NamedFunctionStats{}, []NamedQueueStats{}
	if d.Flows != nil {
		flows, err := d.Flows.List(ctx, caller.Account)
		if err != nil {
			return nil, fmt.Errorf("list flows: %w", err)
		}
		for _, f := range flows {
			out.Body.Flows = append(out.Body.Flows, NamedFlowStats{f.Name, f.Stats})
		}
	}
	if d.Functions != nil {
		functions, err := d.Functions.List(ctx, owned(caller))
		if err != nil {
			return nil, fmt.Errorf("list functions: %w", err)
		}
		for _, f := range functions {
			out.Body.Functions = append(out.Body.Functions, NamedFunctionStats{f.Name, f.Stats})
		}
	}
	for _, q := range d.Queues.List(ctx, caller.Account) {
		out.Body.Queues = append(out.Body.Queues, NamedQueueStats{q.Name, q.Stats})
	}
	return out, nil
}
