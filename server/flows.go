package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/internal/queue"
)

// flows are the flows of a server. What is stored in the catalog is what
// should run; what runs follows it.
type flows struct {
	catalog      *catalog.Catalog
	queues       *queue.Set
	templates    *templates
	functions    *functions
	region       string
	sessionLimit int
	drain        time.Duration
	log          *slog.Logger
	logs         *logs
	room         func() error  // why the disk takes nothing new
	begun        chan struct{} // closed when run has launched what is stored, or failed
	ended        chan struct{} // closed when run has returned

	// changing is held from the check of a change until what runs has followed.
	changing sync.Mutex

	mu       sync.Mutex  // guards all below
	start    func(*flow) // nil while the server does not run
	running  map[string]*flow
	sessions map[string]*dispatch.Slots // by account
}

// kindFlow is the catalog's kind of flows; names are ACCOUNT/NAME.
const kindFlow = "flow"

// run starts the stored flows, and returns when ctx has ended and all have
// drained.
func (fs *flows) run(ctx context.Context) error {
	defer close(fs.ended)
	begun := sync.OnceFunc(func() { close(fs.begun) })
	defer begun()
	var all sync.WaitGroup
	start := func(f *flow) {
		ctx, stop := context.WithCancel(ctx)
		f.stop = stop
		all.Add(1)
		go func() {
			defer all.Done()
			defer stop()
			f.run(ctx)
		}()
	}
	// One that is put after the records were read, and before start is set,
	// would never run.
	fs.changing.Lock()
	records, err := fs.records(context.WithoutCancel(ctx))
	if err != nil {
		fs.changing.Unlock()
		return err
	}
	if err := fs.letGoOfAll(context.WithoutCancel(ctx), records); err != nil {
		fs.changing.Unlock()
		return err
	}
	fs.mu.Lock()
	fs.start = start
	fs.mu.Unlock()
	for _, rec := range records {
		fs.launch(rec)
	}
	fs.changing.Unlock()
	begun()
	<-ctx.Done()
	fs.changing.Lock()
	fs.mu.Lock()
	fs.start = nil
	fs.mu.Unlock()
	fs.changing.Unlock()
	all.Wait()
	return nil
}

