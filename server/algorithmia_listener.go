package server

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/algorithmia"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/catalog"
)

// listener is what a flow is to clients of Algorithmia's event listeners, as far
// as the flow does not say it itself.
type listener struct {
	// ID is a UUID.
	ID string `json:"id"`
	// SourceType and SourceURI are as the client wrote them, and From is what
	// they stood for: where the flow reads from elsewhere by now, they are of no
	// use.
	SourceType string     `json:"source_type"`
	SourceURI  string     `json:"source_uri"`
	From       runnel.Ref `json:"from"`
	// Credentials are for the source, and sealed. Those for a queue of our own are
	// kept and not used.
	Credentials []byte `json:"credentials,omitempty"`
	// Version is as the client wrote it, and Call what it stood for.
	Version string `json:"version,omitempty"`
	Call    string `json:"call"`
}

// listenerIDs is the namespace of the ids of flows that have none: they are
// UUIDs, version 5, of ACCOUNT/NAME.
var listenerIDs = uuid.MustParse("2a5c1a5e-6d0a-5f0b-9d4e-5b1f7a4c9e61")

// id returns what the flow is to clients of Algorithmia.
func (r flowRecord) id() string {
	if r.Listener != nil {
		return r.Listener.ID
	}
	return uuid.NewSHA1(listenerIDs, []byte(r.name())).String()
}

// defaultFunctionTimeout is that of a function about which nothing was said.
const defaultFunctionTimeout = 30 * time.Second

// listenerAPI is the flows as event listeners.
type listenerAPI struct {
	*applier
	vault     *vault
	publicURL string
	addr      string
}

var _ algorithmia.Listeners = listenerAPI{}

// listenerAPI returns the flows as event listeners.
func (s *Server) listenerAPI() listenerAPI {
	return listenerAPI{applier: s.applier, vault: s.functions.vault, publicURL: s.cfg.PublicURL, addr: s.Addr()}
}

// Owner implements algorithmia.Listeners.
func (a listenerAPI) Owner(ctx context.Context, user string) (string, error) {
	account, err := accountOf(ctx, a.flows.catalog, user)
	return account.Name, err
}

// List implements algorithmia.Listeners.
func (a listenerAPI) List(ctx context.Context, account, base string) ([]algorithmia.Listener, error) {
	var out []algorithmia.Listener
	for _, f := range a.flows.all(account) {
		out = append(out, a.describe(ctx, f, base))
	}
	return out, nil
}

// Find implements algorithmia.Listeners.
func (a listenerAPI) Find(ctx context.Context, account, id, base string) (algorithmia.Listener, error) {
	f, err := a.find(account, id)
	if err != nil {
		return algorithmia.Listener{}, err
	}
	return a.describe(ctx, f, base), nil
}

func (a listenerAPI) find(account, id string) (*flow, error) {
	for _, f := range a.flows.all(account) {
		if f.record().id() == id {
			return f, nil
		}
	}
	return nil, runnel.Errorf(runnel.CodeNotFound, "there is no event listener %s", id)
}

// describe returns a flow as a listener.
func (a listenerAPI) describe(ctx context.Context, f *flow, base string) algorithmia.Listener {
	rec := f.record()
	def := rec.Flow.WithDefaults()
	called, version, _ := strings.Cut(def.Call, "@")
	owner, name, _ := strings.Cut(called, "/")
	out := algorithmia.Listener{
		ID: rec.id(), SourceType: algorithmia.SourceRunnelQueue, SourceURI: string(def.From),
		AlgoOwner: owner, AlgoName: name, AlgoVersion: cmp.Or(version, "live"),
		ListenerOwner: rec.Account, Flow: def.Name,
		WhenBusy: string(def.WhenBusy), RequeueDelaySeconds: seconds(def.RequeueDelay), AckMode: string(def.Ack),
		MaxReceives: def.Retry.MaxAttempts, AlgoTimeoutSeconds: seconds(a.timeout(called, def.Timeout)),
	}
	_, out.DeadLetterQueue, _ = def.DeadLetter.Split()
	f.mu.Lock()
	out.Enabled = !f.paused
	f.mu.Unlock()
	if _, queueName, err := def.From.Split(); err == nil {
		id := catalog.DefaultAccountID
		if account, err := a.flows.catalog.Account(ctx, rec.Account); err == nil {
			id = account.ID
		}
		out.SourceURI = cmp.Or(strings.TrimRight(a.publicURL, "/"), base) + "/" + id + "/" + queueName
	}
	l := rec.Listener
	if l == nil {
		return out
	}
	if l.From == def.From {
		out.SourceType, out.SourceURI = l.SourceType, l.SourceURI
	}
	if l.Call == def.Call {
		out.AlgoVersion = cmp.Or(l.Version, "latest")
	}
	out.Credentials = a.credentials(rec)
	return out
}

