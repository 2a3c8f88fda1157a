package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/runnel-io/runnel"
)

const (
	// dialTimeout bounds a connection to an endpoint, its TLS included.
	dialTimeout = 10 * time.Second
	// longestPause bounds what an endpoint can ask for by Retry-After.
	longestPause = 5 * time.Minute
)

// Endpoint calls a function that is an HTTP endpoint of somebody else's. It
// does what a Pool does, without processes: each call has one of as many
// places as there may be calls at once.
//
// A payload is the body of a POST; its Content-Type says what it is:
// application/json, text/plain or application/octet-stream. Headers name the
// call: Runnel-Function, -Version, -Flow, -Invocation, -Message, -Attempt,
// -Deadline (Unix milliseconds), Traceparent, and Idempotency-Key, which is the
// id of the message. A batch is one request after the other; a list is one
// request.
//
// What the status means:
//
//	2xx                 the answer; 204 and no body are none
//	400, 413, 415, 422  rejected: the message will never be taken
//	429, 503            busy, as if there were no worker; not before Retry-After
//	others              a failure
//
// An endpoint that cannot be reached is one whose workers do not start: calls
// wait, longer each time, and no message loses an attempt.
type Endpoint struct {
	prog   Program
	mask   *mask
	url    string
	header http.Header
	client *http.Client

	// life ends when a drain has no more time.
	life context.Context
	end  context.CancelCauseFunc

	calls, errors, timeouts, interrupts atomic.Int64
	wait, run                           runnel.Durations

	mu       sync.Mutex // guards all below
	most     int        // calls at once
	inFlight int
	queue    []*turn
	draining bool
	empty    chan struct{} // closed when draining and nothing is in flight

	// After a failure there is one call at a time, later each time. Those that
	// were in flight with it are of the same failure, however many fail.
	failures int
	failure  error
	retryAt  time.Time
	retry    *time.Timer
}

// turn is a wait for a place.
type turn struct {
	granted chan error // gets nil for a place, or ErrDraining
	// round is how many failures there had been when there was a place. It is
	// written before that is told.
	round int
}

// NewEndpoint returns the endpoint at url. prog's environment is sent as
// headers: X_API_KEY as X-Api-Key. most is how many calls there may be at
// once.
func NewEndpoint(ctx context.Context, url string, prog Program, most int) (*Endpoint, error) {
	number(&prog.MaxInput, defaultMaxInput)
	number(&prog.MaxOutput, defaultMaxOutput)
	e := &Endpoint{prog: prog, mask: newMask(prog.Mask), url: url, header: make(http.Header), most: max(most, 1), empty: make(chan struct{})}
	for _, v := range prog.Env {
		name, value, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "RUNNEL_") || strings.HasPrefix(name, "AWS_LAMBDA_") || name == "LAMBDA_TASK_ROOT" || name == "_HANDLER" {
			continue
		}
		name = strings.ReplaceAll(name, "_", "-")
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, runnel.Errorf(runnel.CodeInvalid,
				"the environment of runtime http is sent as headers, and that of %s cannot be one: is there an end of line in it?", name)
		}
		e.header.Set(name, value)
	}
	e.life, e.end = context.WithCancelCause(context.WithoutCancel(ctx))
	dialer := &net.Dialer{Timeout: dialTimeout, Control: refuseLinkLocal}
	e.client = &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: min(e.most, 256), IdleConnTimeout: time.Minute, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return e, nil
}

// refuseLinkLocal keeps functions from the addresses where clouds tell machines
// their secrets.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return err
	}
	if ip = ip.WithZone("").Unmap(); ip.IsLinkLocalUnicast() || ip == metadataIPv6 {
		return fmt.Errorf("%s is a link-local address, which functions may not call", host)
	}
	return nil
}

// metadataIPv6 is where AWS tells machines their secrets over IPv6; it is not
// link-local.
var metadataIPv6 = netip.MustParseAddr("fd00:ec2::254")

// Acquire waits for a place, in turn.
func (e *Endpoint) Acquire(ctx context.Context) (call runnel.Invoker, release func(), err error) {
	begun := time.Now()
	e.mu.Lock()
	if e.draining {
		e.mu.Unlock()
		return nil, nil, ErrDraining
	}
	place := &turn{granted: make(chan error, 1)}
	e.queue = append(e.queue, place)
	e.admit()
	e.mu.Unlock()
	select {
	case err := <-place.granted:
		if err != nil {
			return nil, nil, err
		}
	case <-ctx.Done():
		e.mu.Lock()
		for i := range e.queue {
			if e.queue[i] == place {
				e.queue = append(e.queue[:i:i], e.queue[i+1:]...)
				break
			}
		}
		e.mu.Unlock()
		select {
		case err := <-place.granted: // it came at the same time
			if err != nil {
				return nil, nil, err
			}
		default:
			return nil, nil, errors.Join(context.Cause(ctx), e.lastFailure())
		}
	}
	e.wait.Record(time.Since(begun))
	return endpointCall{e, place.round}, sync.OnceFunc(e.leave), nil
}

func (e *Endpoint) lastFailure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failure
}

