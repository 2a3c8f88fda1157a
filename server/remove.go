package server

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/spec"
)

// leaves refuses a file that declares nothing of what a file of this name
// declared before: more likely it is another one than that all was renamed.
// An empty file is meant to remove all.
func (a *applier) leaves(ctx context.Context, file *spec.File, owner string) error {
	if len(file.Functions)+len(file.Queues)+len(file.QueueTemplates)+len(file.Flows) == 0 {
		return nil
	}
	var before []string
	records, err := a.flows.records(ctx)
	if err != nil {
		return err
	}
	for _, rec := range records {
		if rec.File != owner {
			continue
		}
		if declaresFlow(file, rec) {
			return nil
		}
		before = append(before, "flow "+rec.Flow.Name)
	}
	for _, kind := range []string{"function", "queue"} {
		names, err := a.owners.owned(ctx, kind, owner)
		if err != nil {
			return err
		}
		for _, name := range names {
			if kind == "function" && declaresFunction(file, name) || kind == "queue" && declaresQueue(file, name) {
				return nil
			}
			before = append(before, kind+" "+name)
		}
	}
	if len(before) == 0 {
		return nil
	}
	return runnel.Errorf(runnel.CodeConflict, "a file %s was applied before, and this one declares nothing of what that did (%s), which would be removed: "+
		"give this one another name (--name), or first apply an empty file as %s", owner, few(before), owner)
}

// allowed refuses to a standard key what only an admin may do: to have functions
// deployed or removed, and to change another account.
func (a *applier) allowed(ctx context.Context, caller auth.Caller, file *spec.File, owner string) error {
	denied := func(what string) error {
		return runnel.Errorf(runnel.CodeDenied, "%s: this needs an admin key, %s is a standard one", what, caller.KeyID)
	}
	switch {
	case caller.Admin:
		return nil
	case file.Account != caller.Account:
		return denied("the file is for the account " + file.Account + ", the key is of " + caller.Account)
	case len(file.Functions) > 0:
		return denied("the file has functions")
	}
	for _, f := range file.Flows { // as in a flow of the API
		if name, _, _ := strings.Cut(f.Call, "@"); ownerOf(name) != caller.Account {
			return placed(file, "flows."+f.Name, at("call", runnel.Errorf(runnel.CodeInvalid, "there is no function %s", name)))
		}
	}
	// What would be removed.
	functions, err := a.owners.owned(ctx, "function", owner)
	if err != nil {
		return err
	}
	queues, err := a.owners.owned(ctx, "queue", owner)
	if err != nil {
		return err
	}
	records, err := a.flows.records(ctx)
	if err != nil {
		return err
	}
	others := len(functions) > 0 || slices.ContainsFunc(queues, func(name string) bool { return !strings.HasPrefix(name, caller.Account+"/") }) ||
		slices.ContainsFunc(records, func(rec flowRecord) bool { return rec.File == owner && rec.Account != caller.Account })
	if others {
		return denied("a file " + owner + " of an admin was applied before")
	}
	return nil
}

// few names the first of many.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func declaresFlow(file *spec.File, rec flowRecord) bool {
	return rec.Account == file.Account && slices.ContainsFunc(file.Flows, func(f runnel.Flow) bool { return f.Name == rec.Flow.Name })
}

func declaresFunction(file *spec.File, name string) bool {
	return slices.ContainsFunc(file.Functions, func(f runnel.Function) bool { return f.Name == name })
}

// declaresQueue takes ACCOUNT/NAME.
func declaresQueue(file *spec.File, full string) bool {
	account, name, _ := strings.Cut(full, "/")
	return account == file.Account && slices.ContainsFunc(file.Queues, func(q runnel.Queue) bool { return q.Name == name })
}

// removeFlows drains and removes the flows that the file declared before and
// does no more.
func (a *applier) removeFlows(ctx context.Context, file *spec.File, owner string, dry bool) ([]admin.Change, error) {
	records, err := a.flows.records(ctx)
	if err != nil {
		return nil, err
	}
	var changes []admin.Change
	for _, rec := range records {
		if !sameOwner(rec.File, owner) || declaresFlow(file, rec) {
			continue
		}
		if !dry {
			if err := a.flows.remove(ctx, rec.name()); err != nil {
				return changes, err
			}
		}
		changes = append(changes, admin.Change{Kind: "flow", Name: rec.Flow.Name, Action: removed})
	}
	return changes, nil
}

// removeRest removes functions and queues in the same way. A queue that holds
// messages stays, and so does what a flow of somebody else uses.
func (a *applier) removeRest(ctx context.Context, file *spec.File, owner string, dry bool) ([]admin.Change, error) {
	// The flows as they are after the apply, also when there is none.
	after, err := a.flows.records(ctx)
	if err != nil {
		return nil, err
	}
	after = slices.DeleteFunc(after, func(rec flowRecord) bool { return sameOwner(rec.File, owner) || declaresFlow(file, rec) })
	for _, f := range file.Flows {
		after = append(after, flowRecord{Account: file.Account, Flow: f})
	}
	var changes []admin.Change
	names, err := a.owners.owned(ctx, "function", owner)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if declaresFunction(file, name) {
			continue
		}
		change, err := a.removeFunction(ctx, name, after, dry)
		if err != nil {
			return changes, err
		}
		changes = append(changes, change)
	}
	if names, err = a.owners.owned(ctx, "queue", owner); err != nil {
		return changes, err
	}
	for _, full := range names {
		if declaresQueue(file, full) {
			continue
		}
		account, name, _ := strings.Cut(full, "/")
		change, err := a.removeQueue(ctx, queue.Name{Account: account, Queue: name}, after, dry)
		if err != nil {
			return changes, err
		}
		changes = append(changes, change)
	}
	return changes, nil
}

func (a *applier) removeFunction(ctx context.Context, name string, flows []flowRecord, dry bool) (admin.Change, error) {
	change := admin.Change{Kind: "function", Name: name, Action: removed}
	if callers := callersOf(name, flows); len(callers) > 0 {
		change.Action, change.Detail = unchanged, "kept: called by "+strings.Join(callers, ", ")
	}
	if dry {
		return change, nil
	}
	if change.Action == removed {
		if err := a.functions.set.Delete(ctx, name); err != nil && runnel.CodeOf(err) != runnel.CodeNotFound {
			return change, err
		}
	}
	return change, a.owners.set(ctx, "function", name, "")
}

func (a *applier) removeQueue(ctx context.Context, name queue.Name, flows []flowRecord, dry bool) (admin.Change, error) {
	change := admin.Change{Kind: "queue", Name: name.Queue, Action: removed}
	if users := usersOf(name, flows); len(users) > 0 {
		change.Action, change.Detail = unchanged, "kept: used by "+strings.Join(users, ", ")
		if dry {
			return change, nil
		}
		return change, a.owners.set(ctx, "queue", name.String(), "")
	}
	kept := func(err error) (admin.Change, error) { // it is looked at again at the next apply
		change.Action, change.Detail = unchanged, "kept: "+err.Error()
		return change, nil
	}
	if dry {
		if q, err := a.queues.Queue(name); err == nil {
			if d := q.Depth(); d != (queue.Depth{}) {
				return kept(fmt.Errorf("the queue %s holds %d messages", name, d.Visible+d.InFlight+d.Delayed))
			}
		}
		return change, nil
	}
	err := a.queues.DeleteEmpty(name)
	switch runnel.CodeOf(err) {
	case "", runnel.CodeNotFound:
		return change, a.owners.set(ctx, "queue", name.String(), "")
	case runnel.CodeConflict:
		return kept(err)
	}
	return change, err
}
