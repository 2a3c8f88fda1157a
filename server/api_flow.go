package server

import (
	"context"
	"fmt"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/auth"
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
	rec := f.record()
	out := admin.Flow{
		FlowDefinition: admin.NewFlowDefinition(rec.Flow.WithDefaults()),
		OwnerFile:      rec.File, State: state, Features: []string{},
	}
	if err != nil {
		out.Error = err.Error()
	} else if text := a.breaker(f); text != "" && state == "running" {
		out.State, out.Error = "breaker", text
	}
	if _, version, err := a.functions.set.Resolve(rec.Flow.Call); err == nil {
		out.Version = version
	}
	all, accepted, oldest := a.flows.backlogOf(rec)
	out.Backlog = admin.Backlog{Visible: all.Visible, InFlight: all.InFlight, Delayed: all.Delayed, Oldest: oldest}
	if rec.Flow.Ack == runnel.AckWhenAccepted {
		out.Accepted = &admin.Accepted{Queue: rec.Flow.AcceptedQueue(), Visible: accepted.Visible, InFlight: accepted.InFlight, Delayed: accepted.Delayed}
		if accept := f.accepts(); accept != nil {
			out.Accepted.Total = accept.Accepted()
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

// Put implements admin.Flows. Only an admin gives a flow a function of another
// account: whoever may send to its source could call that.
func (a flowAPI) Put(ctx context.Context, caller auth.Caller, f runnel.Flow) (admin.Flow, error) {
	done, err := a.take(ctx)
	if err != nil {
		return admin.Flow{}, err
	}
	defer done()
	account := caller.Account
	if name := withOwner(account, f.Call); !caller.Admin && f.Call != "" && ownerOf(name) != account {
		return admin.Flow{}, at("call", fmt.Errorf("there is no function %s", name)) // as for one that does not exist
	}
	old, _, err := a.flows.stored(ctx, account+"/"+f.Name)
	if err != nil {
		return admin.Flow{}, err
	}
	if err := ownedBy("flow", f.Name, old.File, ""); err != nil {
		return admin.Flow{}, err
	}
	if f, err = a.flows.complete(ctx, account, f); err != nil {
		return admin.Flow{}, err
	}
	if _, err := a.flows.put(ctx, flowRecord{Account: account, Flow: f, Listener: old.Listener}); err != nil {
		return admin.Flow{}, err
	}
	return a.Find(ctx, account, f.Name)
}

// Delete implements admin.Flows.
func (a flowAPI) Delete(ctx context.Context, account, name string) error {
	done, err := a.take(ctx)
	if err != nil {
		return err
	}
	defer done()
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