// admit gives places to those who wait. Called with e.mu held.
func (e *Endpoint) admit() {
	for len(e.queue) > 0 && e.inFlight < e.most {
		if e.failures > 0 {
			if e.inFlight > 0 || e.retry != nil {
				return
			}
			if wait := time.Until(e.retryAt); wait > 0 {
				e.retry = time.AfterFunc(wait, func() {
					e.mu.Lock()
					defer e.mu.Unlock()
					e.retry = nil
					e.admit()
				})
				return
			}
		}
		place := e.queue[0]
		e.queue = e.queue[1:]
		e.inFlight++
		place.round = e.failures
		place.granted <- nil
	}
}

func (e *Endpoint) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inFlight--
	if e.draining {
		e.finish()
		return
	}
	e.admit()
}

func (e *Endpoint) finish() {
	if e.inFlight == 0 {
		select {
		case <-e.empty:
		default:
			close(e.empty)
		}
	}
}

// pause lets calls wait: for after, or for a back-off where after is 0. A call
// of a round that has failed already adds nothing to the back-off.
func (e *Endpoint) pause(round int, err error, after time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	late := round < e.failures
	switch {
	case late && after <= 0:
		return
	case after <= 0:
		after = min(firstBackOff<<min(e.failures, 16), lastBackOff)
	}
	until := time.Now().Add(min(after, longestPause))
	if late && until.Before(e.retryAt) {
		return
	}
	if !late {
		e.failures++
	}
	e.failure, e.retryAt = err, until
}

// works notes that the endpoint answers.
func (e *Endpoint) works() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failures > 0 {
		e.failures, e.failure = 0, nil
		e.admit()
	}
}

// Resize changes how many calls there may be at once.
func (e *Endpoint) Resize(most int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.most = max(most, 1)
	e.admit()
}

// Drain lets the calls in flight end. When ctx ends first they are cut off.
func (e *Endpoint) Drain(ctx context.Context) error {
	e.mu.Lock()
	e.draining = true
	for _, place := range e.queue {
		place.granted <- ErrDraining
	}
	e.queue = nil
	if e.retry != nil {
		e.retry.Stop()
	}
	e.finish()
	left := e.inFlight
	e.mu.Unlock()
	defer e.client.CloseIdleConnections()
	defer e.end(ErrDraining)
	select {
	case <-e.empty:
		return nil
	case <-ctx.Done():
	}
	e.end(ErrDraining)
	<-e.empty
	return fmt.Errorf("draining %s: up to %d calls were interrupted: %w", e.prog.Function, left, context.Cause(ctx))
}

// Stats returns the figures of now. Places stand for processes.
func (e *Endpoint) Stats() Stats {
	e.mu.Lock()
	s := Stats{State: StateReady, Max: e.most, Busy: e.inFlight, Waiting: len(e.queue)}
	switch {
	case e.draining:
		s.State = StateDraining
	case e.failures > 0:
		s.State, s.LastError = StateFailing, e.failure.Error()
	}
	e.mu.Unlock()
	s.Calls, s.Errors, s.Timeouts, s.Interrupted = e.calls.Load(), e.errors.Load(), e.timeouts.Load(), e.interrupts.Load()
	s.Wait, s.Run = e.wait.Read(), e.run.Read()
	return s
}

// Limits says that nothing of an endpoint is bounded here but what it returns.
func (e *Endpoint) Limits() []Limit {
	return []Limit{
		{Name: "payload", Wanted: runnel.Size(e.prog.MaxInput).String(), InForce: true, How: "max_input, before the request"},
		{Name: "answer", Wanted: runnel.Size(e.prog.MaxOutput).String(), InForce: true, How: "max_output, while it is read"},
	}
}

// endpointCall is the right to one call.
type endpointCall struct {
	*Endpoint
	round int
}

// Invoke implements runnel.Invoker.
func (c endpointCall) Invoke(ctx context.Context, in *runnel.Invocation) ([]runnel.Answer, error) {
	begun := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.life, func() { cancel(context.Cause(c.life)) })()
	answers, err := c.invoke(ctx, in)
	o := outcome{answers: answers, err: err}
	c.mask.outcome(&o)
	answers, err = o.answers, o.err
	if errors.Is(err, runnel.ErrInterrupted) {
		c.interrupts.Add(1)
		return nil, err
	}
	c.Endpoint.calls.Add(1)
	c.run.Record(time.Since(begun))
	failed := err
	for i := range answers {
		if failed == nil {
			failed = answers[i].Err
		}
	}
	var f *runnel.FunctionError
	if failed != nil {
		c.Endpoint.errors.Add(1)
		if errors.As(failed, &f) && f.Kind == runnel.KindTimeout {
			c.timeouts.Add(1)
		}
	}
	return answers, err
}

