package algorithmia

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Event listeners are flows, as Algorithmia's clients know them:
//
//	GET POST        /v1/users/{user}/event-listeners
//	GET PUT DELETE  /v1/users/{user}/event-listeners/{listener}
//	GET             /v1/admin/event-listeners
//
// {user} is the UUID of an account, as in Algorithmia, or its name. A standard key
// that may use queues has those of its account and of the organisations that this
// is a member of; an admin key has all. The key that a
// function has while it runs has none.
//
// A list is a bare array, and a page {"marker","next_link","results"} where limit
// or marker are given. PUT takes what POST takes. What is read only in an answer
// (id, listenerOwner, flow) may stand in a request, and is not looked at; other
// unknown fields are refused.
//
// Differences: sources of this release are this server's own queues; credentials
// may be empty for these. whenBusy, requeueDelaySeconds, ackMode, maxReceives,
// deadLetterQueue, enabled and flow are ours, and so is the list of all listeners.
// Flows that were made by other doors are listed with the sourceType RunnelQueue.

// Listeners is what this part of the API wants of the server. A listener that
// does not exist is CodeNotFound. base is the URL by which the client reaches the
// server.
type Listeners interface {
	// Owner returns the account with this UUID or name, or CodeNotFound.
	Owner(ctx context.Context, user string) (string, error)
	// List returns the listeners of an account, of all where it is empty.
	List(ctx context.Context, account, base string) ([]Listener, error)
	// Find returns one of an account.
	Find(ctx context.Context, account, id, base string) (Listener, error)
	// Put makes a listener of an account, or changes the one with this id. It is
	// CodeInvalid where the request names what does not exist, or is not the
	// account's, and CodeConflict where a spec file owns the flow.
	Put(ctx context.Context, caller auth.Caller, account, id, base string, in ListenerRequest) (Listener, error)
	// Delete drains the flow and removes it.
	Delete(ctx context.Context, account, id string) error
}

// ListenerRequest asks for a listener.
type ListenerRequest struct {
	SourceType  string `json:"sourceType"`
	SourceURI   string `json:"sourceURI"`
	AlgoOwner   string `json:"algoOwner"`
	AlgoName    string `json:"algoName"`
	AlgoVersion string `json:"algoVersion"`
	Credentials string `json:"credentials"`
	// AlgoTimeoutSeconds is 1 to 43,200; nil: DefaultListenerTimeout.
	AlgoTimeoutSeconds *int `json:"algoTimeoutSeconds"`

	// WhenBusy is wait (default) or requeue, RequeueDelaySeconds when a message
	// comes again with that: 1 to 43,200, 300 where it is nil.
	WhenBusy            string `json:"whenBusy"`
	RequeueDelaySeconds *int   `json:"requeueDelaySeconds"`
	// AckMode is done (default) or accepted.
	AckMode string `json:"ackMode"`
	// MaxReceives is how many attempts a message has, 1 to 1000, and
	// DeadLetterQueue the name of the queue where it goes then. Default: those of
	// the source's own redrive policy, or else DefaultMaxReceives and a queue of
	// the listener's own.
	MaxReceives     *int   `json:"maxReceives"`
	DeadLetterQueue string `json:"deadLetterQueue"`
	// Enabled is false where nothing is to be received. nil: true; in a change: as
	// it is.
	Enabled *bool `json:"enabled"`
}

// What a listener has where nothing is said.
const (
	DefaultListenerTimeout = 420 * time.Second
	DefaultMaxReceives     = 10
)

// Source types. The last is that of flows which were not made here.
const (
	SourceAmazonSQS   = "AmazonSQS"
	SourceAzureSB     = "AzureSB"
	SourceRunnelQueue = "RunnelQueue"
)

// Listener is one as it is answered.
type Listener struct {
	ID                 string `json:"id"`
	SourceType         string `json:"sourceType"`
	SourceURI          string `json:"sourceURI"`
	AlgoOwner          string `json:"algoOwner"`
	AlgoName           string `json:"algoName"`
	AlgoVersion        string `json:"algoVersion"`
	AlgoTimeoutSeconds int    `json:"algoTimeoutSeconds"`
	ListenerOwner      string `json:"listenerOwner"`
	Credentials        string `json:"credentials"`

	WhenBusy            string `json:"whenBusy"`
	RequeueDelaySeconds int    `json:"requeueDelaySeconds"`
	AckMode             string `json:"ackMode"`
	MaxReceives         int    `json:"maxReceives"`
	DeadLetterQueue     string `json:"deadLetterQueue"`
	Enabled             bool   `json:"enabled"`
	// Flow is the name of the flow that the listener is.
	Flow string `json:"flow"`
}

