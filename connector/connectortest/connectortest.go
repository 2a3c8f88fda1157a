// Package connectortest is the suite that every connector passes: what the
// contracts of package runnel promise, tried on a real system. A connector's
// own test calls Run with what the system can do; Runnel's own queues are
// tested by it like any other.
//
// The suite runs in real time, since the systems do: it waits for events with a
// deadline and never sleeps.
package connectortest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
)

// Features say what a system can do. What is false is not tried.
type Features struct {
	// Leases: what is received comes back after Limits.Lease, and the source
	// is an Extender.
	Leases bool
	// MinLease is the shortest lease that the system has. Default 1s.
	MinLease time.Duration
	// Delays: a sink keeps Message.Delay.
	Delays bool
	// RetryAfter: Settlement.After of a Retry is kept.
	RetryAfter bool
	// ReleaseAfter: Settlement.After of a Release is kept.
	ReleaseAfter bool
	// Failures: Delivery.Attempt counts failures, and a Release leaves no
	// trace in Delivery.Receives.
	Failures bool
	// GiveUp: the source has a dead-letter place; Place.Dead reads it.
	GiveUp bool
	// Keys: Message.Key is kept.
	Keys bool
	// Ordered: of one Message.Key, which is the Delivery.Lane, at most the
	// messages of one receive are with somebody, and they come in their order.
	Ordered bool
	// Dedup: a second message with a DedupID is not stored.
	Dedup bool
	// Trace: Message.Trace, Hops and Steps are kept.
	Trace bool
	// Transactions: the source is a Transactor, and joins Place.Next.
	Transactions bool
	// Backlog: the source is a Backlogger, and its counts are exact.
	Backlog bool
}

// Place is an empty queue or topic to test in. Its sources and sinks are
// opened by it and closed by the suite.
type Place struct {
	// Source and Sink open the two ends.
	Source func() runnel.Source
	Sink   func() runnel.Sink
	// Dead opens what GiveUp fills; needed with Features.GiveUp.
	Dead func() runnel.Source
	// Next and NextSource open the ends of another place in the same store;
	// needed with Features.Transactions.
	Next       func() runnel.Sink
	NextSource func() runnel.Source
}

// patience is how long the suite waits for what must happen.
const patience = 20 * time.Second

// Run runs the suite. open returns a fresh place for each test.
func Run(t *testing.T, f Features, open func(t *testing.T) Place) {
	if f.MinLease == 0 {
		f.MinLease = time.Second
	}
	for _, test := range []struct {
		name string
		on   bool
		run  func(*bench)
	}{
		{"RoundTrip", true, roundTrip},
		{"ReceiveLimits", true, receiveLimits},
		{"ReceiveWakes", true, receiveWakes},
		{"ReceiveCancelled", true, receiveCancelled},
		{"Release", true, release},
		{"Retry", true, retry},
		{"RetryAfter", f.RetryAfter, retryAfter},
		{"ReleaseAfter", f.ReleaseAfter, releaseAfter},
		{"Delay", f.Delays, delay},
		{"LeaseEnds", f.Leases, leaseEnds},
		{"Extend", f.Leases, extend},
		{"GiveUp", f.GiveUp, giveUp},
		{"Order", f.Ordered, order},
		{"Dedup", f.Dedup, dedup},
		{"CloseGivesBack", true, closeGivesBack},
		{"NothingLost", true, nothingLost},
		{"Backlog", f.Backlog, backlog},
		{"TxnCommit", f.Transactions, txnCommit},
		{"TxnAbort", f.Transactions, txnAbort},
		{"TxnLeaseLost", f.Transactions && f.Leases, txnLeaseLost},
	} {
		if !test.on {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			test.run(&bench{T: t, ctx: ctx, f: f, place: open(t)})
		})
	}
}

// bench is one test's tools.
type bench struct {
	*testing.T
	ctx   context.Context
	f     Features
	place Place
}

func (b *bench) source(open func() runnel.Source) runnel.Source {
	b.Helper()
	s := open()
	b.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			b.Errorf("close source: %v", err)
		}
	})
	return s
}