// timeout is how long a call of a flow may take: its own timeout, which that of
// the function bounds, or the latter.
func (a listenerAPI) timeout(function string, own time.Duration) time.Duration {
	if own > 0 {
		return own
	}
	info, err := a.functions.set.Get(function)
	if err != nil { // a Go handler, which has none
		return 0
	}
	return cmp.Or(info.Definition.Timeout, defaultFunctionTimeout)
}

// seconds rounds up: what is shorter than a second is no 0.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// credentials opens those of a listener; empty where they do not open.
func (a listenerAPI) credentials(rec flowRecord) string {
	if len(rec.Listener.Credentials) == 0 {
		return ""
	}
	ring, err := a.vault.ring(false)
	if err != nil {
		a.flows.log.Error("the credentials of a listener cannot be read", "flow", rec.Flow.Name, "err", err)
		return ""
	}
	text, err := a.vault.open(ring, "the credentials of a listener", rec.Listener.Credentials, kindFlow, rec.Account, rec.Listener.ID)
	if err != nil {
		a.flows.log.Error("the credentials of a listener cannot be read", "flow", rec.Flow.Name, "err", err)
	}
	return text
}

// Put implements algorithmia.Listeners.
func (a listenerAPI) Put(ctx context.Context, caller auth.Caller, account, id, base string, in algorithmia.ListenerRequest) (algorithmia.Listener, error) {
	done, err := a.take(ctx)
	if err != nil {
		return algorithmia.Listener{}, err
	}
	defer done()
	owner, err := accountOf(ctx, a.flows.catalog, account)
	if err != nil {
		return algorithmia.Listener{}, err
	}
	rec := flowRecord{Account: account}
	if id == "" {
		if rec, err = a.newListener(ctx, account, in.AlgoName); err != nil {
			return algorithmia.Listener{}, err
		}
	} else {
		f, err := a.find(account, id)
		if err != nil {
			return algorithmia.Listener{}, err
		}
		if rec, _, err = a.flows.stored(ctx, f.record().name()); err != nil {
			return algorithmia.Listener{}, err
		}
		if err := ownedBy("flow", rec.Flow.Name, rec.File, ""); err != nil {
			return algorithmia.Listener{}, err
		}
	}
	l := &listener{ID: rec.id(), SourceType: in.SourceType, SourceURI: in.SourceURI, Version: in.AlgoVersion}
	if l.From, err = a.source(owner, in, base); err != nil {
		return algorithmia.Listener{}, err
	}
	if l.Call, err = a.call(caller, account, in); err != nil {
		return algorithmia.Listener{}, err
	}
	if in.Credentials != "" {
		ring, err := a.vault.ring(true)
		if err != nil {
			return algorithmia.Listener{}, err
		}
		l.Credentials = ring.Seal([]byte(in.Credentials), kindFlow, account, l.ID)
	}
	rec.Listener = l
	a.fill(&rec, in)
	if rec.Flow, err = a.flows.complete(ctx, account, rec.Flow); err != nil {
		return algorithmia.Listener{}, asInvalid("event listener", err)
	}
	if in.Enabled != nil && id == "" {
		rec.Paused = !*in.Enabled
	}
	if _, err := a.flows.put(ctx, rec); err != nil {
		return algorithmia.Listener{}, err
	}
	if in.Enabled != nil {
		if err := a.flows.pause(ctx, account, rec.Flow.Name, !*in.Enabled); err != nil {
			return algorithmia.Listener{}, err
		}
	}
	return a.Find(ctx, account, l.ID, base)
}