// readOnly are the fields of an answer that a request may repeat.
type readOnly struct {
	ID            any `json:"id"`
	ListenerOwner any `json:"listenerOwner"`
	Flow          any `json:"flow"`
}

// numberUserUnknown is Algorithmia's number of an account that does not exist.
const numberUserUnknown = 3000

// maxText is the longest text of a request, in bytes.
const maxText = 255

// maxListenerSeconds is the longest timeout and delay of a flow.
const maxListenerSeconds = 12 * 60 * 60

func (d *Door) listenerRoutes() []Route {
	const all, one = "/v1/users/{user}/event-listeners", "/v1/users/{user}/event-listeners/{listener}"
	return []Route{
		{Method: "GET", Pattern: all, serve: d.listListeners},
		{Method: "POST", Pattern: all, serve: d.createListener},
		{Method: "GET", Pattern: one, serve: d.findListener},
		{Method: "PUT", Pattern: one, serve: d.changeListener},
		{Method: "DELETE", Pattern: one, serve: d.deleteListener},
		{Method: "GET", Pattern: "/v1/admin/event-listeners", Admin: true, serve: d.listAllListeners},
	}
}

// listenersOf returns the account of the path, if its listeners are the
// caller's.
func (d *Door) listenersOf(r *request) (string, error) {
	if d.Listeners == nil {
		return "", unsupported("event listeners")
	}
	if r.caller.Function != "" { // it would connect what is its caller's
		return "", runnel.Errorf(runnel.CodeDenied, "a function's own key may not use event listeners")
	}
	if !r.caller.Queues() {
		return "", runnel.Errorf(runnel.CodeDenied, "this key may not use queues and event listeners")
	}
	account, err := d.Listeners.Owner(r.Context(), r.value("user"))
	switch {
	case err == nil && r.caller.Owns(account):
		return account, nil
	case runnel.CodeOf(err) == runnel.CodeNotFound && r.caller.Admin:
		return "", fault(http.StatusNotFound, numberUserUnknown, err)
	case err != nil && runnel.CodeOf(err) != runnel.CodeNotFound:
		return "", fmt.Errorf("find the account: %w", err)
	}
	// Others are not told which accounts there are.
	return "", runnel.Errorf(runnel.CodeDenied, "the event listeners of %.80q are not those of this key's account", r.value("user"))
}

// baseOf is the URL that a request was made to, whatever the server is called
// otherwise: a queue may be named by it.
func baseOf(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (d *Door) listListeners(w http.ResponseWriter, r *request) error {
	account, err := d.listenersOf(r)
	if err != nil {
		return err
	}
	return d.answerListeners(w, r, account)
}

func (d *Door) listAllListeners(w http.ResponseWriter, r *request) error {
	if d.Listeners == nil {
		return unsupported("event listeners")
	}
	return d.answerListeners(w, r, "")
}

func (d *Door) answerListeners(w http.ResponseWriter, r *request, account string) error {
	all, err := d.Listeners.List(r.Context(), account, baseOf(r.Request))
	if err != nil {
		return fmt.Errorf("list event listeners: %w", err)
	}
	slices.SortFunc(all, func(a, b Listener) int { return cmp.Compare(a.ID, b.ID) })
	if query := r.URL.Query(); !query.Has("limit") && !query.Has("marker") {
		writeJSON(w, http.StatusOK, append([]Listener{}, all...))
		return nil
	}
	page, err := paged(d, r, "listener", all, lowestFirst, func(l Listener) string { return l.ID })
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, page)
	return nil
}

func (d *Door) createListener(w http.ResponseWriter, r *request) error {
	return d.putListener(w, r, "")
}

func (d *Door) changeListener(w http.ResponseWriter, r *request) error {
	return d.putListener(w, r, r.value("listener"))
}

