package worker

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
)

// The Runtime API of AWS Lambda, as clients of version 2018-06-01 use it
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
//
// Supported: next, response (in one piece or chunked, with the trailers of a
// stream that failed), error, init/error. A process may poll as often at once
// as it may have calls in flight.
//
// Different: a stream is published when it has ended; there are no extensions
// and no telemetry; nothing is frozen between calls, so what a function leaves
// running goes on.

const (
	runtimePath = "/2018-06-01/runtime/"
	// The headers of the protocol, as http.Header has them.
	headerRequestID  = "Lambda-Runtime-Aws-Request-Id"
	headerDeadline   = "Lambda-Runtime-Deadline-Ms"
	headerARN        = "Lambda-Runtime-Invoked-Function-Arn"
	headerTrace      = "Lambda-Runtime-Trace-Id"
	headerErrorType  = "Lambda-Runtime-Function-Error-Type"
	headerErrorBody  = "Lambda-Runtime-Function-Error-Body"
	maxRuntimeHeader = 64 << 10
	// runtimePort is where a process with a network of its own finds the API.
	runtimePort = 9001
	// farDeadline stands for none: clients want to have one.
	farDeadline = 12 * time.Hour
)

var _ wire = (*runtimeAPI)(nil)

// runtimeAPI is the wire of compiled Lambda functions and bootstrap programs:
// HTTP on a loopback address that one process is told of.
type runtimeAPI struct {
	w *worker
	// listener is nil for a process with a network of its own until that is
	// there. address is what the process is told.
	listener net.Listener
	address  string
	server   *http.Server
	// more holds one token when events may wait.
	more chan struct{}
	// gone is closed when the process has ended, ended when all that it said
	// was read; broke gets the first rule that it broke.
	gone, ended chan struct{}
	broke       chan error

	mu      sync.Mutex // guards all below
	ready   bool       // or failed: loaded has its value
	waiting []*event   // to be fetched, in their order
	current map[string]*event
}

// event is one request of the process's: an item of a call, or a list of them.
type event struct {
	slot *slot
	in   *runnel.Invocation
	id   string
	// item is the index of the item; the list is one event.
	item    int
	until   int64
	body    []byte
	answers []runnel.Answer // of the call so far
	fetched bool            // guarded by runtimeAPI.mu
}

// newRuntimeAPI listens on a port of its own, or asks for one in the network
// that c gets. The process has no pipes for frames.
func newRuntimeAPI(w *worker, c *command) (*runtimeAPI, error) {
	a := &runtimeAPI{
		w: w, more: make(chan struct{}, 1), current: make(map[string]*event),
		gone: make(chan struct{}), ended: make(chan struct{}), broke: make(chan error, 1),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+runtimePath+"invocation/next", a.next)
	mux.HandleFunc("POST "+runtimePath+"invocation/{id}/response", a.response)
	mux.HandleFunc("POST "+runtimePath+"invocation/{id}/error", a.invocationError)
	mux.HandleFunc("POST "+runtimePath+"init/error", a.initError)
	a.server = &http.Server{
		Handler: mux, MaxHeaderBytes: maxRuntimeHeader, ReadHeaderTimeout: 10 * time.Second,
		// What it would log, a client sees for itself.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	c.files = c.files[:3]
	if isolates(&w.pool.prog) {
		c.ports = append(c.ports, runtimePort)
		a.address = "127.0.0.1:" + strconv.Itoa(runtimePort)
		return a, nil
	}
	var err error
	if a.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listen for the runtime of a worker: %w", err)
	}
	a.address = a.listener.Addr().String()
	return a, nil
}

// env returns what the process must know.
func (a *runtimeAPI) env() []string {
	env := []string{"AWS_LAMBDA_RUNTIME_API=" + a.address}
	if n := len(a.w.slots); n > 1 {
		env = append(env, "AWS_LAMBDA_MAX_CONCURRENCY="+strconv.Itoa(n))
	}
	return env
}

// start serves. The process is ready when it asks for its first event.
func (a *runtimeAPI) start() {
	go func() {
		// It ends when the process has ended, by close.
		_ = a.server.Serve(a.listener)
	}()
}

