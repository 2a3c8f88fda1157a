package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/internal/function"
)

// Explain implements admin.Flows.
func (a flowAPI) Explain(_ context.Context, account, name string) (admin.Explanation, error) {
	f, err := a.flows.flow(account, name)
	if err != nil {
		return admin.Explanation{}, err
	}
	d, state, err := f.now()
	out := admin.Explanation{Reasons: []admin.Reason{}}
	switch {
	case state == "failed":
		out.State, out.Summary = "failed", "the flow does not run, and is tried again: "+err.Error()
		code := "source"
		if strings.HasPrefix(err.Error(), "call: ") {
			code = "function"
		}
		out.Reasons = append(out.Reasons, admin.Reason{Code: code, Text: err.Error()})
		return out, nil
	case d == nil:
		out.State, out.Summary = "idle", "the flow is being opened"
		return out, nil
	}
	for _, r := range d.Explain() {
		out.Reasons = append(out.Reasons, admin.Reason{Code: r.Code, Count: int64(r.Count), Text: r.Text})
	}
	if accept := f.accepts(); accept != nil {
		for _, r := range accept.Explain() {
			out.Reasons = append(out.Reasons, admin.Reason{Code: r.Code, Count: int64(r.Count), Text: r.Text})
		}
	}
	if text := a.breaker(f); text != "" {
		out.Reasons = append(out.Reasons, admin.Reason{Code: "breaker", Text: text})
	}
	if err := a.flows.room(); err != nil {
		out.Reasons = append(out.Reasons, admin.Reason{Code: "settle", Text: "the disk of the server is nearly full, nothing new is stored: " + err.Error()})
	}
	stats, backlog := d.Stats(), a.describe(f).Backlog
	if r, ok := givenBack(stats, backlog); ok {
		out.Reasons = append(out.Reasons, r)
	}
	if len(out.Reasons) > 1 { // what waits to come again is not nothing
		out.Reasons = slices.DeleteFunc(out.Reasons, func(r admin.Reason) bool { return r.Code == "empty" })
	}
	out.State, out.Summary = summary(state, stats, backlog, out.Reasons)
	if q, err := a.flows.source(f.record()); err == nil && state == "running" {
		if s, _ := q.Settings(); s.Paused {
			text := fmt.Sprintf("the queue %[1]s is paused: runnel queue resume %[1]s", q.Name().Queue)
			out.Reasons = append(out.Reasons, admin.Reason{Code: "paused", Count: backlog.Visible, Text: text})
			out.State, out.Summary = "paused", waits(backlog.Visible)+" in the source; "+text
		}
	}
	return out, nil
}

// breaker says why no worker of the flow's function starts; empty where some
// run, or none was tried. A worker that did not start while others run is no
// reason.
func (a flowAPI) breaker(f *flow) string {
	called, _, _ := strings.Cut(f.record().Flow.Call, "@")
	info, err := a.functions.set.Get(called)
	if err != nil || info.State != function.StateFailing || info.Stats.Idle+info.Stats.Busy > 0 {
		return ""
	}
	return fmt.Sprintf("workers of %s do not start: %s", info.Name, info.LastError)
}

// givenBack is the reason of messages that are neither inside nor to be had:
// they wait in the source to come again, or somebody else has them.
func givenBack(s dispatch.Stats, backlog admin.Backlog) (admin.Reason, bool) {
	n := backlog.InFlight - int64(s.Calling+s.Parked+s.Settling)
	last := s.Latest
	if n <= 0 || last.At.IsZero() || time.Now().After(last.Next) {
		return admin.Reason{}, false
	}
	r := admin.Reason{Code: "back_off", Count: n}
	what := "an attempt failed"
	if !last.Failed {
		r.Code, what = "busy", "a message was given back"
	}
	r.Text = fmt.Sprintf("%d in the source come again later, or others have them; last, %s ago, %s: %s; that one comes again in %s",
		n, since(last.At), what, last.Why, time.Until(last.Next).Round(time.Millisecond))
	return r, true
}

// stuckBy are the reasons that stop a flow until somebody does something.
var stuckBy = map[string]bool{"source": true, "sink": true, "settle": true, "function": true, "breaker": true}

// summary is the one sentence about a flow.
func summary(state string, s dispatch.Stats, backlog admin.Backlog, reasons []admin.Reason) (word, sentence string) {
	inside := s.Calling + s.Parked + s.Settling
	waiting := fmt.Sprintf("%s in the source, %d inside", waits(backlog.Visible), inside)
	switch state {
	case "paused":
		return "paused", "the flow is paused: " + waiting
	case "draining":
		return "draining", "the flow is ending: " + waiting
	}
	nothing := backlog.Visible <= 0 && inside == 0 // that could be done now
	later := backlog.InFlight > 0 || backlog.Delayed > 0
	for _, r := range reasons {
		if stuckBy[r.Code] && (!nothing || later) {
			return "stuck", waiting + "; " + r.Text
		}
	}
	switch {
	case s.Calling > s.Waiting || s.Settling > 0:
		return "moving", fmt.Sprintf("the flow is moving: %s, %s under way", waiting, calls(s.Calling-s.Waiting))
	case s.Waiting > 0:
		return "moving", fmt.Sprintf("the flow waits for workers: %s, %s without one", waiting, calls(s.Waiting))
	case nothing && !later:
		return "idle", "there is nothing to do"
	case nothing && backlog.InFlight == 0:
		return "idle", fmt.Sprintf("nothing can be received yet: %d delayed", backlog.Delayed)
	case nothing:
		return "idle", fmt.Sprintf("nothing can be received yet: %d in a back-off or received by others, %d delayed", backlog.InFlight, backlog.Delayed)
	}
	for _, r := range reasons {
		return "moving", waiting + "; " + r.Text
	}
	return "moving", "the flow is moving: " + waiting
}

func waits(n int64) string {
	switch n {
	case -1:
		return "messages wait" // the source does not say how many
	case 1:
		return "1 message waits"
	}
	return fmt.Sprintf("%d messages wait", n)
}

func calls(n int) string {
	if n == 1 {
		return "1 call"
	}
	return fmt.Sprintf("%d calls", n)
}
