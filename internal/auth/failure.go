package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Failures counts the requests with wrong credentials, by the address that they
// come from, and logs them. Who sends too many is told so, with CodeLimit in
// place of what was wrong. Right credentials are never refused, whatever else
// comes from their address: one address may be that of many, as loopback is of
// all local clients and workers, and a secret of 238 bits is not found by trying.
// Its methods may be called by several goroutines at once.
type Failures struct {
	// Log gets at most two lines a minute of an address, and 60 in all.
	Log *slog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time

	mu    sync.Mutex
	of    map[string]*failures // by address
	since time.Time            // when this minute of lines began
	lines int                  // in it
}

// failures are those of an address.
type failures struct {
	since time.Time // when this minute began
	count int       // in it
}

const (
	// maxFailures is how many an address may have in a minute.
	maxFailures  = 60
	maxAddresses = 10_000
	maxLines     = 60
	failureSpan  = time.Minute
)

// count notes that Verify refuses r, and returns with what. A request without
// credentials, or with a session or a signature that was right once, is nobody's
// try.
func (f *Failures) count(r *http.Request, refused error) error {
	counts := errors.Is(refused, ErrMalformed) || errors.Is(refused, ErrUnknownKey) || errors.Is(refused, ErrSignature) || errors.Is(refused, ErrKeyExpired)
	if f == nil || !counts {
		return refused
	}
	address := addressOf(r)
	now := time.Now()
	if f.Now != nil {
		now = f.Now()
	}
	n, left, tell := f.add(network(address), now)
	if tell {
		f.Log.Warn("login refused", "address", address, "key", keyOf(r), "why", reason(refused), "this_minute", n)
	}
	if n > maxFailures {
		return fmt.Errorf("more than %d requests with wrong credentials came from %s within a minute; send the right ones, or none for %d s: %w", maxFailures, address, int(left.Seconds())+1, ErrTooMany)
	}
	return refused
}

// add counts one more, and says how many there are, for how long they count, and
// whether to log it: the first of a minute, and the first that is too many.
func (f *Failures) add(address string, now time.Time) (n int, left time.Duration, tell bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = make(map[string]*failures)
	}
	of := f.of[address]
	if of == nil {
		if len(f.of) >= maxAddresses {
			f.forget(now)
		}
		of = &failures{since: now}
		f.of[address] = of
	}
	if now.Sub(of.since) >= failureSpan {
		*of = failures{since: now}
	}
	of.count++
	if now.Sub(f.since) >= failureSpan {
		f.since, f.lines = now, 0
	}
	tell = (of.count == 1 || of.count == maxFailures+1) && f.lines < maxLines
	if tell {
		f.lines++
	}
	return of.count, failureSpan - now.Sub(of.since), tell
}

// forget makes room for addresses.
func (f *Failures) forget(now time.Time) {
	for address, of := range f.of {
		if now.Sub(of.since) >= failureSpan {
			delete(f.of, address)
		}
	}
	if len(f.of) >= maxAddresses {
		clear(f.of)
	}
}

// network is what counts as one address: of IPv6 the first 64 bits, which one
// host has all below of.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}

// reason is what was wrong, in words that hold nothing of the request.
func reason(err error) string {
	for _, why := range []error{ErrMalformed, ErrUnknownKey, ErrSignature, ErrKeyExpired} {
		if errors.Is(err, why) {
			return why.Error()
		}
	}
	return "denied"
}

// keyOf returns the id of the key that a request came with, if what stands there
// looks like one: else it may be a secret.
func keyOf(r *http.Request) string {
	text := r.Header.Get("Authorization")
	if _, rest, ok := strings.Cut(text, "Credential="); ok {
		text, _, _ = strings.Cut(rest, "/")
	} else if text == "" {
		text, _, _ = strings.Cut(r.URL.Query().Get("X-Amz-Credential"), "/")
	} else {
		text = text[strings.LastIndexByte(text, ' ')+1:]
		id, _, dotted := strings.Cut(text, ".")
		if !dotted {
			return describe("")
		}
		text = id
	}
	return describe(text)
}