// prepare makes the event of a list, or that of the first item.
func (a *runtimeAPI) prepare(s *slot, in *runnel.Invocation, until int64) error {
	switch {
	case !isWord(in.ID):
		return badID(in.ID)
	case len(in.Items) == 0:
		return fmt.Errorf("invocation %s: no items", in.ID)
	}
	e := &event{slot: s, in: in, id: in.ID, until: until, answers: make([]runnel.Answer, len(in.Items))}
	if in.List {
		e.body = append(e.body, '[')
		for i := range in.Items {
			if i > 0 {
				e.body = append(e.body, ',')
			}
			e.body = appendEvent(e.body, in.Format, in.Items[i].Payload)
		}
		e.body = append(e.body, ']')
	} else {
		e.show(0)
	}
	s.event = e
	return nil
}

// show makes e the event of item i.
func (e *event) show(i int) {
	e.item, e.fetched = i, false
	if len(e.in.Items) > 1 && !e.in.List {
		e.id = e.in.ID + "." + strconv.Itoa(i)
	}
	e.body = e.in.Items[i].Payload
	if e.in.Format != runnel.FormatJSON {
		e.body = appendEvent(nil, e.in.Format, e.body)
	}
}

// appendEvent appends a payload as JSON, which an event always is: text is a
// string, bytes are one in base64.
func appendEvent(dst []byte, f runnel.Format, payload []byte) []byte {
	switch f {
	case runnel.FormatText:
		return appendString(dst, payload)
	case runnel.FormatBytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, payload)
		return append(dst, '"')
	default:
		return append(dst, payload...)
	}
}

func (a *runtimeAPI) send(s *slot) (written chan struct{}) {
	a.offer(s.event)
	return nil
}

// offer lets the process fetch an event.
func (a *runtimeAPI) offer(e *event) {
	a.mu.Lock()
	a.current[e.id] = e
	a.waiting = append(a.waiting, e)
	a.mu.Unlock()
	a.tell()
}

// tell wakes one poll.
func (a *runtimeAPI) tell() {
	select {
	case a.more <- struct{}{}:
	default:
	}
}

// reached says whether the process has fetched anything of the call.
func (a *runtimeAPI) reached(s *slot) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return s.event == nil || s.event.fetched || s.event.item > 0
}

// cancel ends a call of which the process knows nothing yet. The protocol has
// no word for one that it knows.
func (a *runtimeAPI) cancel(id string) {
	s := a.w.slotOf([]byte(id))
	if s == nil {
		return
	}
	a.mu.Lock()
	i := slices.Index(a.waiting, s.event)
	if i >= 0 {
		a.waiting = slices.Delete(a.waiting, i, i+1)
		delete(a.current, s.event.id)
	}
	a.mu.Unlock()
	if i >= 0 {
		a.w.finish(s, outcome{err: interrupted(errors.New("the call was given up before it began"))})
	}
}

// drain asks the process to end. Lambda has no word for it either: a process
// that handles the signal ends in its own way.
func (a *runtimeAPI) drain() { a.w.proc.signal(syscall.SIGTERM) }

// read waits until the process has ended, or has broken a rule.
func (a *runtimeAPI) read() error {
	select {
	case <-a.ended:
		return nil
	case err := <-a.broke:
		return err
	}
}

// exited lets the requests end that the process made before it ended.
func (a *runtimeAPI) exited() {
	close(a.gone)
	ctx, cancel := context.WithTimeout(context.Background(), lastWords) //nolint:forbidigo // of a process, not of a call
	defer cancel()
	_ = a.server.Shutdown(ctx)
	close(a.ended)
}

func (a *runtimeAPI) close() {
	_ = a.server.Close()
	if a.listener != nil {
		_ = a.listener.Close() // it may never have served
	}
}

// next answers with the next event.
func (a *runtimeAPI) next(rw http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	first := !a.ready
	a.ready = true
	a.mu.Unlock()
	if first {
		a.w.ready()
	}
	e := a.fetch(r.Context())
	if e == nil {
		// Nobody reads this: the process, or its connection, is gone.
		rw.WriteHeader(http.StatusGone)
		return
	}
	h := rw.Header()
	h[headerRequestID] = []string{e.id}
	until := e.until
	if until == 0 {
		until = time.Now().Add(farDeadline).UnixMilli()
	}
	h[headerDeadline] = []string{strconv.FormatInt(until, 10)}
	h[headerARN] = []string{a.w.pool.prog.arn()}
	if trace := xrayTrace(e.in.Items[e.item].Trace); trace != "" {
		h[headerTrace] = []string{trace}
	}
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(e.body))}
	if _, err := rw.Write(e.body); err != nil {
		a.again(e)
	}
}

