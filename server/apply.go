package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/internal/function"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/spec"
)

// applier makes a server what a spec file says.
type applier struct {
	functions *functions
	flows     *flows
	queues    *queue.Set
	owners    owners

	// turn holds one token while nobody changes anything: an apply may take
	// minutes, and who waits for it may go away.
	turn chan struct{}
}

// take waits for the turn to change something; done ends it.
func (a *applier) take(ctx context.Context) (done func(), err error) {
	select {
	case <-a.turn:
		return func() { a.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, runnel.Errorf(runnel.CodeUnavailable, "another change is under way: %w", context.Cause(ctx))
	}
}

// newApplier returns an applier whose turn is free.
func newApplier(fs *flows) *applier {
	a := &applier{functions: fs.functions, flows: fs, queues: fs.queues, owners: owners{fs.catalog}, turn: make(chan struct{}, 1)}
	a.turn <- struct{}{}
	return a
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
// and if one of them cannot be deployed, queues and flows stay as they are; the
// error then says which functions were deployed. From there on it goes through
// to the end, also when ctx ends.
//
// owner is the name by which the file owns what it declares. Caller has the
// turn.
func (a *applier) apply(ctx context.Context, file *spec.File, owner string, source func(runnel.Function) (fs.FS, error), dry bool) ([]admin.Change, error) {
	if err := a.check(ctx, file, owner); err != nil {
		return nil, err
	}
	if dry {
		return a.plan(ctx, file, owner)
	}
	changes, err := a.deployAll(ctx, file, owner, source)
	if err != nil {
		return changes, err
	}
	ctx = context.WithoutCancel(ctx)
	for _, q := range file.Queues {
		change, err := a.putQueue(ctx, file, owner, q)
		if err != nil {
			return changes, placed(file, "queues."+q.Name, err)
		}
		changes = append(changes, change)
	}
	templates, err := a.flows.templates.put(ctx, file.Account, owner, file.QueueTemplates, false)
	changes = append(changes, templates...)
	if err != nil {
		return changes, err
	}
	gone, err := a.removeFlows(ctx, file, owner, false)
	if err != nil {
		return changes, err
	}
	for _, f := range file.Flows {
		action, err := a.flows.put(ctx, flowRecord{Account: file.Account, Flow: f, File: owner})
		if err != nil {
			return changes, placed(file, "flows."+f.Name, err)
		}
		changes = append(changes, admin.Change{Kind: "flow", Name: f.Name, Action: action})
	}
	a.flows.wake()
	changes = append(changes, gone...)
	more, err := a.removeRest(ctx, file, owner, false)
	return append(changes, more...), err
}

// deployAll deploys the functions of a file. One that fails keeps no other
// back: all that is wrong is told at once.
func (a *applier) deployAll(ctx context.Context, file *spec.File, owner string, source func(runnel.Function) (fs.FS, error)) ([]admin.Change, error) {
	var changes []admin.Change
	var faults []error
	var deployed []string
	for _, f := range file.Functions {
		change, err := a.deploy(ctx, owner, f, source)
		if err != nil {
			faults = append(faults, placed(file, "functions."+f.Name, err))
			continue
		}
		changes = append(changes, change)
		if change.Action != unchanged {
			deployed = append(deployed, f.Name)
		}
	}
	err := errors.Join(faults...)
	if err != nil && len(deployed) > 0 {
		a.flows.wake()
		return changes, runnel.Errorf(runnel.CodeOf(err), "%d of %d functions were not deployed, queues and flows were not changed; deployed: %s: %w",
			len(faults), len(file.Functions), strings.Join(deployed, ", "), err)
	}
	return changes, err
}

// placed is an error about something that a file declares, with its line. What
// is wrong with the server itself is no fault of the file.
func placed(file *spec.File, path string, err error) error {
	var field *runnel.FieldError
	switch runnel.CodeOf(err) {
	case "":
		return nil
	case runnel.CodeInternal, runnel.CodeUnavailable:
		if !errors.As(err, &field) {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return file.Fault(path, err)
}

// check finds the faults that the file by itself does not show.
func (a *applier) check(ctx context.Context, file *spec.File, owner string) error {
	var faults []error
	if _, err := a.owners.catalog.Account(ctx, file.Account); err != nil && file.Account != catalog.DefaultAccount {
		faults = append(faults, placed(file, "account", err))
	}
	for _, f := range file.Functions {
		if a.functions.goHandler(f.Name) != nil {
			faults = append(faults, file.Fault("functions."+f.Name, errors.New("is a Go handler of the program that the server is part of")))
		}
		faults = append(faults, placed(file, "functions."+f.Name, a.owners.check(ctx, "function", f.Name, owner)))
	}
	for _, q := range file.Queues {
		if !slices.Contains(file.Implied, q.Name) {
			faults = append(faults, placed(file, "queues."+q.Name, a.owners.check(ctx, "queue", file.Account+"/"+q.Name, owner)))
		}
	}
	for _, f := range file.Flows {
		old, version, err := a.flows.stored(ctx, file.Account+"/"+f.Name)
		if err == nil && version > 0 {
			err = ownedBy("flow", f.Name, old.File, owner)
		}
		if err == nil {
			err = at("ack", a.flows.acceptable(flowRecord{Account: file.Account, Flow: f}))
		}
		faults = append(faults, placed(file, "flows."+f.Name, err))
		// What a function of the file will have, nobody knows before it is there:
		// such a flow waits for its version.
		if name, _, _ := strings.Cut(f.Call, "@"); !declaresFunction(file, name) {
			faults = append(faults, placed(file, "flows."+f.Name, at("call", a.flows.callable(f.Call))))
		}
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
			settings, _ := have.Settings()
			if !slices.Contains(file.Implied, q.Name) && !same(declared(q, settings, a.flows.templates.arns(ctx, file.Account)), settings) {
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
			if same(old.Flow, f) { // who owns it does not count
				action = unchanged
			}
		}
		changes = append(changes, admin.Change{Kind: "flow", Name: f.Name, Action: action})
	}
	templates, err := a.flows.templates.put(ctx, file.Account, owner, file.QueueTemplates, true)
	changes = append(changes, templates...)
	if err != nil {
		return changes, err
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
	d, err := a.functions.set.Deploy(function.By(ctx, owner), f, code)
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
		// It is made if there is none, and belongs to nobody, also if the file
		// declared it before: whoever changes its settings keeps them.
		_, isNew, err := a.queues.Create(name, declared(q, queue.Settings{}, nil))
		if isNew {
			change.Action = created
		}
		if err != nil || a.owners.check(ctx, "queue", name.String(), owner) != nil {
			return change, err // it is another file's
		}
		return change, a.owners.set(ctx, "queue", name.String(), "")
	}
	action, err := a.putDeclared(ctx, name, q)
	change.Action = action
	if err != nil {
		return change, err
	}
	return change, a.owners.set(ctx, "queue", name.String(), owner)
}

// putDeclared makes a queue as it is declared, or gives it these settings.
func (a *applier) putDeclared(ctx context.Context, name queue.Name, q runnel.Queue) (action string, err error) {
	arn := a.flows.templates.arns(ctx, name.Account)
	have, isNew, err := a.queues.Create(name, declared(q, queue.Settings{}, arn))
	if err != nil || isNew {
		return created, err
	}
	now, _ := have.Settings()
	if want := declared(q, now, arn); !same(want, now) {
		return changed, have.Configure(func(s *queue.Settings) error {
			*s = declared(q, *s, arn)
			return s.Validate()
		})
	}
	return unchanged, nil
}
