package main

import (
	"os"
	"runtime"
)

// heapReserve is memory that is allocated and never touched, so that it is an
// address range and nothing else. The garbage collector counts it as in use,
// and collects again when as much has been allocated as is in use: with the few
// megabytes that a server holds it would collect many times a second. So at most
// this much more garbage is in memory; a server that holds much is as it was.
const heapReserve = 32 << 20

// reserveHeap keeps the reserve until the returned function is called. There is
// none where somebody has set the garbage collector themselves, by GOGC or
// GOMEMLIMIT.
func reserveHeap() (release func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	reserve := make([]byte, heapReserve)
	return func() { runtime.KeepAlive(reserve) }
}