func (b *bench) send(open func() runnel.Sink, ms ...runnel.Message) {
	b.Helper()
	s := open()
	if err := s.Send(b.ctx, ms); err != nil {
		b.Fatalf("send: %v", err)
	}
	if err := s.Close(b.ctx); err != nil {
		b.Fatalf("close sink: %v", err)
	}
}

var serial atomic.Int64

// message is a message that every system takes: where one is needed, it has a
// key, and a deduplication id that no other has.
func message(body string) runnel.Message {
	return runnel.Message{Body: []byte(body), Key: body, DedupID: fmt.Sprintf("%s-%d", body, serial.Add(1))}
}

// one receives one message, or fails.
func (b *bench) one(s runnel.Source, lim runnel.Limits) runnel.Delivery {
	b.Helper()
	ds := b.some(s, 1, lim)
	return ds[0]
}

// some receives n messages by as many receives as it takes, or fails.
func (b *bench) some(s runnel.Source, n int, lim runnel.Limits) []runnel.Delivery {
	b.Helper()
	deadline := time.Now().Add(patience)
	var ds []runnel.Delivery
	for len(ds) < n {
		lim.Messages = n - len(ds)
		lim.Wait = time.Until(deadline)
		if lim.Wait <= 0 {
			b.Fatalf("%d of %d messages came within %v", len(ds), n, patience)
		}
		got, err := s.Receive(b.ctx, lim)
		if err != nil {
			b.Fatalf("receive: %v", err)
		}
		if len(got) > lim.Messages {
			b.Fatalf("received %d messages, asked for at most %d", len(got), lim.Messages)
		}
		ds = append(ds, got...)
	}
	return ds
}

// none checks that nothing can be received now.
func (b *bench) none(s runnel.Source) {
	b.Helper()
	ds, err := s.Receive(b.ctx, runnel.Limits{Messages: 10, Wait: 50 * time.Millisecond})
	if err != nil || len(ds) != 0 {
		b.Errorf("got %d messages and error %v, want nothing", len(ds), err)
	}
}

func (b *bench) settle(s runnel.Source, v runnel.Verdict, after time.Duration, ds ...runnel.Delivery) {
	b.Helper()
	if err := s.Settle(b.ctx, settlements(v, after, ds)); err != nil {
		b.Fatalf("%s: %v", v, err)
	}
}

func settlements(v runnel.Verdict, after time.Duration, ds []runnel.Delivery) []runnel.Settlement {
	ss := make([]runnel.Settlement, len(ds))
	for i := range ds {
		ss[i] = runnel.Settlement{Delivery: &ds[i], Verdict: v, After: after}
	}
	return ss
}

func roundTrip(b *bench) {
	m := runnel.Message{
		Body: []byte(`{"text": "wörld"}`),
		Attributes: []runnel.Attribute{
			{Name: "kind", Type: "String", Value: []byte("greeting")},
			{Name: "n", Type: "Number", Value: []byte("7")},
		},
	}
	if b.f.Keys {
		m.Key = "key-1"
	}
	if b.f.Trace {
		m.Trace, m.Hops, m.Steps = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 3, 2
	}
	before := time.Now().Add(-time.Minute)
	sent := m
	sent.DedupID = message("x").DedupID
	b.send(b.place.Sink, sent)
	s := b.source(b.place.Source)
	d := b.one(s, runnel.Limits{})
	got := runnel.Message{Body: d.Body, Attributes: d.Attributes, Key: d.Key}
	if b.f.Trace {
		got.Trace, got.Hops, got.Steps = d.Trace, d.Hops, d.Steps
	}
	if diff := cmp.Diff(m, got); diff != "" {
		b.Errorf("message (-sent +received):\n%s", diff)
	}
	if d.ID == "" || d.Sent.Before(before) || d.Receives < 1 {
		b.Errorf("delivery without id, time or count: %q, %v, %d", d.ID, d.Sent, d.Receives)
	}
	b.settle(s, runnel.Ack, 0, d)
	b.none(s)
}