// fetch waits for an event; nil when the one who asked is gone.
func (a *runtimeAPI) fetch(ctx context.Context) *event {
	for {
		a.mu.Lock()
		if len(a.waiting) > 0 && ctx.Err() == nil {
			e := a.waiting[0]
			a.waiting = slices.Delete(a.waiting, 0, 1)
			e.fetched = true
			left := len(a.waiting) > 0
			a.mu.Unlock()
			if left {
				a.tell()
			}
			return e
		}
		left := len(a.waiting) > 0
		a.mu.Unlock()
		if ctx.Err() != nil {
			if left {
				a.tell() // another poll's
			}
			return nil
		}
		select {
		case <-a.more:
		case <-ctx.Done():
		case <-a.gone:
			return nil
		}
	}
}

// again offers an event that did not reach the process.
func (a *runtimeAPI) again(e *event) {
	a.mu.Lock()
	if a.current[e.id] == e {
		e.fetched = false
		a.waiting = slices.Insert(a.waiting, 0, e)
	}
	a.mu.Unlock()
	a.tell()
}

// take returns the event that a request answers, once. It refuses ids that are
// not in flight: of calls that were given up, or made up.
func (a *runtimeAPI) take(rw http.ResponseWriter, r *http.Request) *event {
	id := r.PathValue("id")
	a.mu.Lock()
	e := a.current[id]
	if e != nil && !e.fetched {
		e = nil
	}
	if e != nil {
		delete(a.current, id)
	}
	a.mu.Unlock()
	if e == nil {
		refuseRuntime(rw, http.StatusBadRequest, "InvalidRequestID", "no call in flight has this id")
	}
	return e
}

func (a *runtimeAPI) response(rw http.ResponseWriter, r *http.Request) {
	e := a.take(rw, r)
	if e == nil {
		return
	}
	most := a.w.pool.prog.MaxOutput
	body, err := readLimited(r.Body, r.ContentLength, most)
	var answer runnel.Answer
	status := http.StatusAccepted
	switch {
	case errors.Is(err, errBodyTooLarge):
		status = http.StatusRequestEntityTooLarge
		answer.Err = outputTooLarge(most)
	case err != nil && a.dies():
		return // with the call in flight: its end says more
	case err != nil:
		status = http.StatusBadRequest
		answer.Err = &runnel.FunctionError{Kind: runnel.KindError, Name: "Runtime.TruncatedResponse", Message: "the function's answer broke off: " + err.Error()}
	case r.Trailer.Get(headerErrorType) != "":
		text, _ := base64.StdEncoding.DecodeString(r.Trailer.Get(headerErrorBody))
		answer.Err = lambdaError(r.Trailer.Get(headerErrorType), text)
	default:
		answer = readAnswer(r.Header.Get("Content-Type"), body)
	}
	a.settle(e, answer)
	if status != http.StatusAccepted {
		refuseRuntime(rw, status, "RequestEntityTooLarge", answer.Err.Error())
		return
	}
	accept(rw)
}

// dies says whether a process that broke off is ending, or has been told to.
func (a *runtimeAPI) dies() bool {
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-a.gone:
		return true
	case <-timer.C:
	}
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	return a.w.killed
}

func (a *runtimeAPI) invocationError(rw http.ResponseWriter, r *http.Request) {
	e := a.take(rw, r)
	if e == nil {
		return
	}
	body, _ := readLimited(r.Body, r.ContentLength, maxError)
	a.settle(e, runnel.Answer{Err: lambdaError(r.Header.Get(headerErrorType), body)})
	accept(rw)
}

func (a *runtimeAPI) initError(rw http.ResponseWriter, r *http.Request) {
	body, _ := readLimited(r.Body, r.ContentLength, maxError)
	a.mu.Lock()
	first := !a.ready
	a.ready = true
	a.mu.Unlock()
	if first {
		a.w.loaded <- a.w.mask.err(lambdaError(r.Header.Get(headerErrorType), body))
	}
	accept(rw)
}

// settle notes the answer to an event, and goes on with the next item, or ends
// the call.
func (a *runtimeAPI) settle(e *event, answer runnel.Answer) {
	if e.in.List {
		answers, err := splitList(answer, len(e.in.Items))
		a.w.finish(e.slot, outcome{answers: answers, err: err})
		return
	}
	e.answers[e.item] = answer
	if e.item+1 == len(e.in.Items) {
		a.w.finish(e.slot, outcome{answers: e.answers})
		return
	}
	a.mu.Lock()
	e.show(e.item + 1)
	a.mu.Unlock()
	a.offer(e)
}