// asInvalid makes an error the fault of the request. What is wrong with the server
// stays as it is.
func asInvalid(what string, err error) error {
	var coded *runnel.Error
	var field *runnel.FieldError
	switch {
	case errors.As(err, &coded) && (coded.Code == runnel.CodeInternal || coded.Code == runnel.CodeUnavailable):
		return err
	case coded == nil && !errors.As(err, &field):
		return err
	}
	return runnel.Errorf(runnel.CodeInvalid, "%s: %v", what, err)
}

// newListener returns a flow that does not exist yet, with an id.
func (a listenerAPI) newListener(ctx context.Context, account, function string) (flowRecord, error) {
	// A name that is none is no function's either, which is told later.
	base := strings.Map(func(c rune) rune {
		if c < 128 && (c == '-' || c == '_' || c >= '0' && c <= '9' || c|' ' >= 'a' && c|' ' <= 'z') {
			return c
		}
		return '-'
	}, function)
	for {
		id := uuid.NewString()
		rec := flowRecord{
			Account: account, Listener: &listener{ID: id},
			Flow: runnel.Flow{Name: base[:min(len(base), 40)] + "-" + id[:8], Payload: runnel.PayloadAlgorithm},
		}
		if _, version, err := a.flows.stored(ctx, rec.name()); err != nil || version == 0 {
			return rec, err
		}
	}
}

// fill gives a flow what the request says, and the defaults of listeners.
func (a listenerAPI) fill(rec *flowRecord, in algorithmia.ListenerRequest) {
	f := &rec.Flow
	f.From, f.Call = rec.Listener.From, rec.Listener.Call
	f.Timeout = algorithmia.DefaultListenerTimeout
	if in.AlgoTimeoutSeconds != nil {
		f.Timeout = time.Duration(*in.AlgoTimeoutSeconds) * time.Second
	}
	f.WhenBusy, f.Ack, f.RequeueDelay = runnel.WhenBusy(in.WhenBusy), runnel.AckMode(in.AckMode), 0
	if in.RequeueDelaySeconds != nil {
		f.RequeueDelay = time.Duration(*in.RequeueDelaySeconds) * time.Second
	}
	f.DeadLetter, f.Retry.MaxAttempts = "", algorithmia.DefaultMaxReceives
	if in.DeadLetterQueue != "" {
		f.DeadLetter = runnel.Ref("queue:" + in.DeadLetterQueue)
	}
	if q, err := a.flows.source(*rec); err == nil {
		if s, _ := q.Settings(); s.DeadLetter != nil {
			f.Retry.MaxAttempts = cmp.Or(s.DeadLetter.MaxReceives, algorithmia.DefaultMaxReceives)
		}
	}
	if in.MaxReceives != nil {
		f.Retry.MaxAttempts = *in.MaxReceives
	}
}