// launch starts a flow. Caller holds changing.
func (fs *flows) launch(rec flowRecord) {
	f := &flow{
		rec: rec, paused: rec.Paused, done: make(chan struct{}), again: make(chan struct{}, 1),
		open: func(ctx context.Context) (*opened, error) { return fs.open(ctx, rec) },
		log:  fs.logger(rec.Account).With("flow", rec.Flow.Name, "function", rec.Flow.Call),
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.running == nil {
		fs.running = make(map[string]*flow)
	}
	fs.running[rec.name()] = f
	if fs.start == nil {
		close(f.done)
		f.stop = func() {}
		return
	}
	fs.start(f)
}

// logger is the log of what becomes of an account's flows. Their lines are kept
// for those who may see the account.
func (fs *flows) logger(account string) *slog.Logger {
	return slog.New(&tee{Handler: fs.log.Handler(), logs: fs.logs, account: account})
}

// wake lets flows that do not run look again, since something was made.
func (fs *flows) wake() {
	for _, f := range fs.all("") {
		f.wake()
	}
}

// halt drains a flow and returns when it has ended. Caller holds changing.
func (fs *flows) halt(name string) {
	fs.mu.Lock()
	f := fs.running[name]
	fs.mu.Unlock()
	if f == nil {
		return
	}
	f.stop()
	<-f.done
	fs.mu.Lock()
	delete(fs.running, name)
	fs.mu.Unlock()
}

// flow returns a flow by its account and name.
func (fs *flows) flow(account, name string) (*flow, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f, ok := fs.running[account+"/"+name]; ok {
		return f, nil
	}
	return nil, runnel.Errorf(runnel.CodeNotFound, "there is no flow %q", name)
}

// all returns the flows of an account, by name; of all where account is empty.
func (fs *flows) all(account string) []*flow {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var out []*flow
	for _, name := range slices.Sorted(maps.Keys(fs.running)) {
		if account == "" || strings.HasPrefix(name, account+"/") {
			out = append(out, fs.running[name])
		}
	}
	return out
}

// slots are the calls that an account may have under way.
func (fs *flows) slots(account string) *dispatch.Slots {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.sessions == nil {
		fs.sessions = make(map[string]*dispatch.Slots)
	}
	s := fs.sessions[account]
	if s == nil {
		s = dispatch.NewSlots(fs.limit(account))
		fs.sessions[account] = s
	}
	return s
}

// limit is how many calls an account may have under way.
func (fs *flows) limit(account string) int {
	a, err := fs.catalog.Account(context.Background(), account)
	if err != nil { // there is none: a Go program's own, for example
		return fs.sessionLimit
	}
	return cmp.Or(a.SessionLimit, fs.sessionLimit)
}

// accountChanged gives the calls of an account the limit that it has now.
func (fs *flows) accountChanged(account string) {
	fs.mu.Lock()
	s, limit := fs.sessions[account], fs.limit(account)
	fs.mu.Unlock()
	if s != nil && s.Limit() != limit {
		s.SetLimit(limit)
	}
}

// records returns the stored flows.
func (fs *flows) records(ctx context.Context) ([]flowRecord, error) {
	documents, err := fs.catalog.List(ctx, kindFlow)
	if err != nil {
		return nil, err
	}
	out := make([]flowRecord, len(documents))
	for i, d := range documents {
		if err := json.Unmarshal(d.Value, &out[i]); err != nil {
			return nil, fmt.Errorf("read flow %s: %w", d.Name, err)
		}
	}
	return out, nil
}

// put stores a flow and makes what runs follow: a changed flow drains, and the
// new one begins where it ended. It says what it did: created, changed,
// unchanged.
func (fs *flows) put(ctx context.Context, rec flowRecord) (action string, err error) {
	fs.changing.Lock()
	defer fs.changing.Unlock()
	old, version, err := fs.stored(ctx, rec.name())
	if err != nil {
		return "", err
	}
	action = created
	if version > 0 {
		rec.Paused = old.Paused
		if same(old, rec) {
			return unchanged, nil
		}
		if action = changed; same(old.Flow, rec.Flow) {
			action = unchanged // it only changes hands
		}
	}
	if err := fs.store(ctx, rec, version); err != nil {
		return "", err
	}
	if action == unchanged {
		if f, err := fs.flow(rec.Account, rec.Flow.Name); err == nil {
			f.own(rec)
		}
		return action, nil
	}
	fs.halt(rec.name())
	if version > 0 && (rec.Flow.Ack != runnel.AckWhenAccepted || acceptedName(old) != acceptedName(rec)) {
		err = fs.letGo(ctx, old)
	}
	fs.launch(rec)
	return action, err
}

// What a change did.
const (
	created   = "created"
	changed   = "changed"
	removed   = "removed"
	unchanged = "unchanged"
)

// same compares two values by their JSON.
func same[T any](a, b T) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return errors.Join(err1, err2) == nil && string(x) == string(y)
}

// stored returns a stored flow, and its version; 0 if there is none.
func (fs *flows) stored(ctx context.Context, name string) (rec flowRecord, version uint64, err error) {
	d, err := fs.catalog.Get(ctx, kindFlow, name)
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return rec, 0, nil
	}
	if err != nil {
		return rec, 0, err
	}
	return rec, d.Version, json.Unmarshal(d.Value, &rec)
}

func (fs *flows) store(ctx context.Context, rec flowRecord, version uint64) error {
	value, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode flow %s: %w", rec.name(), err)
	}
	_, err = fs.catalog.Put(ctx, kindFlow, rec.name(), value, version)
	return err
}

// remove drains a flow and forgets it.
func (fs *flows) remove(ctx context.Context, name string) error {
	fs.changing.Lock()
	defer fs.changing.Unlock()
	rec, version, err := fs.stored(ctx, name)
	if err != nil {
		return err
	}
	if version == 0 {
		_, short, _ := strings.Cut(name, "/")
		return runnel.Errorf(runnel.CodeNotFound, "there is no flow %q", short)
	}
	if err := fs.catalog.Delete(ctx, kindFlow, name, version); err != nil {
		return err
	}
	fs.halt(name)
	return fs.letGo(ctx, rec)
}