func receiveLimits(b *bench) {
	for i := range 5 {
		b.send(b.place.Sink, message(fmt.Sprint(i)))
	}
	s := b.source(b.place.Source)
	ds := b.some(s, 3, runnel.Limits{})
	ds = append(ds, b.some(s, 2, runnel.Limits{})...)
	seen := map[runnel.MessageID]bool{}
	for _, d := range ds {
		seen[d.ID] = true
	}
	if len(seen) != 5 {
		b.Errorf("got %d different messages, want 5", len(seen))
	}
	start := time.Now()
	b.none(s)
	if took := time.Since(start); took < 40*time.Millisecond {
		b.Errorf("an empty receive returned after %v, asked to wait 50ms", took)
	}
	b.settle(s, runnel.Ack, 0, ds...)
}

func receiveWakes(b *bench) {
	s := b.source(b.place.Source)
	type result struct {
		ds  []runnel.Delivery
		err error
	}
	got := make(chan result, 1)
	go func() {
		ds, err := s.Receive(b.ctx, runnel.Limits{Messages: 10, Wait: patience})
		got <- result{ds, err}
	}()
	start := time.Now()
	b.send(b.place.Sink, message("x"))
	r := <-got
	if r.err != nil || len(r.ds) != 1 {
		b.Fatalf("waiting receive: %d messages, %v", len(r.ds), r.err)
	}
	if took := time.Since(start); took > patience/2 {
		b.Errorf("a waiting receive took %v to return after a send", took)
	}
	b.settle(s, runnel.Ack, 0, r.ds...)
}

func receiveCancelled(b *bench) {
	s := b.source(b.place.Source)
	ctx, cancel := context.WithCancelCause(b.ctx)
	why := errors.New("enough")
	ended := make(chan error, 1)
	go func() {
		_, err := s.Receive(ctx, runnel.Limits{Messages: 1, Wait: patience})
		ended <- err
	}()
	cancel(why)
	if err := <-ended; !errors.Is(err, why) {
		b.Errorf("cancelled receive: got %v, want the cause", err)
	}
	b.send(b.place.Sink, message("still here"))
	b.settle(s, runnel.Ack, 0, b.one(s, runnel.Limits{}))
}

func release(b *bench) {
	b.send(b.place.Sink, message("x"))
	s := b.source(b.place.Source)
	first := b.one(s, runnel.Limits{})
	b.settle(s, runnel.Release, 0, first)
	second := b.one(s, runnel.Limits{})
	if first.ID != second.ID {
		b.Errorf("id changed from %s to %s", first.ID, second.ID)
	}
	if b.f.Failures && (second.Receives != 1 || second.Attempt != 1) {
		b.Errorf("after a release: receives %d, attempt %d; want 1 and 1", second.Receives, second.Attempt)
	}
	b.settle(s, runnel.Ack, 0, second)
	b.none(s)
}

func retry(b *bench) {
	b.send(b.place.Sink, message("x"))
	s := b.source(b.place.Source)
	for attempt := 1; attempt <= 3; attempt++ {
		d := b.one(s, runnel.Limits{})
		if b.f.Failures && d.Attempt != attempt {
			b.Errorf("attempt: got %d, want %d", d.Attempt, attempt)
		}
		if attempt < 3 {
			b.settle(s, runnel.Retry, 0, d)
		} else {
			b.settle(s, runnel.Ack, 0, d)
		}
	}
	b.none(s)
}

func retryAfter(b *bench) {
	b.send(b.place.Sink, message("x"))
	s := b.source(b.place.Source)
	start := time.Now()
	b.settle(s, runnel.Retry, time.Second, b.one(s, runnel.Limits{}))
	b.none(s)
	d := b.one(s, runnel.Limits{})
	if took := time.Since(start); took < 900*time.Millisecond {
		b.Errorf("it came back after %v, want 1s", took)
	}
	b.settle(s, runnel.Ack, 0, d)
}

func releaseAfter(b *bench) {
	b.send(b.place.Sink, message("x"))
	s := b.source(b.place.Source)
	start := time.Now()
	first := b.one(s, runnel.Limits{})
	b.settle(s, runnel.Release, time.Second, first)
	b.none(s)
	second := b.one(s, runnel.Limits{})
	if took := time.Since(start); took < 900*time.Millisecond {
		b.Errorf("it came back after %v, want 1s", took)
	}
	if first.ID != second.ID || b.f.Failures && (second.Receives != 1 || second.Attempt != 1) {
		b.Errorf("it came back as %s, receives %d, attempt %d; want %s, 1 and 1", second.ID, second.Receives, second.Attempt, first.ID)
	}
	if b.f.Leases {
		b.leaseLost(s.Settle(b.ctx, settlements(runnel.Ack, 0, []runnel.Delivery{first})))
	}
	b.settle(s, runnel.Ack, 0, second)
	b.none(s)
}

