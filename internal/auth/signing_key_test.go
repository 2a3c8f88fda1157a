package auth

import (
	"fmt"
	"testing"
)

// The cache is bounded, and what is in use stays in it.
func TestSigningKeysBound(t *testing.T) {
	var c signingKeys
	use := func(id string) (cached bool) {
		name := signingKeyID{id: id, date: "20150830", region: "r", service: "s"}
		k, cached := c.find(name, "secret")
		if !cached {
			c.keep(name, k)
		}
		return cached
	}
	use("hot")
	cold := 0
	for i := range 3 * signingKeysLimit {
		use(fmt.Sprint(i))
		if !use("hot") {
			cold++
		}
		if got := len(c.young) + len(c.elder); got > 2*signingKeysLimit {
			t.Fatalf("after %d keys: %d remembered, want at most %d", i+1, got, 2*signingKeysLimit)
		}
	}
	// Derived again once per generation, from the elder.
	if cold > 3 {
		t.Errorf("the key in use was not at hand %d times, want at most 3", cold)
	}
	if use("0") {
		t.Error("the first of all keys is still remembered")
	}
	if _, cached := c.find(signingKeyID{"hot", "20150830", "r", "s"}, "secret"); !cached {
		t.Error("the key in use is not remembered")
	}
	if _, cached := c.find(signingKeyID{"hot", "20150830", "r", "s"}, "other"); cached {
		t.Error("a key with another secret is remembered as this one")
	}
}