// source returns what a source URI stands for: told apart by its host.
func (a listenerAPI) source(owner catalog.Account, in algorithmia.ListenerRequest, base string) (runnel.Ref, error) {
	bad := func(format string, args ...any) (runnel.Ref, error) {
		return "", runnel.Errorf(runnel.CodeInvalid, "event listener: "+format, args...)
	}
	const own = "this release listens to the queues of this server: the URL of one, its ARN, or queue:NAME"
	switch in.SourceType {
	case algorithmia.SourceAmazonSQS, algorithmia.SourceRunnelQueue:
	case algorithmia.SourceAzureSB:
		return bad("sourceType %s is not in this release; %s", in.SourceType, own)
	default:
		return bad("sourceType %.40q is none: want %s for a queue of this server", in.SourceType, algorithmia.SourceAmazonSQS)
	}
	uri := in.SourceURI
	id, name := owner.ID, ""
	switch {
	case strings.HasPrefix(uri, "queue:"):
		name = strings.TrimPrefix(uri, "queue:")
	case strings.HasPrefix(uri, "arn:"):
		parts := strings.Split(uri, ":")
		if len(parts) != 6 || parts[2] != "sqs" {
			return bad("sourceURI %q is not the ARN of a queue, as in arn:aws:sqs:us-east-1:000000000000:images", uri)
		}
		if id, name = parts[4], parts[5]; id != owner.ID {
			return bad("sourceURI %q is no queue of the account %s, whose ARNs have %s; %s", uri, owner.Name, owner.ID, own)
		}
	default:
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return bad("sourceURI %q is not the URL of a queue; %s", uri, own)
		}
		host := strings.ToLower(u.Hostname())
		switch {
		case a.isOurs(host, base):
		case strings.HasSuffix(host, ".amazonaws.com"), strings.HasSuffix(host, ".amazonaws.com.cn"):
			return bad("sourceURI %q is a queue of Amazon's, which is not in this release; %s", uri, own)
		case strings.HasSuffix(host, ".servicebus.windows.net"):
			return bad("sourceURI %q is of Azure Service Bus, which is not in this release; %s", uri, own)
		default:
			return bad("sourceURI %q is on neither this server, which is %s, nor Amazon SQS; %s", uri, cmp.Or(a.publicURL, base), own)
		}
		segments := strings.Split(strings.Trim(u.Path, "/"), "/")
		if len(segments) < 2 {
			return bad("sourceURI %q has no queue: want %s/%s/NAME", uri, cmp.Or(strings.TrimRight(a.publicURL, "/"), base), owner.ID)
		}
		id, name = segments[len(segments)-2], segments[len(segments)-1]
		if id != owner.ID && id != owner.Name {
			return bad("sourceURI %q is no queue of the account %s, whose URLs have %s", uri, owner.Name, owner.ID)
		}
	}
	if !runnel.IsQueueName(name) {
		return bad("sourceURI %q: %.80q is not the name of a queue", uri, name)
	}
	return runnel.Ref("queue:" + name), nil
}

// isOurs says whether a host is this server: as the client calls it, as it is
// published, where it listens, or this machine.
func (a listenerAPI) isOurs(host, base string) bool {
	if ip := net.ParseIP(host); ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	for _, own := range []string{base, a.publicURL, "http://" + a.addr} {
		if u, err := url.Parse(own); err == nil && u.Hostname() != "" && strings.EqualFold(u.Hostname(), host) {
			return true
		}
	}
	return false
}

// call returns what a listener of an account calls. Who may not call an algorithm
// is told that there is none, as for one that does not exist.
func (a listenerAPI) call(caller auth.Caller, account string, in algorithmia.ListenerRequest) (string, error) {
	name := in.AlgoOwner + "/" + in.AlgoName
	none := runnel.Errorf(runnel.CodeInvalid, "event listener: there is no algorithm %.200s", name)
	own := in.AlgoOwner == account || caller.Admin || account == caller.Account && caller.Owns(in.AlgoOwner)
	if strings.Count(name, "/") != 1 || strings.Contains(name, "@") || !caller.Calls(name) {
		return "", none
	}
	if a.functions.goHandler(name) != nil && own {
		if in.AlgoVersion != "" {
			return "", runnel.Errorf(runnel.CodeInvalid, "event listener: %s is part of the program that the server is in, and has no versions: leave algoVersion out", name)
		}
		return name, nil
	}
	if _, err := a.functions.set.Get(name); err != nil {
		return "", none
	}
	ref := name + "@" + cmp.Or(in.AlgoVersion, "latest")
	version, err := a.functions.set.Version(name, cmp.Or(in.AlgoVersion, "latest"))
	public := err == nil && version.Release != nil && version.Release.Public
	switch {
	case err != nil && !own, err == nil && !own && !public:
		return "", none
	case err != nil && in.AlgoVersion == "":
		return "", runnel.Errorf(runnel.CodeInvalid, "event listener: %s was never published publicly, so algoVersion must say which version: a semantic version as in 0.1.0, the hash of a version, or latestPrivate", name)
	case err != nil:
		return "", asInvalid("event listener", err)
	}
	return ref, nil
}

// Delete implements algorithmia.Listeners.
func (a listenerAPI) Delete(ctx context.Context, account, id string) error {
	done, err := a.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	f, err := a.find(account, id)
	if err != nil {
		return err
	}
	rec := f.record()
	if err := ownedBy("flow", rec.Flow.Name, rec.File, ""); err != nil {
		return err
	}
	return a.flows.remove(ctx, rec.name())
}