// pause pauses or resumes a flow, and remembers it.
func (fs *flows) pause(ctx context.Context, account, name string, paused bool) error {
	fs.changing.Lock()
	defer fs.changing.Unlock()
	f, err := fs.flow(account, name)
	if err != nil {
		return err
	}
	rec, version, err := fs.stored(ctx, account+"/"+name)
	if err != nil {
		return err
	}
	if rec.Paused != paused {
		rec.Paused = paused
		if err := fs.store(ctx, rec, version); err != nil {
			return err
		}
	}
	f.pause(paused)
	return nil
}

// usersOf says which flows use a queue.
func usersOf(name queue.Name, flows []flowRecord) []string {
	ref := runnel.Ref("queue:" + name.Queue)
	var out []string
	for _, rec := range flows {
		if f := rec.Flow; rec.Account == name.Account && (f.From == ref || f.DeadLetter == ref || slices.Contains(f.To, ref) || f.Ack == runnel.AckWhenAccepted && acceptedName(rec) == name) {
			out = append(out, f.Name)
		}
	}
	return out
}

// callersOf says which flows call a function.
func callersOf(function string, flows []flowRecord) []string {
	var out []string
	for _, rec := range flows {
		if name, _, _ := strings.Cut(rec.Flow.Call, "@"); name == function {
			out = append(out, rec.Flow.Name)
		}
	}
	return out
}

// arn is the ARN of a queue.
func (fs *flows) arn(ctx context.Context, name queue.Name) string {
	id := "000000000000"
	if a, err := fs.catalog.Account(ctx, name.Account); err == nil {
		id = a.ID
	}
	return "arn:aws:sqs:" + fs.region + ":" + id + ":" + name.Queue
}

// complete fills in what a flow of the API leaves out, checks all that it
// refers to, and then makes its dead-letter queue if that is the implied one.
func (fs *flows) complete(ctx context.Context, account string, f runnel.Flow) (runnel.Flow, error) {
	if err := f.Validate(); err != nil {
		return f, err
	}
	f.Call = withOwner(account, f.Call)
	rec := flowRecord{Account: account, Flow: f}
	faults := []error{at("filter", dispatch.CheckFilter(f.Filter)), at("call", fs.callable(f.Call)), at("ack", fs.acceptable(rec))}
	source, err := openRef(f.From, fs.queueOf(ctx, account))
	faults = append(faults, at("from", err))
	for i, to := range f.To {
		_, err := openRef(to, fs.queueOf(ctx, account))
		faults = append(faults, at(fmt.Sprintf("to[%d]", i), err))
	}
	implied := runnel.Ref("queue:" + f.ImpliedDeadLetter())
	switch {
	case f.DeadLetter == "" && source != nil:
		f.DeadLetter = implied
		if settings, _ := source.Settings(); settings.DeadLetter != nil {
			f.DeadLetter = runnel.Ref("queue:" + settings.DeadLetter.Queue)
		}
	case f.DeadLetter != "" && f.DeadLetter != implied:
		_, err := openRef(f.DeadLetter, fs.queueOf(ctx, account))
		faults = append(faults, at("dead_letter", err))
	}
	if f.DeadLetter == f.From {
		faults = append(faults, at("dead_letter", errors.New("is the source: a message that was given up would come again")))
	}
	if err := errors.Join(faults...); err != nil {
		return f, err
	}
	if f.DeadLetter == implied {
		_, name, _ := implied.Split()
		settings := declared(runnel.Queue{Name: name}, queue.Settings{}, nil)
		if _, _, err := fs.queues.Create(queue.Name{Account: account, Queue: name}, settings); err != nil {
			return f, err
		}
	}
	rec.Flow = f
	_, err = fs.open(ctx, rec)
	return f, err
}

// callable says what is wrong with the function that a flow calls.
func (fs *flows) callable(ref string) error {
	if fs.functions.goHandler(ref) != nil {
		return nil
	}
	_, _, err := fs.functions.set.Resolve(ref)
	return err
}

// queueOf opens the queues of an account by their names.
func (fs *flows) queueOf(ctx context.Context, account string) func(string) (*queue.Queue, error) {
	return func(name string) (*queue.Queue, error) {
		return fs.templates.use(ctx, queue.Name{Account: account, Queue: name})
	}
}

// at places an error at a field; nil stays nil.
func at(path string, err error) error {
	if err == nil {
		return nil
	}
	return &runnel.FieldError{Path: path, Err: err}
}

// withOwner gives a bare name of a function the account that it belongs to.
func withOwner(account, name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return account + "/" + name
}
