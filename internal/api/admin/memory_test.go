package admin_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/auth"
)

// What follows is a small server in memory: everything that the API reads and
// does, kept in maps.

// changes are queues that can be made, sent to and removed.
type changes struct {
	mu   sync.Mutex
	made map[string]runnel.Queue // by ACCOUNT/NAME
	sent map[string][]runnel.Message
}

func (c *changes) find(account, name string) (admin.Queue, error) {
	q, ok := c.made[account+"/"+name]
	if !ok {
		return admin.Queue{}, runnel.Errorf(runnel.CodeNotFound, "there is no queue %s/%s", account, name)
	}
	out := admin.Queue{Account: account, Name: name, Visible: int64(len(c.sent[account+"/"+name]))}
	if q.VisibilityTimeout != nil {
		out.Settings.VisibilityTimeout = admin.Duration(*q.VisibilityTimeout)
	}
	return out, nil
}

func (c *changes) Find(_ context.Context, account, name string) (admin.Queue, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(account, name)
}

func (c *changes) Put(_ context.Context, account string, q runnel.Queue) (admin.Queue, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q.VisibilityTimeout != nil && *q.VisibilityTimeout > 12*time.Hour {
		return admin.Queue{}, &runnel.FieldError{Path: "visibility_timeout", Err: errors.New("is over 12h")}
	}
	c.made[account+"/"+q.Name] = q
	return c.find(account, q.Name)
}

func (c *changes) Delete(_ context.Context, account, name string, force bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	q, err := c.find(account, name)
	if err != nil {
		return err
	}
	if q.Visible > 0 && !force {
		return runnel.Errorf(runnel.CodeConflict, "queue %s holds %d messages", name, q.Visible)
	}
	delete(c.made, account+"/"+name)
	return nil
}

func (c *changes) Pause(_ context.Context, account, name string, paused bool) (admin.Queue, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q, err := c.find(account, name)
	if err != nil {
		return admin.Queue{}, err
	}
	q.Paused = paused
	return q, nil
}

func (c *changes) SetDelivery(_ context.Context, account, name, delivery string, duplicate float64) (admin.Queue, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q, err := c.find(account, name)
	if duplicate > 1 {
		err = &runnel.FieldError{Path: "duplicate", Err: errors.New("is over 1")}
	}
	q.Settings.Delivery, q.Settings.Duplicate = delivery, duplicate
	return q, err
}

// Transfer says what it was told.
func (c *changes) Transfer(_ context.Context, account, name string, t admin.Transfer) (admin.Transferred, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.find(account, name); err != nil {
		return admin.Transferred{}, err
	}
	if t.Search == nil {
		return admin.Transferred{Done: t.Positions}, nil
	}
	return admin.Transferred{
		Skipped: t.Most, Next: &t.From, Before: t.Before,
		Failed: []admin.RedriveFault{{Position: 1, Message: fmt.Sprintf("%v %v %q to %s as %s", t.Copy, t.DryRun, t.Search.States, t.To, t.Group)}},
	}, nil
}

// Send stores messages, but for those that say "refuse".
func (c *changes) Send(_ context.Context, account, queue string, ms []runnel.Message) ([]runnel.MessageID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.find(account, queue); err != nil {
		return nil, err
	}
	ids := make([]runnel.MessageID, len(ms))
	failed := make(map[int]error)
	for i, m := range ms {
		switch string(m.Body) {
		case "refuse":
			failed[i] = runnel.Errorf(runnel.CodeTooLarge, "the message is too large")
		case "burn":
			failed[i] = errors.New("disk on fire")
		default:
			ids[i] = runnel.MessageID(fmt.Sprintf("id-%d", len(c.sent[account+"/"+queue])))
			c.sent[account+"/"+queue] = append(c.sent[account+"/"+queue], m)
		}
	}
	if len(failed) > 0 {
		return ids, &runnel.SendError{Failed: failed}
	}
	return ids, nil
}

// functions are functions that are deployed at once.
type functions struct {
	mu       sync.Mutex
	deployed map[string]runnel.Function
}

func (f *functions) answer(name string) admin.Function {
	return admin.Function{
		Name: name, Definition: admin.NewFunctionDefinition(f.deployed[name]), Live: "3f9c", State: "ready",
		Stats: admin.FunctionStats{Calls: 7},
	}
}