func (d *Door) putListener(w http.ResponseWriter, r *request, id string) error {
	account, err := d.listenersOf(r)
	if err != nil {
		return err
	}
	if id != "" { // what does not exist is told before what is wrong with it
		if id, err = listenerID(r); err != nil {
			return err
		}
		if _, err := d.Listeners.Find(r.Context(), account, id, baseOf(r.Request)); err != nil {
			return err
		}
	}
	in, err := decodeListener(r.body)
	if err != nil {
		return err
	}
	l, err := d.Listeners.Put(r.Context(), r.caller, account, id, baseOf(r.Request), in)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, l)
	return nil
}

// listener returns the account and the id that a request names.
func (d *Door) listener(r *request) (account, id string, err error) {
	if account, err = d.listenersOf(r); err != nil {
		return "", "", err
	}
	id, err = listenerID(r)
	return account, id, err
}

func (d *Door) findListener(w http.ResponseWriter, r *request) error {
	account, id, err := d.listener(r)
	if err != nil {
		return err
	}
	l, err := d.Listeners.Find(r.Context(), account, id, baseOf(r.Request))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, l)
	return nil
}

func (d *Door) deleteListener(w http.ResponseWriter, r *request) error {
	account, id, err := d.listener(r)
	if err != nil {
		return err
	}
	if err := d.Listeners.Delete(r.Context(), account, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// listenerID returns the id of the path in its one form.
func listenerID(r *request) (string, error) {
	id, err := uuid.Parse(r.value("listener"))
	if err != nil || len(r.value("listener")) != 36 {
		return "", runnel.Errorf(runnel.CodeNotFound, "there is no event listener %.80q: want a UUID", r.value("listener"))
	}
	return id.String(), nil
}

// decodeListener reads a request, and says all that is wrong with its form.
func decodeListener(body []byte) (ListenerRequest, error) {
	var in struct {
		ListenerRequest
		readOnly
	}
	if err := decode(body, &in); err != nil {
		return in.ListenerRequest, err
	}
	strict := json.NewDecoder(bytes.NewReader(body))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&in); err != nil && !errors.Is(err, io.EOF) {
		return in.ListenerRequest, badListener(strings.TrimPrefix(err.Error(), "json: "))
	}
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, f := range []struct {
		name, value string
		needed      bool
	}{
		{"sourceType", in.SourceType, true}, {"sourceURI", in.SourceURI, true}, {"algoOwner", in.AlgoOwner, true}, {"algoName", in.AlgoName, true},
		{"algoVersion", in.AlgoVersion, false}, {"credentials", in.Credentials, false}, {"deadLetterQueue", in.DeadLetterQueue, false},
	} {
		switch {
		case len(f.value) > maxText:
			fault("%s is longer than %d bytes", f.name, maxText)
		case f.needed && f.value == "":
			fault("%s is missing", f.name)
		}
	}
	for _, f := range []struct {
		name  string
		value *int
		most  int
	}{
		{"algoTimeoutSeconds", in.AlgoTimeoutSeconds, maxListenerSeconds}, {"requeueDelaySeconds", in.RequeueDelaySeconds, maxListenerSeconds},
		{"maxReceives", in.MaxReceives, 1000},
	} {
		if f.value != nil && (*f.value < 1 || *f.value > f.most) {
			fault("%s: %d is not between 1 and %d", f.name, *f.value, f.most)
		}
	}
	if in.WhenBusy != "" && in.WhenBusy != string(runnel.BusyWait) && in.WhenBusy != string(runnel.BusyRequeue) {
		fault("whenBusy: %.40q is not wait or requeue", in.WhenBusy)
	}
	if in.AckMode != "" && in.AckMode != string(runnel.AckWhenDone) && in.AckMode != string(runnel.AckWhenAccepted) {
		fault("ackMode: %.40q is not done or accepted", in.AckMode)
	}
	if len(faults) > 0 {
		return in.ListenerRequest, badListener(strings.Join(faults, "; "))
	}
	return in.ListenerRequest, nil
}

func badListener(text string) error {
	return fault(http.StatusBadRequest, numberInvalidRequest, runnel.Errorf(runnel.CodeInvalid, "event listener: %s", text))
}
