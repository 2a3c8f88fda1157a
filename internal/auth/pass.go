package auth

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel"
)

// Passes are keys that live in memory only: those of functions' workers
// (docs/adr/0025-calls-and-session-keys.md). They are used as other keys are,
// and never for the whole server. A pass ends when it is revoked, and with the
// process. Its zero value has none. Its methods may be called by several
// goroutines at once.
type Passes struct {
	mu   sync.RWMutex
	keys map[string]*Pass // by id
}

// Pass is the key of one worker. It acts for who called the function, while a
// call is under way on the worker, and else for the owner of the function.
type Pass struct {
	key      Key // of the owner
	function string
	passes   *Passes
	call     atomic.Pointer[runnel.Invocation]
}

// passPrefix begins the ids of passes; those of keys and sessions begin with
// others.
const passPrefix = "RF"

// New makes a pass for a worker of a function, OWNER/NAME@VERSION, which
// belongs to an account.
func (p *Passes) New(account, accountID, function string, now time.Time) *Pass {
	key := NewKey(account, accountID, false, now)
	key.ID = passPrefix + random(idLength-len(passPrefix), idLetters)
	pass := &Pass{key: key, function: function, passes: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys == nil {
		p.keys = make(map[string]*Pass)
	}
	p.keys[key.ID] = pass
	return pass
}

// Key returns the key as the worker has it: its account is the owner of the
// function.
func (p *Pass) Key() Key { return p.key }

// Act lets the pass act for the caller of a call, until it is told of another;
// nil: of none. in must not change until then.
func (p *Pass) Act(in *runnel.Invocation) { p.call.Store(in) }

// Revoke ends the pass.
func (p *Pass) Revoke() {
	p.passes.mu.Lock()
	defer p.passes.mu.Unlock()
	delete(p.passes.keys, p.key.ID)
}

// now returns the key of whom the pass acts for now, so that sessions that are
// made of it act for nobody else.
func (p *Pass) now() Key {
	key, c := p.key, p.caller()
	key.Account, key.AccountID, key.Permissions, key.Organizations = c.Account, c.AccountID, c.Permissions, c.Organizations
	return key
}

// caller returns whom the pass acts for now.
func (p *Pass) caller() Caller {
	out := Caller{
		KeyID: p.key.ID, Account: p.key.Account, AccountID: p.key.AccountID,
		Permissions: p.key.Permissions, Function: p.function,
	}
	in := p.call.Load()
	if in == nil {
		return out
	}
	out.Invocation, out.Session, out.Depth = in.ID, in.ID, 1
	of := in.Caller
	if of == nil {
		return out
	}
	if of.Session != "" {
		out.Session = of.Session
	}
	out.Depth = of.Depth + 1
	if of.Account == "" { // the owner
		return out
	}
	out.Account, out.AccountID, out.Organizations = of.Account, of.ID, of.Organizations
	out.Permissions = p.key.Permissions.And(of.Permissions)
	// Files and calls are what a function of somebody else's is given; to take
	// messages out of the caller's queues it is not.
	owner, _, _ := strings.Cut(p.function, "/")
	out.Permissions.Queues = out.Permissions.Queues && out.Owns(owner)
	return out
}

// find returns the pass with this id. nil has none.
func (p *Passes) find(id string) (*Pass, bool) {
	if p == nil || !strings.HasPrefix(id, passPrefix) {
		return nil, false
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	found, ok := p.keys[id]
	return found, ok
}

// used says whether a request comes with the id of a pass.
func (p *Passes) used(r *http.Request) bool {
	if p == nil {
		return false
	}
	for _, text := range [...]string{r.Header.Get("Authorization"), r.URL.RawQuery} {
		for {
			i := strings.Index(text, passPrefix)
			if i < 0 || len(text) < i+idLength {
				break
			}
			if _, ok := p.find(text[i : i+idLength]); ok {
				return true
			}
			text = text[i+len(passPrefix):]
		}
	}
	return false
}