func (f *functions) List(_ context.Context, owner string) (out []admin.Function, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.deployed {
		if owner == "" || strings.HasPrefix(name, owner+"/") {
			out = append(out, f.answer(name))
		}
	}
	slices.SortFunc(out, func(a, b admin.Function) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (f *functions) Find(_ context.Context, name string) (admin.Function, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.deployed[name]; !ok {
		return admin.Function{}, runnel.Errorf(runnel.CodeNotFound, "there is no function %s", name)
	}
	return f.answer(name), nil
}

func (f *functions) Deploy(_ context.Context, definition runnel.Function, archive []byte) (admin.Function, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if string(archive) == "broken" {
		return admin.Function{}, runnel.Errorf(runnel.CodeInvalid, "SyntaxError: invalid syntax (main.py, line 1)")
	}
	f.deployed[definition.Name] = definition
	return f.answer(definition.Name), nil
}

func (f *functions) Delete(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if name == "default/resize" {
		return runnel.Errorf(runnel.CodeConflict, "flow resize-images calls %s", name)
	}
	delete(f.deployed, name)
	return nil
}

// Build makes a version that is not live.
func (f *functions) Build(_ context.Context, definition runnel.Function, archive []byte) (admin.Function, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if string(archive) == "broken" {
		return admin.Function{}, runnel.Errorf(runnel.CodeInvalid, "SyntaxError: invalid syntax (main.py, line 1)")
	}
	out := f.answer(definition.Name)
	out.Versions = []admin.FunctionVersion{{Version: "b111", Runtime: string(definition.Runtime)}, {Version: "3f9c", Live: true}}
	return out, nil
}

func (f *functions) version(name, version string) (admin.VersionDetail, error) {
	if _, ok := f.deployed[name]; !ok {
		return admin.VersionDetail{}, runnel.Errorf(runnel.CodeNotFound, "there is no function %s", name)
	}
	if version != "" && version != "3f9c" && version != "1.2.*" {
		return admin.VersionDetail{}, runnel.Errorf(runnel.CodeNotFound, "function %s has no version %q", name, version)
	}
	return admin.VersionDetail{FunctionVersion: admin.FunctionVersion{Version: "3f9c", Runtime: "python", Live: true, Aliases: []string{"stable"}}}, nil
}

func (f *functions) FindVersion(_ context.Context, name, version string) (admin.VersionDetail, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version(name, version)
}

func (f *functions) Publish(ctx context.Context, name string, p admin.Publication) (admin.VersionDetail, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	caller, _ := admin.CallerFrom(ctx)
	v, err := f.version(name, p.Version)
	switch {
	case err != nil:
		return v, err
	case p.Type == "patch":
		return v, &runnel.FieldError{Path: "version_type", Err: errors.New("want major, minor or revision")}
	case p.Type == "":
		return v, runnel.Errorf(runnel.CodeConflict, "version 3f9c of %s is published already, as 1.0.0", name)
	}
	v.Semantic, v.Public, v.By = p.Type, !p.Private, caller.Account
	v.ReleaseNotes, v.SampleInput, v.SampleOutput = p.ReleaseNotes, p.SampleInput, fmt.Sprint(len(p.SampleOutput))
	return v, nil
}

func (f *functions) RemoveVersion(_ context.Context, name, version string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.version(name, version)
	return err
}

func (f *functions) SetAlias(_ context.Context, name, alias, version string) (admin.Function, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if alias == "live" {
		return admin.Function{}, runnel.Errorf(runnel.CodeInvalid, "alias %q: moves by a deploy", alias)
	}
	v, err := f.version(name, version)
	out := f.answer(name)
	out.Aliases = map[string]string{alias: v.Version}
	return out, err
}

func (f *functions) DeleteAlias(_ context.Context, name, alias string) error {
	if alias == "used" {
		return runnel.Errorf(runnel.CodeConflict, "%s@%s is called by the flows a, b", name, alias)
	}
	return nil
}

func (f *functions) Rollback(_ context.Context, name, to string) (admin.RolledBack, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, err := f.version(name, to)
	return admin.RolledBack{Live: v.Version, Previous: "81aa", Changed: true, Warning: "in a file", Function: f.answer(name)}, err
}

// invocations answer as the payload or the name of the function says.
type invocations struct {
	mu   sync.Mutex
	last admin.InvokeRequest
}

func (v *invocations) Invoke(_ context.Context, account, ref string, in admin.InvokeRequest) (admin.InvokeAnswer, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = in
	out := admin.InvokeAnswer{Version: "3f9c", Invocation: "inv-1", Format: in.Format, Payload: in.Payload}
	name, _ := strings.CutPrefix(ref, account+"/")
	switch name {
	case "echo", "echo@81aa":
		return out, nil
	case "none":
		out.Format = runnel.FormatNone
		return out, nil
	case "fails":
		return out, &runnel.FunctionError{Kind: runnel.KindError, Name: "ValueError", Message: "no size", Stack: "main.py:3"}
	case "slow":
		return out, &runnel.FunctionError{Kind: runnel.KindTimeout, Message: "no answer within 30s"}
	case "rejects":
		return out, runnel.Reject("not an image")
	case "later":
		return out, runnel.RetryAfter(90 * time.Second)
	case "busy":
		return admin.InvokeAnswer{}, runnel.Errorf(runnel.CodeLimit, "no worker was free within 5s")
	case "away":
		return admin.InvokeAnswer{}, runnel.Errorf(runnel.CodeUnavailable, "no worker starts")
	case "recycled":
		return admin.InvokeAnswer{}, fmt.Errorf("call: %w", runnel.ErrInterrupted)
	case "burns":
		return admin.InvokeAnswer{}, errors.New("disk on fire")
	}
	return admin.InvokeAnswer{}, runnel.Errorf(runnel.CodeNotFound, "there is no function %s", ref)
}

// flows are flows that do nothing.
type flows struct {
	mu     sync.Mutex
	made   map[string]runnel.Flow // by ACCOUNT/NAME
	paused map[string]bool
}

func (f *flows) find(account, name string) (admin.Flow, error) {
	flow, ok := f.made[account+"/"+name]
	if !ok {
		return admin.Flow{}, runnel.Errorf(runnel.CodeNotFound, "there is no flow %s/%s", account, name)
	}
	state := "running"
	if f.paused[account+"/"+name] {
		state = "paused"
	}
	return admin.Flow{FlowDefinition: admin.NewFlowDefinition(flow.WithDefaults()), State: state, Stats: admin.FlowStats{Received: 3}}, nil
}

func (f *flows) List(_ context.Context, account string) (out []admin.Flow, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.made {
		if name, ok := strings.CutPrefix(id, account+"/"); ok {
			flow, err := f.find(account, name)
			if err != nil {
				return nil, err
			}
			out = append(out, flow)
		}
	}
	return out, nil
}

func (f *flows) Find(_ context.Context, account, name string) (admin.Flow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.find(account, name)
}

func (f *flows) Put(_ context.Context, caller auth.Caller, flow runnel.Flow) (admin.Flow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	account := caller.Account
	if flow.Name == "owned" {
		return admin.Flow{}, runnel.Errorf(runnel.CodeConflict, "flow owned is of runnel.yaml: apply that")
	}
	f.made[account+"/"+flow.Name] = flow
	return f.find(account, flow.Name)
}

func (f *flows) Delete(_ context.Context, account, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.find(account, name)
	delete(f.made, account+"/"+name)
	return err
}

func (f *flows) Pause(_ context.Context, account, name string, paused bool) (admin.Flow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused[account+"/"+name] = paused
	return f.find(account, name)
}

func (f *flows) Explain(_ context.Context, account, name string) (admin.Explanation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.find(account, name); err != nil {
		return admin.Explanation{}, err
	}
	return admin.Explanation{State: "idle", Summary: "the queue is empty", Reasons: []admin.Reason{{Code: "empty", Text: "nothing to receive"}}}, nil
}

// dead are the dead letters of the queue images.
type dead struct{}

func (dead) List(_ context.Context, account string) ([]admin.DeadLetterQueue, error) {
	if account != "default" {
		return nil, nil
	}
	return []admin.DeadLetterQueue{{Queue: "images", Visible: 9, Flows: []string{"resize-images"}}}, nil
}

func (dead) Redrive(_ context.Context, _, _ string, positions []int64, _ string) (out admin.Redriven, err error) {
	for _, p := range positions {
		if p < 10 {
			out.Moved = append(out.Moved, p)
		} else {
			out.Failed = append(out.Failed, admin.RedriveFault{Position: p, Message: "there is no message"})
		}
	}
	return out, nil
}

// lineFault is a fault in a file.
type lineFault struct {
	line int
	path string
	err  error
}

func (f *lineFault) Error() string {
	return fmt.Sprintf("runnel.yaml:%d: %s: %v", f.line, f.path, f.err)
}
func (f *lineFault) Unwrap() error { return f.err }
func (f *lineFault) Location() (file string, line int, path string) {
	return "runnel.yaml", f.line, f.path
}

// applier finds two faults in a spec that says "faults".
type applier struct{}

func (applier) Reload(context.Context) ([]admin.Change, error) {
	return []admin.Change{{Kind: "flow", Name: "x", Action: "changed"}}, nil
}

func (applier) Apply(_ context.Context, caller auth.Caller, spec admin.Spec) ([]admin.Change, error) {
	if len(spec.Archives) > 0 && !caller.Admin {
		return nil, runnel.Errorf(runnel.CodeDenied, "functions need an admin key")
	}
	switch spec.Text {
	case "faults":
		return nil, fmt.Errorf("check: %w", errors.Join(
			&lineFault{12, "flows.x.batch.size", errors.New("1001 is not between 1 and 1000")},
			&lineFault{14, "flows.x.from", runnel.Errorf(runnel.CodeNotFound, "there is no queue images")},
		))
	case "one fault":
		return nil, &lineFault{3, "flows.x", errors.New("is not a flow")}
	case "burns":
		return nil, errors.New("disk on fire")
	case "env":
		return []admin.Change{{Kind: "queue", Name: spec.Env["A"], Action: "created", Detail: spec.Files["f"]}}, nil
	}
	action := "created"
	if spec.DryRun {
		action = "unchanged"
	}
	return []admin.Change{{Kind: "function", Name: "default/resize", Action: action, Detail: fmt.Sprintf("%d bytes", len(spec.Archives["default/resize"]))}}, nil
}

// logs keep two lines, and hand on those that are sent on lines.
type logs struct {
	lines     chan admin.LogLine
	following chan admin.LogQuery
	searched  chan admin.LogQuery // may be nil
	left      chan struct{}
}

func (l *logs) Search(_ context.Context, q admin.LogQuery) (admin.LogPage, error) {
	select {
	case l.searched <- q:
	default: // nobody asks
	}
	all := []admin.LogLine{
		{Time: time.Unix(1, 0).UTC(), Level: "debug", Function: "default/resize", Text: "started"},
		{Time: time.Unix(2, 0).UTC(), Level: "info", Function: "default/resize", Flow: "resize-images", Text: "a\nb"},
	}
	if q.Level > slog.LevelDebug {
		all = all[1:]
	}
	page := admin.LogPage{Lines: all[max(0, len(all)-q.Limit):]}
	if len(page.Lines) < len(all) {
		page.Next = 17
	}
	return page, nil
}

func (l *logs) Follow(ctx context.Context, q admin.LogQuery, fn func(admin.LogLine) error) error {
	defer close(l.left)
	page, err := l.Search(ctx, q)
	if err != nil {
		return err
	}
	for _, line := range page.Lines {
		if err := fn(line); err != nil {
			return err
		}
	}
	l.following <- q
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case line := <-l.lines:
			if err := fn(line); err != nil {
				return err
			}
		}
	}
}

// secrets keeps the descriptions of the secrets of default/resize.
type secrets struct {
	mu   sync.Mutex
	kept []admin.Secret
}

func (s *secrets) Secrets(_ context.Context, function string) ([]admin.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if function != "default/resize" {
		return nil, nil
	}
	return s.kept, nil
}

func (s *secrets) PutSecret(_ context.Context, _, name string, in admin.PutSecret) (admin.Secret, error) {
	if in.Value == "" {
		return admin.Secret{}, &runnel.FieldError{Path: "value", Err: errors.New("is empty")}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, admin.Secret{Name: name, Description: in.Description, Updated: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)})
	return s.kept[len(s.kept)-1], nil
}

func (s *secrets) DeleteSecret(_ context.Context, function, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == 0 {
		return runnel.Errorf(runnel.CodeNotFound, "function %s has no secret %s", function, name)
	}
	s.kept = nil
	return nil
}