func delay(b *bench) {
	m := message("x")
	m.Delay = time.Second
	start := time.Now()
	b.send(b.place.Sink, m)
	s := b.source(b.place.Source)
	b.none(s)
	d := b.one(s, runnel.Limits{})
	if took := time.Since(start); took < 900*time.Millisecond {
		b.Errorf("it came after %v, want 1s", took)
	}
	b.settle(s, runnel.Ack, 0, d)
}

func leaseEnds(b *bench) {
	b.send(b.place.Sink, message("x"))
	s := b.source(b.place.Source)
	first := b.one(s, runnel.Limits{Lease: b.f.MinLease})
	if first.LeaseUntil.IsZero() {
		b.Error("a leased delivery does not say until when")
	}
	second := b.one(s, runnel.Limits{})
	if first.ID != second.ID {
		b.Errorf("id changed from %s to %s", first.ID, second.ID)
	}
	b.leaseLost(s.Settle(b.ctx, settlements(runnel.Ack, 0, []runnel.Delivery{first})))
	b.settle(s, runnel.Ack, 0, second)
	b.none(s)
}

func (b *bench) leaseLost(err error) {
	b.Helper()
	var failed *runnel.SettleError
	if !errors.As(err, &failed) || len(failed.Failed) != 1 || !errors.Is(failed.Failed[0], runnel.ErrLeaseLost) {
		b.Errorf("got %v, want a SettleError with ErrLeaseLost for number 0", err)
	}
}

func extend(b *bench) {
	b.send(b.place.Sink, message("x"))
	s := b.source(b.place.Source)
	e, ok := s.(runnel.Extender)
	if !ok {
		b.Fatal("the source leases, and is no Extender")
	}
	start := time.Now()
	d := b.one(s, runnel.Limits{Lease: b.f.MinLease})
	until := d.LeaseUntil
	if err := e.Extend(b.ctx, []*runnel.Delivery{&d}, 2*b.f.MinLease); err != nil {
		b.Fatalf("extend: %v", err)
	}
	if !d.LeaseUntil.After(until) {
		b.Errorf("LeaseUntil was %v and is %v", until, d.LeaseUntil)
	}
	again := b.one(s, runnel.Limits{})
	if took := time.Since(start); took < 2*b.f.MinLease-100*time.Millisecond {
		b.Errorf("it came back after %v, its lease was extended to %v", took, 2*b.f.MinLease)
	}
	b.leaseLost(e.Extend(b.ctx, []*runnel.Delivery{&d}, time.Minute))
	b.settle(s, runnel.Ack, 0, again)
}

func giveUp(b *bench) {
	b.send(b.place.Sink, message("x"))
	s := b.source(b.place.Source)
	d := b.one(s, runnel.Limits{})
	reason := &runnel.DeadLetter{Type: "error", Message: "no good", Stack: "at main", Version: "v1", Attempts: 5}
	if err := s.Settle(b.ctx, []runnel.Settlement{{Delivery: &d, Verdict: runnel.GiveUp, Reason: reason}}); err != nil {
		b.Fatalf("give up: %v", err)
	}
	b.none(s)
	dead := b.source(b.place.Dead)
	l := b.one(dead, runnel.Limits{})
	if string(l.Body) != "x" || l.DeadLetter == nil {
		b.Fatalf("dead letter %q with reason %v", l.Body, l.DeadLetter)
	}
	if diff := cmp.Diff(reason, l.DeadLetter); diff != "" {
		b.Errorf("reason (-given +kept):\n%s", diff)
	}
	b.settle(dead, runnel.Ack, 0, l)
}

