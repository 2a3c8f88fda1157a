package server

import (
	"context"
	"fmt"
	"strings"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/dispatch"
)

// flowAPI is the flows as the native API reads and changes them.
type flowAPI struct{ *applier }

// List implements admin.Flows.
func (a flowAPI) List(_ context.Context, account string) ([]admin.Flow, error) {
	var out []admin.Flow
	for _, f := range a.flows.all(account) {
		out = append(out, a.describe(f))
	}
	return out, nil
}

// Find implements admin.Flows.
func (a flowAPI) Find(_ context.Context, account, name string) (admin.Flow, error) {
	f, err := a.flows.flow(account, name)
	if err != nil {
		return admin.Flow{}, err
	}
	return a.describe(f), nil
}

func (a flowAPI) describe(f *flow) admin.Flow {
	d, state, err := f.now()
	out := admin.Flow{
		FlowDefinition: admin.NewFlowDefinition(f.rec.Flow.WithDefaults()),
		OwnerFile:      f.rec.File, State: state, Features: []string{},
	}
	if err != nil {
		out.Error = err.Error()
	}
	if _, version, err := a.functions.set.Resolve(f.rec.Flow.Call); err == nil {
		out.Version = version
	}
	if q, err := a.flows.source(f.rec); err == nil {
		depth := q.Depth()
		out.Backlog = admin.Backlog{Visible: depth.Visible, InFlight: depth.InFlight, Delayed: depth.Delayed}
		if depth.Visible > 0 {
			out.Backlog.Oldest = q.Oldest()
		}
	}
	if d == nil {
		return out
	}
	out.Features = append(out.Features, d.Features()...)
	s := d.Stats()
	out.Stats = admin.FlowStats{
		Received: s.Received, Calls: s.Calls, Handled: s.Handled, Published: s.Published, Filtered: s.Filtered,
		Retried: s.Retried, Released: s.Released, DeadLettered: s.DeadLettered, LeaseLost: s.LeaseLost,
		InFlight: s.Calling + s.Settling, Parked: s.Parked, Waiting: s.Waiting,
		StageSeconds: admin.StageSeconds{Wait: s.Wait.Sum.Seconds(), Run: s.Run.Sum.Seconds(), Publish: s.Publish.Sum.Seconds()},
	}
	return out
}

// Put implements admin.Flows.
func (a flowAPI) Put(ctx context.Context, account string, f runnel.Flow) (admin.Flow, error) {
	a.one.Lock()
	defer a.one.Unlock()
	old, _, err := a.flows.stored(ctx, account+"/"+f.Name)
	if err != nil {
		return admin.Flow{}, err
	}
	if err := ownedBy("flow", f.Name, old.File, ""); err != nil {
		return admin.Flow{}, err
	}
	if f, err = a.flows.complete(account, f); err != nil {
		return admin.Flow{}, err
	}
	if _, err := a.flows.put(ctx, flowRecord{Account: account, Flow: f}); err != nil {
		return admin.Flow{}, err
	}
	return a.Find(ctx, account, f.Name)
}

// Delete implements admin.Flows.
func (a flowAPI) Delete(ctx context.Context, account, name string) error {
	a.one.Lock()
	defer a.one.Unlock()
	old, _, err := a.flows.stored(ctx, account+"/"+name)
	if err != nil {
		return err
	}
	if err := ownedBy("flow", name, old.File, ""); err != nil {
		return err
	}
	return a.flows.remove(ctx, account+"/"+name)
}

// Pause implements admin.Flows. It is allowed to everybody who may use the
// flow, also where a file owns it: it is no change of what is declared.
func (a flowAPI) Pause(ctx context.Context, account, name string, paused bool) (admin.Flow, error) {
	if err := a.flows.pause(ctx, account, name, paused); err != nil {
		return admin.Flow{}, err
	}
	return a.Find(ctx, account, name)
}

// Explain implements admin.Flows.
func (a flowAPI) Explain(_ context.Context, account, name string) (admin.Explanation, error) {
	f, err := a.flows.flow(account, name)
	if err != nil {
		return admin.Explanation{}, err
	}
	d, state, err := f.now()
	out := admin.Explanation{Reasons: []admin.Reason{}}
	if state == "failed" || d == nil {
		out.State, out.Summary = "failed", "the flow does not run"
		if err != nil {
			out.Summary += ": " + err.Error()
			out.Reasons = append(out.Reasons, admin.Reason{Code: "source", Text: err.Error()})
		}
		return out, nil
	}
	reasons := d.Explain()
	for _, r := range reasons {
		out.Reasons = append(out.Reasons, admin.Reason{Code: r.Code, Count: int64(r.Count), Text: r.Text})
	}
	if info, err := a.functions.set.Get(strings.Split(f.rec.Flow.Call, "@")[0]); err == nil && info.LastError != "" {
		out.Reasons = append(out.Reasons, admin.Reason{Code: "breaker", Text: fmt.Sprintf("workers of %s do not start: %s", info.Name, info.LastError)})
	}
	out.State, out.Summary = summary(state, d.Stats(), a.describe(f).Backlog, out.Reasons)
	return out, nil
}

// summary is the one sentence about a flow.
func summary(state string, s dispatch.Stats, backlog admin.Backlog, reasons []admin.Reason) (word, sentence string) {
	waiting := fmt.Sprintf("%d messages wait in the source, %d are inside", backlog.Visible, s.Calling+s.Parked+s.Settling)
	stuck := map[string]bool{"source": true, "sink": true, "settle": true, "function": true, "breaker": true}
	for _, r := range reasons {
		if stuck[r.Code] {
			return "stuck", waiting + "; " + r.Text
		}
	}
	switch {
	case state == "paused":
		return "paused", "the flow is paused: " + waiting
	case state == "draining":
		return "draining", "the flow is ending: " + waiting
	case s.Calling+s.Settling > 0:
		return "moving", fmt.Sprintf("the flow is moving: %s, %d calls are under way", waiting, s.Calling)
	case backlog.Visible == 0 && s.Parked == 0 && backlog.InFlight == 0:
		return "idle", "there is nothing to do"
	case backlog.Visible == 0:
		return "idle", fmt.Sprintf("nothing can be received: %d messages are in flight or in a back-off, %d are delayed", backlog.InFlight, backlog.Delayed)
	}
	return "moving", waiting
}
