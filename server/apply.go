package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/spec"
)

// applier makes a server what a spec file says.
type applier struct {
	functions *functions
	flows     *flows
	queues    *queue.Set
	owners    owners

	one sync.Mutex // held during an apply
}

// options are what a spec file may know of the server that it is for.
func (a *applier) options(account string) spec.Options {
	return spec.Options{
		Functions:   a.functions.exists,
		CheckFilter: dispatch.CheckFilter,
		Queues: func(name string) bool {
			_, err := a.queues.Queue(queue.Name{Account: account, Queue: name})
			return err == nil
		},
		DeadLetters: func(name string) string {
			q, err := a.queues.Queue(queue.Name{Account: account, Queue: name})
			if err != nil {
				return ""
			}
			if s, _ := q.Settings(); s.DeadLetter != nil {
				return s.DeadLetter.Queue
			}
			return ""
		},
	}
}

// apply makes what a file declares so, and removes what it declared before
// and does no more. source returns the code of a function. Nothing changes
// before everything was checked; then functions come first, each by itself,
// and if one of them cannot be deployed, queues and flows stay as they are.
//
// owner is the name by which the file owns what it declares.
func (a *applier) apply(ctx context.Context, file *spec.File, owner string, source func(runnel.Function) (fs.FS, error), dry bool) ([]admin.Change, error) {
	a.one.Lock()
	defer a.one.Unlock()
	if err := a.check(ctx, file, owner); err != nil {
		return nil, err
	}
	if dry {
		return a.plan(ctx, file, owner)
	}
	var changes []admin.Change
	var faults []error
	for _, f := range file.Functions {
		change, err := a.deploy(ctx, owner, f, source)
		if err != nil {
			faults = append(faults, file.Fault("functions."+f.Name, err))
			continue
		}
		changes = append(changes, change)
	}
	if err := errors.Join(faults...); err != nil {
		return changes, err
	}
	for _, q := range file.Queues {
		change, err := a.putQueue(ctx, file, owner, q)
		if err != nil {
			return changes, file.Fault("queues."+q.Name, err)
		}
		changes = append(changes, change)
	}
	gone, err := a.removeFlows(ctx, file, owner, false)
	if err != nil {
		return changes, err
	}
	for _, f := range file.Flows {
		action, err := a.flows.put(ctx, flowRecord{Account: file.Account, Flow: f, File: owner})
		if err != nil {
			return changes, file.Fault("flows."+f.Name, err)
		}
		changes = append(changes, admin.Change{Kind: "flow", Name: f.Name, Action: action})
	}
	changes = append(changes, gone...)
	more, err := a.removeRest(ctx, file, owner, false)
	return append(changes, more...), err
}

// check finds the faults that the file by itself does not show.
func (a *applier) check(ctx context.Context, file *spec.File, owner string) error {
	var faults []error
	if _, err := a.owners.catalog.Account(ctx, file.Account); err != nil && file.Account != catalog.DefaultAccount {
		faults = append(faults, file.Fault("account", err))
	}
	for _, f := range file.Functions {
		if a.functions.goHandler(f.Name) != nil {
			faults = append(faults, file.Fault("functions."+f.Name, fmt.Errorf("is a Go handler of this program")))
		}
		faults = append(faults, file.Fault("functions."+f.Name, a.owners.check(ctx, "function", f.Name, owner)))
	}
	for _, q := range file.Queues {
		if !slices.Contains(file.Implied, q.Name) {
			faults = append(faults, file.Fault("queues."+q.Name, a.owners.check(ctx, "queue", file.Account+"/"+q.Name, owner)))
		}
	}
	for _, f := range file.Flows {
		old, version, err := a.flows.stored(ctx, file.Account+"/"+f.Name)
		if err == nil && version > 0 {
			err = ownedBy("flow", f.Name, old.File, owner)
		}
		faults = append(faults, file.Fault("flows."+f.Name, err))
	}
	return errors.Join(faults...)
}

// plan says what an apply would change. Of functions it says only which are
// new: whether code has changed is found out by reading all of it.
func (a *applier) plan(ctx context.Context, file *spec.File, owner string) ([]admin.Change, error) {
	var changes []admin.Change
	for _, f := range file.Functions {
		action := created
		if a.functions.exists(f.Name) {
			action = changed
		}
		changes = append(changes, admin.Change{Kind: "function", Name: f.Name, Action: action, Detail: "if its code or settings differ"})
	}
	for _, q := range file.Queues {
		action := created
		if have, err := a.queues.Queue(queue.Name{Account: file.Account, Queue: q.Name}); err == nil {
			action = unchanged
			if settings, _ := have.Settings(); !same(declared(q, settings), settings) {
				action = changed
			}
		}
		changes = append(changes, admin.Change{Kind: "queue", Name: q.Name, Action: action})
	}
	for _, f := range file.Flows {
		old, version, err := a.flows.stored(ctx, file.Account+"/"+f.Name)
		if err != nil {
			return changes, err
		}
		action := created
		if version > 0 {
			action = changed
			if same(old.Flow, f) {
				action = unchanged
			}
		}
		changes = append(changes, admin.Change{Kind: "flow", Name: f.Name, Action: action})
	}
	gone, err := a.removeFlows(ctx, file, owner, true)
	if err != nil {
		return changes, err
	}
	rest, err := a.removeRest(ctx, file, owner, true)
	return append(append(changes, gone...), rest...), err
}