// splitList makes one answer per item of the answer to a list.
func splitList(a runnel.Answer, n int) ([]runnel.Answer, error) {
	if a.Err != nil {
		return nil, a.Err
	}
	var values []json.RawMessage
	if a.Format != runnel.FormatJSON || json.Unmarshal(a.Payload, &values) != nil || len(values) != n {
		return nil, &runnel.FunctionError{
			Kind:    runnel.KindOutput,
			Message: fmt.Sprintf("the function takes a list of %d, and did not return a list of as many: %s", n, excerpt(a.Payload)),
		}
	}
	out := make([]runnel.Answer, n)
	for i, v := range values {
		if string(v) == "null" {
			out[i].Format = runnel.FormatNone
			continue
		}
		out[i].Payload = v
	}
	return out, nil
}

// readAnswer finds out what a body is. Clients say application/json; programs
// that post with curl say anything.
func readAnswer(contentType string, body []byte) runnel.Answer {
	media, _, _ := strings.Cut(contentType, ";")
	switch media = strings.ToLower(strings.TrimSpace(media)); {
	case len(body) == 0:
		return runnel.Answer{Format: runnel.FormatNone}
	case media == "application/octet-stream":
		return runnel.Answer{Format: runnel.FormatBytes, Payload: body}
	case media == "text/plain" && utf8.Valid(body):
		return runnel.Answer{Format: runnel.FormatText, Payload: body}
	case json.Valid(body):
		body = bytes.TrimSpace(body)
		if string(body) == "null" {
			return runnel.Answer{Format: runnel.FormatNone}
		}
		return runnel.Answer{Format: runnel.FormatJSON, Payload: body}
	case media == "application/json":
		return runnel.Answer{Err: &runnel.FunctionError{Kind: runnel.KindOutput, Message: "the function's answer is not the JSON that it says it is: " + excerpt(body)}}
	case utf8.Valid(body):
		return runnel.Answer{Format: runnel.FormatText, Payload: body}
	default:
		return runnel.Answer{Format: runnel.FormatBytes, Payload: body}
	}
}

// lambdaError is the failure that a runtime reports. Frames of the stack are
// objects in Go, and text in Python and Node.
func lambdaError(kind string, body []byte) error {
	var e struct {
		Message string            `json:"errorMessage"`
		Type    string            `json:"errorType"`
		Stack   []json.RawMessage `json:"stackTrace"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		e.Message = clean(body[:min(len(body), excerptBytes)])
	}
	if e.Type == "" {
		e.Type = kind
	}
	var stack []string
	for _, frame := range e.Stack {
		var text string
		var at struct {
			Path, Label string
			Line        int
		}
		switch {
		case json.Unmarshal(frame, &text) == nil:
			stack = append(stack, strings.TrimRight(text, "\n"))
		case json.Unmarshal(frame, &at) == nil:
			stack = append(stack, fmt.Sprintf("%s\n\t%s:%d", at.Label, at.Path, at.Line))
		}
	}
	return &runnel.FunctionError{Kind: runnel.KindError, Name: e.Type, Message: e.Message, Stack: strings.Join(stack, "\n")}
}

var errBodyTooLarge = errors.New("the body is too large")

// accept is what every answer of a runtime is answered with: a client ends its
// process on anything else.
func accept(rw http.ResponseWriter) {
	rw.Header()["Content-Type"] = []string{"application/json"}
	rw.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(rw, `{"status":"OK"}`) // a process that left is not told
}

func refuseRuntime(rw http.ResponseWriter, status int, kind, message string) {
	rw.Header()["Content-Type"] = []string{"application/json"}
	rw.WriteHeader(status)
	text, _ := json.Marshal(map[string]string{"errorType": kind, "errorMessage": message})
	_, _ = rw.Write(text)
}

// arn is a made-up name in Lambda's form, which handlers may take apart.
func (p *Program) arn() string {
	_, name, _ := strings.Cut(p.Function, "/")
	return "arn:aws:lambda:us-east-1:000000000000:function:" + name + ":" + p.Version
}

// xrayTrace turns a W3C traceparent into the header of AWS X-Ray; empty where
// there is none.
func xrayTrace(traceparent string) string {
	parts := strings.Split(traceparent, "-")
	if len(parts) != 4 || len(parts[1]) != 32 {
		return ""
	}
	sampled := "0"
	if flags, err := strconv.ParseUint(parts[3], 16, 8); err == nil && flags&1 == 1 {
		sampled = "1"
	}
	return "Root=1-" + parts[1][:8] + "-" + parts[1][8:] + ";Parent=" + parts[2] + ";Sampled=" + sampled
}