func order(b *bench) {
	keyed := func(key, body string) runnel.Message {
		m := message(body)
		m.Key = key
		return m
	}
	b.send(b.place.Sink, keyed("a", "a1"), keyed("a", "a2"), keyed("b", "b1"), keyed("a", "a3"))
	s := b.source(b.place.Source)
	want := func(ds []runnel.Delivery, bodies ...string) {
		b.Helper()
		var got []string
		for _, d := range ds {
			got = append(got, string(d.Body))
			if string(d.Lane) != d.Key || d.Key == "" {
				b.Errorf("%s: lane %q, key %q", d.Body, d.Lane, d.Key)
			}
		}
		if diff := cmp.Diff(bodies, got); diff != "" {
			b.Errorf("received (-want +got):\n%s", diff)
		}
	}
	first := b.some(s, 1, runnel.Limits{})
	want(first, "a1")
	other := b.some(s, 1, runnel.Limits{})
	want(other, "b1")
	b.none(s) // a is locked
	b.settle(s, runnel.Retry, 0, first...)
	first = b.some(s, 1, runnel.Limits{})
	want(first, "a1")
	b.settle(s, runnel.Release, 0, first...)
	first = b.some(s, 3, runnel.Limits{})
	want(first, "a1", "a2", "a3")
	b.settle(s, runnel.Ack, 0, first[:1]...)
	b.settle(s, runnel.Release, 0, first[1:]...)
	first = b.some(s, 2, runnel.Limits{})
	want(first, "a2", "a3")
	b.settle(s, runnel.Ack, 0, append(first, other...)...)
	b.none(s)
}

func dedup(b *bench) {
	m := message("once")
	b.send(b.place.Sink, m)
	b.send(b.place.Sink, m, m)
	s := b.source(b.place.Source)
	b.settle(s, runnel.Ack, 0, b.one(s, runnel.Limits{}))
	b.send(b.place.Sink, m)
	b.none(s)
}

func closeGivesBack(b *bench) {
	b.send(b.place.Sink, message("x"))
	s := b.place.Source()
	b.one(s, runnel.Limits{})
	ended := make(chan error, 1)
	go func() {
		_, err := s.Receive(b.ctx, runnel.Limits{Messages: 1, Wait: patience})
		ended <- err
	}()
	if err := s.Close(b.ctx); err != nil {
		b.Fatalf("close: %v", err)
	}
	if err := <-ended; !errors.Is(err, runnel.ErrClosed) {
		b.Errorf("receive on a closed source: got %v, want ErrClosed", err)
	}
	if _, err := s.Receive(b.ctx, runnel.Limits{Messages: 1}); !errors.Is(err, runnel.ErrClosed) {
		b.Errorf("receive after close: got %v, want ErrClosed", err)
	}
	other := b.source(b.place.Source)
	b.settle(other, runnel.Ack, 0, b.one(other, runnel.Limits{}))
}

// nothingLost has four senders and four receivers, who ack, release and retry.
func nothingLost(b *bench) {
	const senders, each = 4, 100
	s := b.source(b.place.Source)
	var mu sync.Mutex
	acked := map[string]int{}
	all := make(chan struct{})
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				ds, err := s.Receive(ctx, runnel.Limits{Messages: 7, Wait: patience})
				if err != nil {
					if ctx.Err() == nil {
						b.Errorf("receive: %v", err)
					}
					return
				}
				ss := settlements(runnel.Ack, 0, ds)
				switch n % 3 {
				case 1:
					ss[0].Verdict = runnel.Release
				case 2:
					ss[0].Verdict = runnel.Retry
				}
				if err := s.Settle(b.ctx, ss); err != nil {
					b.Errorf("settle: %v", err)
					return
				}
				mu.Lock()
				for i := range ss {
					if ss[i].Verdict == runnel.Ack {
						acked[string(ds[i].Body)]++
					}
				}
				if len(acked) == senders*each {
					select {
					case <-all:
					default:
						close(all)
					}
				}
				mu.Unlock()
			}
		})
	}
	for p := range senders {
		wg.Go(func() {
			sink := b.place.Sink()
			for i := range each {
				if err := sink.Send(b.ctx, []runnel.Message{message(fmt.Sprintf("%d-%d", p, i))}); err != nil {
					b.Errorf("send: %v", err)
					return
				}
			}
			if err := sink.Close(b.ctx); err != nil {
				b.Errorf("close sink: %v", err)
			}
		})
	}
	select {
	case <-all:
	case <-b.ctx.Done():
		b.Errorf("only %d of %d messages came", len(acked), senders*each)
	}
	cancel()
	wg.Wait()
	for body, n := range acked {
		if n != 1 {
			b.Errorf("message %s was acked %d times", body, n)
		}
	}
	b.none(s)
}

