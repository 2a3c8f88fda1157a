package envelope

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/runnel-io/runnel"
)

// Function is what answers: it resolves the live version and waits for one of
// its workers.
type Function interface {
	Acquire(ctx context.Context) (runnel.Place[runnel.Invoker], error)
}

// DefaultMaxOutputs is Config.MaxOutputs where nothing is said.
const DefaultMaxOutputs = 10_000

// Config says how one flow calls its function.
type Config struct {
	// Flow is the name of the flow, which the function's log lines have.
	Flow string
	// Caller is whom the calls are made for; nil: the function's owner. It must
	// not change.
	Caller *runnel.Principal
	// Payload is how the function sees a message. Default json.
	Payload runnel.Payload
	// List gives the function all messages of a call in one list, and wants a
	// list of as many back. It means nothing with sqs-event.
	List bool
	// Split publishes each element of a returned list.
	Split bool
	// MaxOutputs is the most messages that one answer may be split into.
	// Default DefaultMaxOutputs.
	MaxOutputs int
	// ReportBatchItemFailures reads the answer to an event for
	// batchItemFailures. Without it, any answer means that all succeeded.
	ReportBatchItemFailures bool
	// Function answers.
	Function Function
	// Source is the eventSourceARN of events, and Region their awsRegion.
	Source, Region string
	// Now is the wall clock, for the time of the first receive. Default
	// time.Now.
	Now func() time.Time
}

// Handler answers messages by calling a function. Its methods may be called
// by several goroutines at once.
type Handler struct {
	cfg    Config
	format runnel.Format
}

var (
	_ runnel.Handler  = (*Handler)(nil)
	_ runnel.Capacity = (*Handler)(nil)
)

// New returns a handler. The flow that cfg is from must be valid.
func New(cfg Config) *Handler {
	if cfg.Payload == "" {
		cfg.Payload = runnel.PayloadJSON
	}
	if cfg.MaxOutputs <= 0 {
		cfg.MaxOutputs = DefaultMaxOutputs
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	h := &Handler{cfg: cfg, format: runnel.FormatJSON}
	switch cfg.Payload {
	case runnel.PayloadText:
		h.format = runnel.FormatText
	case runnel.PayloadBytes:
		h.format = runnel.FormatBytes
	default:
	}
	return h
}

// Acquire waits for a worker. The handler of the place is good for one call.
func (h *Handler) Acquire(ctx context.Context) (runnel.Place[runnel.Handler], error) {
	p, err := h.cfg.Function.Acquire(ctx)
	if err != nil {
		return runnel.Place[runnel.Handler]{}, err
	}
	return runnel.Place[runnel.Handler]{
		Call:    &call{h, p.Call},
		Version: p.Version,
		Timeout: p.Timeout,
		Release: p.Release,
	}, nil
}

// Handle waits for a worker, and makes one call within its timeout. It is for
// who has one call to make; dispatch asks for the place itself.
func (h *Handler) Handle(ctx context.Context, in []runnel.Message) ([]runnel.Result, error) {
	p, err := h.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer p.Release()
	if p.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.Timeout)
		defer cancel()
	}
	return p.Call.Handle(ctx, in)
}

// call is the right to one call of a worker.
type call struct {
	*Handler
	invoker runnel.Invoker
}

// Handle encodes, invokes and decodes. If no message can be encoded, nothing
// is invoked.
func (c *call) Handle(ctx context.Context, in []runnel.Message) ([]runnel.Result, error) {
	of, _ := runnel.CallFrom(ctx)
	if of.Invocation == "" {
		of.Invocation = rand.Text()
	}
	if c.cfg.Payload == runnel.PayloadSQSEvent {
		return c.event(ctx, of, in)
	}
	results := make([]runnel.Result, len(in))
	items := make([]runnel.Item, 0, len(in))
	for i := range in {
		m := &in[i]
		payload, err := c.payload(&of, i, m)
		if err != nil {
			results[i].Err = err
			continue
		}
		items = append(items, runnel.Item{
			Payload: payload, Message: m.ID, Attempt: attempt(&of, i),
			Key: m.Key, Attributes: m.Attributes, Trace: m.Trace,
		})
	}
	if len(items) == 0 {
		return results, nil
	}
	if c.cfg.Payload == runnel.PayloadAlgorithm {
		return c.each(ctx, of.Invocation, in, items, results)
	}
	answers, err := c.invoke(ctx, of.Invocation, c.format, c.cfg.List, items)
	if err != nil {
		return nil, err
	}
	c.publish(in, answers, results)
	return results, nil
}

// each calls with messages of which each has a form of its own. Flows call with
// one, so that a deadline is of one call.
func (c *call) each(ctx context.Context, id string, in []runnel.Message, items []runnel.Item, results []runnel.Result) ([]runnel.Result, error) {
	all := make([]runnel.Answer, 0, len(items))
	for i := range items {
		answers, err := c.invoke(ctx, id, formOf(items[i].Payload), false, items[i:i+1])
		if err != nil {
			return nil, err
		}
		all = append(all, answers...)
	}
	c.publish(in, all, results)
	return results, nil
}

// invoke makes the call. That there are as many answers as items is the
// Invoker's promise, and everything after relies on it.
func (c *call) invoke(ctx context.Context, id string, format runnel.Format, list bool, items []runnel.Item) ([]runnel.Answer, error) {
	answers, err := c.invoker.Invoke(ctx, &runnel.Invocation{
		ID: id, Flow: c.cfg.Flow, Caller: c.cfg.Caller, Format: format, List: list, Items: items,
	})
	if err != nil {
		return nil, err
	}
	if len(answers) != len(items) {
		return nil, failure(runnel.KindOutput, "the worker gave %d answers to %d payloads", len(answers), len(items))
	}
	return answers, nil
}

// attempt is the attempt of message i, 1 if nobody counts.
func attempt(of *runnel.Call, i int) int {
	n := of.Attempt
	if i < len(of.Attempts) {
		n = of.Attempts[i]
	}
	return max(n, 1)
}