func (c endpointCall) invoke(ctx context.Context, in *runnel.Invocation) ([]runnel.Answer, error) {
	if len(in.Items) == 0 {
		return nil, fmt.Errorf("invocation %s: no items", in.ID)
	}
	if in.List {
		body := []byte{'['}
		for i := range in.Items {
			if i > 0 {
				body = append(body, ',')
			}
			body = appendEvent(body, in.Format, in.Items[i].Payload)
		}
		answer, err := c.post(ctx, in, 0, append(body, ']'), "application/json")
		if err != nil {
			return nil, err
		}
		return splitList(answer, len(in.Items))
	}
	media := map[runnel.Format]string{
		runnel.FormatJSON: "application/json", runnel.FormatText: "text/plain; charset=utf-8", runnel.FormatBytes: "application/octet-stream",
	}[in.Format]
	answers := make([]runnel.Answer, len(in.Items))
	for i := range in.Items {
		var err error
		if answers[i], err = c.post(ctx, in, i, in.Items[i].Payload, media); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// post makes one request. Its error is of the call as a whole.
func (c endpointCall) post(ctx context.Context, in *runnel.Invocation, i int, body []byte, media string) (runnel.Answer, error) {
	if int64(len(body)) > c.prog.MaxInput {
		return runnel.Answer{Err: inputTooLarge(len(body), c.prog.MaxInput)}, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return runnel.Answer{}, fmt.Errorf("invoke %s: %w", c.prog.Function, err)
	}
	item := &in.Items[i]
	for name, values := range c.header {
		req.Header[name] = values
	}
	set := func(name, value string) {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	set("Content-Type", media)
	set("User-Agent", "runnel")
	set("Runnel-Function", c.prog.Function)
	set("Runnel-Version", c.prog.Version)
	set("Runnel-Flow", in.Flow)
	set("Runnel-Invocation", in.ID)
	set("Runnel-Message", string(item.Message))
	set("Runnel-Attempt", strconv.Itoa(max(item.Attempt, 1)))
	set("Idempotency-Key", string(item.Message))
	set("Traceparent", item.Trace)
	if until, ok := ctx.Deadline(); ok {
		set("Runnel-Deadline", strconv.FormatInt(until.UnixMilli(), 10))
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return runnel.Answer{}, c.broken(ctx, err)
	}
	defer resp.Body.Close()
	text, err := readLimited(resp.Body, resp.ContentLength, c.prog.MaxOutput)
	if errors.Is(err, errBodyTooLarge) {
		c.works()
		return runnel.Answer{Err: outputTooLarge(c.prog.MaxOutput)}, nil
	}
	if err != nil {
		return runnel.Answer{}, c.broken(ctx, err)
	}
	return c.judge(resp, text)
}

// broken is what it means that a request had no whole answer.
func (c endpointCall) broken(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return &runnel.FunctionError{Kind: runnel.KindTimeout, Message: "no answer before the deadline"}
	}
	if ctx.Err() != nil {
		return interrupted(context.Cause(ctx))
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		err = fmt.Errorf("the endpoint cannot be reached: %w", dial)
		c.pause(c.round, err, 0)
		return interrupted(err)
	}
	return &runnel.FunctionError{Kind: runnel.KindError, Name: "ConnectionError", Message: "the endpoint broke off: " + err.Error()}
}

// judge is what an answer means.
func (c endpointCall) judge(resp *http.Response, body []byte) (runnel.Answer, error) {
	status := resp.StatusCode
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		err := fmt.Errorf("the endpoint is busy: %s", resp.Status)
		c.pause(c.round, err, retryAfter(resp.Header.Get("Retry-After")))
		return runnel.Answer{}, interrupted(err)
	}
	c.works()
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return runnel.Answer{Err: runnel.Reject(resp.Status + told(body))}, nil
	case http.StatusNoContent:
		return runnel.Answer{Format: runnel.FormatNone}, nil
	}
	if status >= 200 && status <= 299 {
		return readAnswer(resp.Header.Get("Content-Type"), body), nil
	}
	return runnel.Answer{Err: &runnel.FunctionError{
		Kind: runnel.KindError, Name: "HTTP " + strconv.Itoa(status), Message: http.StatusText(status) + told(body),
	}}, nil
}

// told is what an endpoint says of its failure, after a colon.
func told(body []byte) string {
	var e struct {
		ErrorMessage, Message, Detail, Title string
		Error                                json.RawMessage
	}
	text := ""
	if json.Unmarshal(body, &e) == nil {
		for _, t := range []string{e.ErrorMessage, e.Message, e.Detail, e.Title, strings.Trim(string(e.Error), `"`)} {
			if text == "" {
				text = t
			}
		}
	}
	if text == "" {
		text = clean(body[:min(len(body), excerptBytes)])
	}
	if text == "" {
		return ""
	}
	return ": " + clean([]byte(text[:min(len(text), excerptBytes)]))
}

// retryAfter reads the header: seconds, or a date. 0 where it says nothing.
func retryAfter(text string) time.Duration {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// readLimited reads a body of at most most bytes. length is what was announced,
// or -1.
func readLimited(r io.Reader, length, most int64) ([]byte, error) {
	if length > most {
		return nil, errBodyTooLarge
	}
	body := make([]byte, 0, max(length, 0)+512)
	for {
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > most:
			return nil, errBodyTooLarge
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, err
		}
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
	}
}