func backlog(b *bench) {
	b.send(b.place.Sink, message("a"))
	b.send(b.place.Sink, message("b"))
	late := message("c")
	late.Delay = time.Minute
	if b.f.Delays {
		b.send(b.place.Sink, late)
	}
	s := b.source(b.place.Source)
	d := b.one(s, runnel.Limits{})
	got, err := s.(runnel.Backlogger).Backlog(b.ctx)
	if err != nil {
		b.Fatal(err)
	}
	want := runnel.Backlog{Visible: 1, InFlight: 1, Oldest: got.Oldest}
	if b.f.Delays {
		want.Delayed = 1
	}
	if diff := cmp.Diff(want, got); diff != "" || got.Oldest.IsZero() {
		b.Errorf("backlog, oldest %v (-want +got):\n%s", got.Oldest, diff)
	}
	b.settle(s, runnel.Release, 0, d)
}

func txnCommit(b *bench) {
	b.send(b.place.Sink, message("in-1"))
	b.send(b.place.Sink, message("in-2"))
	s := b.source(b.place.Source)
	ds := b.some(s, 2, runnel.Limits{})
	tx := b.begin(s)
	next := b.place.Next()
	if !s.(runnel.Transactor).Joins(next) {
		b.Fatal("the source does not join the next place")
	}
	if err := tx.Settle([]runnel.Settlement{{Delivery: &ds[0]}, {Delivery: &ds[1], Verdict: runnel.Retry}}); err != nil {
		b.Fatalf("settle: %v", err)
	}
	if err := tx.Send(next, []runnel.Message{message("out")}); err != nil {
		b.Fatalf("send: %v", err)
	}
	out := b.source(b.place.NextSource)
	b.none(out)
	if err := tx.Commit(b.ctx); err != nil {
		b.Fatalf("commit: %v", err)
	}
	tx.Abort() // does nothing any more
	if d := b.one(out, runnel.Limits{}); string(d.Body) != "out" {
		b.Errorf("received %q, want out", d.Body)
	}
	again := b.one(s, runnel.Limits{})
	if again.ID != ds[1].ID || (b.f.Failures && again.Attempt != 2) {
		b.Errorf("the retried message: id %s, attempt %d", again.ID, again.Attempt)
	}
	b.settle(s, runnel.Ack, 0, again)
	b.none(s)
}

func (b *bench) begin(s runnel.Source) runnel.Txn {
	b.Helper()
	tx, err := s.(runnel.Transactor).Begin(b.ctx)
	if err != nil {
		b.Fatalf("begin: %v", err)
	}
	return tx
}

func txnAbort(b *bench) {
	b.send(b.place.Sink, message("in"))
	s := b.source(b.place.Source)
	d := b.one(s, runnel.Limits{})
	tx := b.begin(s)
	if err := tx.Settle([]runnel.Settlement{{Delivery: &d}}); err != nil {
		b.Fatalf("settle: %v", err)
	}
	if err := tx.Send(b.place.Next(), []runnel.Message{message("out")}); err != nil {
		b.Fatalf("send: %v", err)
	}
	tx.Abort()
	b.none(b.source(b.place.NextSource))
	b.settle(s, runnel.Ack, 0, d) // it is still the caller's
	if err := tx.Commit(b.ctx); err == nil {
		b.Error("an aborted transaction was committed")
	}
}

func txnLeaseLost(b *bench) {
	b.send(b.place.Sink, message("in"))
	s := b.source(b.place.Source)
	first := b.one(s, runnel.Limits{Lease: b.f.MinLease})
	tx := b.begin(s)
	if err := tx.Settle([]runnel.Settlement{{Delivery: &first}}); err != nil {
		b.Fatalf("settle: %v", err)
	}
	if err := tx.Send(b.place.Next(), []runnel.Message{message("out")}); err != nil {
		b.Fatalf("send: %v", err)
	}
	second := b.one(s, runnel.Limits{}) // the lease ended
	b.leaseLost(tx.Commit(b.ctx))
	b.none(b.source(b.place.NextSource))
	b.settle(s, runnel.Ack, 0, second)
	b.none(s)
}
