package main

import (
	"math/rand/v2"
	"strconv"
	"sync/atomic"
)

// ordered says which group and which deduplication id a message gets on a FIFO
// queue. Groups take turns; no two messages have the same id, those of earlier
// runs included.
type ordered struct {
	groups int64
	prefix string // of ids
	next   atomic.Int64
}

func newOrdered(groups int64) *ordered {
	return &ordered{groups: groups, prefix: strconv.FormatUint(rand.Uint64(), 36) + "-"}
}

func (o *ordered) message() (group, id string) {
	n := o.next.Add(1) - 1
	return "g" + strconv.FormatInt(n%o.groups, 10), o.prefix + strconv.FormatInt(n, 10)
}