func (a *applier) deploy(ctx context.Context, owner string, f runnel.Function, source func(runnel.Function) (fs.FS, error)) (admin.Change, error) {
	change := admin.Change{Kind: "function", Name: f.Name, Action: unchanged}
	code, err := source(f)
	if err != nil {
		return change, err
	}
	d, err := a.functions.set.Deploy(ctx, f, code)
	if err != nil {
		return change, err
	}
	switch {
	case d.Previous == "":
		change.Action, change.Detail = created, d.Version
	case d.Version != d.Previous:
		change.Action, change.Detail = changed, d.Previous+" -> "+d.Version
	case d.Changed:
		change.Action, change.Detail = changed, "settings"
	}
	return change, a.owners.set(ctx, "function", f.Name, owner)
}

func (a *applier) putQueue(ctx context.Context, file *spec.File, owner string, q runnel.Queue) (admin.Change, error) {
	name := queue.Name{Account: file.Account, Queue: q.Name}
	change := admin.Change{Kind: "queue", Name: q.Name, Action: unchanged}
	if slices.Contains(file.Implied, q.Name) {
		// It is made if there is none, and belongs to nobody: whoever changes
		// its settings keeps them.
		_, isNew, err := a.queues.Create(name, queue.Defaults())
		if isNew {
			change.Action = created
		}
		return change, err
	}
	action, err := putQueue(a.queues, name, q)
	change.Action = action
	if err != nil {
		return change, err
	}
	return change, a.owners.set(ctx, "queue", name.String(), owner)
}

// putQueue makes a queue as it is declared, or gives it these settings.
func putQueue(queues *queue.Set, name queue.Name, q runnel.Queue) (action string, err error) {
	have, isNew, err := queues.Create(name, declared(q, queue.Settings{}))
	if err != nil || isNew {
		return created, err
	}
	now, _ := have.Settings()
	if want := declared(q, now); !same(want, now) {
		return changed, have.Configure(func(s *queue.Settings) error {
			*s = declared(q, *s)
			return s.Validate()
		})
	}
	return unchanged, nil
}

// declared returns the settings of a declared queue. Attributes and tags, which
// cannot be declared, stay.
func declared(q runnel.Queue, now queue.Settings) queue.Settings {
	s := queue.Defaults()
	s.Kept, s.Tags = now.Kept, now.Tags
	if q.VisibilityTimeout != nil {
		s.VisibilityTimeout = *q.VisibilityTimeout
	}
	if q.Delay != nil {
		s.Delay = *q.Delay
	}
	if q.Retention != nil {
		s.Retention = *q.Retention
	}
	if q.ReceiveWait != nil {
		s.ReceiveWait = *q.ReceiveWait
	}
	if q.MaxMessage != 0 {
		s.MaxMessageBytes = int(q.MaxMessage)
	}
	if q.DeadLetter != nil {
		s.DeadLetter = &queue.Redrive{Queue: q.DeadLetter.Queue, MaxReceives: q.DeadLetter.MaxReceives}
		if s.DeadLetter.MaxReceives == 0 {
			s.DeadLetter.MaxReceives = 10
		}
	}
	return s
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
		stays := rec.Account == file.Account && slices.ContainsFunc(file.Flows, func(f runnel.Flow) bool { return f.Name == rec.Flow.Name })
		if rec.File != owner || stays {
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
	var changes []admin.Change
	names, err := a.owners.owned(ctx, "function", owner)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if slices.ContainsFunc(file.Functions, func(f runnel.Function) bool { return f.Name == name }) {
			continue
		}
		change := admin.Change{Kind: "function", Name: name, Action: removed}
		if !dry {
			if change, err = a.removeFunction(ctx, name); err != nil {
				return changes, err
			}
		}
		changes = append(changes, change)
	}
	if names, err = a.owners.owned(ctx, "queue", owner); err != nil {
		return changes, err
	}
	for _, full := range names {
		account, name, _ := strings.Cut(full, "/")
		if account == file.Account && slices.ContainsFunc(file.Queues, func(q runnel.Queue) bool { return q.Name == name }) {
			continue
		}
		change := admin.Change{Kind: "queue", Name: name, Action: removed}
		if !dry {
			if change, err = a.removeQueue(ctx, queue.Name{Account: account, Queue: name}); err != nil {
				return changes, err
			}
		}
		changes = append(changes, change)
	}
	return changes, nil
}

func (a *applier) removeFunction(ctx context.Context, name string) (admin.Change, error) {
	change := admin.Change{Kind: "function", Name: name, Action: removed}
	if callers := a.flows.calls(name); len(callers) > 0 {
		change.Action, change.Detail = unchanged, "kept: called by "+strings.Join(callers, ", ")
		return change, a.owners.set(ctx, "function", name, "")
	}
	if err := a.functions.set.Delete(ctx, name); err != nil && runnel.CodeOf(err) != runnel.CodeNotFound {
		return change, err
	}
	return change, a.owners.set(ctx, "function", name, "")
}

func (a *applier) removeQueue(ctx context.Context, name queue.Name) (admin.Change, error) {
	change := admin.Change{Kind: "queue", Name: name.Queue, Action: removed}
	users := a.flows.uses(name.Account, name.Queue)
	if len(users) > 0 {
		change.Action, change.Detail = unchanged, "kept: used by "+strings.Join(users, ", ")
		return change, a.owners.set(ctx, "queue", name.String(), "")
	}
	err := a.queues.DeleteEmpty(name)
	switch runnel.CodeOf(err) {
	case "", runnel.CodeNotFound:
	case runnel.CodeConflict: // it is looked at again at the next apply
		change.Action, change.Detail = unchanged, "kept: "+err.Error()
		return change, nil
	default:
		return change, err
	}
	return change, a.owners.set(ctx, "queue", name.String(), "")
}
