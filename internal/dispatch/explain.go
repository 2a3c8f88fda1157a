package dispatch

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// Reason is one thing that keeps a flow, or some of its messages, from moving.
type Reason struct {
	// Code is one of no_slot, session_limit, order, back_off, paused, draining,
	// busy, settling, accepted, source, function, sink, settle, empty.
	Code string
	// Count is how many messages, keys or calls it holds up; 0 if that is not
	// known.
	Count int
	// Text says it to a person.
	Text string
}

// Explain says why the flow is not moving: everything that holds messages up
// now. It is empty while all moves.
func (f *Flow) Explain() []Reason {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Reason
	add := func(code string, n int, format string, args ...any) {
		out = append(out, Reason{code, n, fmt.Sprintf(format, args...)})
	}
	if f.draining {
		add("draining", f.called+f.settling, "it is ending: calls under way may still end")
	}
	if f.paused {
		add("paused", 0, "it is paused: runnel flow resume %s", f.flow.Name)
	}
	stations := make([]string, 0, len(f.trouble))
	for station := range f.trouble {
		stations = append(stations, station)
	}
	sort.Strings(stations)
	for _, station := range stations {
		t := f.trouble[station]
		code, _, _ := strings.Cut(station, " ")
		add(code, t.times, "%s: %d failures since %s, the last: %v", station, t.times, t.since.UTC().Format(time.RFC3339), t.err)
	}
	now := time.Now()
	held, away := 0, 0
	var next time.Time
	for _, l := range f.lines {
		first := f.earliest(l)
		if first == nil {
			continue
		}
		away += len(l.away)
		if l.turns == nil {
			held++
			if next.IsZero() || first.due.Before(next) {
				next = first.due
			}
		}
	}
	if held > 0 {
		add("back_off", held, "%d keys wait for a message that was given back; the first comes again in %s", held, max(next.Sub(now), 0).Round(time.Millisecond))
	}
	if n := f.waiting + away - held; n > 0 {
		add("order", n, "%d messages wait for an earlier one of their key, %d of them in the source", n, away-held)
	}
	if n := len(f.placing); n > 0 {
		add("busy", n, "%d of %d calls wait for a free worker: more workers, or a faster function", n, f.called)
	}
	if f.called >= f.flow.Concurrency {
		add("no_slot", f.called, "all %d slots are taken: more concurrency, or a faster function", f.flow.Concurrency)
	} else if s := f.cfg.Slots; s != nil && s.Taken() >= s.Limit() {
		add("session_limit", s.Taken(), "the account's %d calls are under way, of this flow and others", s.Limit())
	}
	if f.settling >= f.maxSettling() {
		add("settling", f.settling, "%d results wait to be stored: the disk or a sink is slow", f.settling)
	}
	if len(out) == 0 && f.called+f.settling+f.ready.n == 0 {
		add("empty", 0, "there is nothing to receive")
	}
	return out
}

// inTrouble notes that a station failed, and says whether an operator should
// hear of it: at first, after a minute, and then when it has gone on for as long
// again.
func (f *Flow) inTrouble(station string, err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	t, ok := f.trouble[station]
	if !ok {
		t.since = now
	}
	t.err = err
	t.times++
	tell := !now.Before(t.nextLine)
	if tell {
		t.nextLine = now.Add(max(time.Minute, now.Sub(t.since)))
	}
	f.trouble[station] = t
	f.troubled.Store(int64(len(f.trouble)))
	return tell
}

// outOfTrouble notes that a station works again.
func (f *Flow) outOfTrouble(station string) {
	if f.troubled.Load() == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if t, ok := f.trouble[station]; ok {
		delete(f.trouble, station)
		f.troubled.Store(int64(len(f.trouble)))
		f.log.Info("works again", "station", station, "failures", t.times, "for", time.Since(t.since).Round(time.Millisecond))
	}
}
