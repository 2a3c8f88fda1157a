package auth

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// Passes are keys that live in memory only: those of functions' workers
// (docs/adr/0020-inside-a-function.md). They are used as other keys are, act
// for one account, and never for the whole server. A pass ends when it is
// revoked, and with the process. Its zero value has none. Its methods may be
// called by several goroutines at once.
type Passes struct {
	mu   sync.RWMutex
	keys map[string]pass // by id
}

type pass struct {
	key      Key
	function string
}

// passPrefix begins the ids of passes; those of keys and sessions begin with
// others.
const passPrefix = "RF"

// New makes a pass for the workers of a function, OWNER/NAME@VERSION. revoke
// ends it.
func (p *Passes) New(account, accountID, function string, now time.Time) (key Key, revoke func()) {
	key = NewKey(account, accountID, false, now)
	key.ID = passPrefix + random(idLength-len(passPrefix), idLetters)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys == nil {
		p.keys = make(map[string]pass)
	}
	p.keys[key.ID] = pass{key, function}
	return key, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.keys, key.ID)
	}
}

// find returns the pass with this id. nil has none.
func (p *Passes) find(id string) (pass, bool) {
	if p == nil || !strings.HasPrefix(id, passPrefix) {
		return pass{}, false
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
