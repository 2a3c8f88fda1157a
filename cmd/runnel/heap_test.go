package main

import (
	"runtime"
	"testing"
)

// inUse is what the garbage collector takes for the memory in use.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestReserveHeap(t *testing.T) {
	for _, test := range []struct {
		name, value string
		reserves    bool
	}{{"GOGC", "", true}, {"GOGC", "100", false}, {"GOMEMLIMIT", "100MiB", false}} {
		t.Setenv("GOGC", "")
		t.Setenv("GOMEMLIMIT", "")
		t.Setenv(test.name, test.value)
		before := inUse()
		release := reserveHeap()
		during := inUse()
		release()
		if got := during > before+heapReserve/2; got != test.reserves {
			t.Errorf("%s=%q: %d bytes in use before and %d during: reserved %t, want %t", test.name, test.value, before, during, got, test.reserves)
		}
		if after := inUse(); after > before+heapReserve/2 {
			t.Errorf("%s=%q: %d bytes in use before and %d after", test.name, test.value, before, after)
		}
	}
}
