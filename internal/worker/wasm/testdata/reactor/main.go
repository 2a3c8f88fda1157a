// Reactor is a WASI reactor in Go: it keeps a count between calls.
package main

import (
	"fmt"
	"os"
	"strings"
	"unsafe"
)

var (
	calls  int
	room   []byte // of the payload
	answer []byte // until the next call
)

//go:wasmexport runnel_alloc
func alloc(size uint32) uint32 {
	room = make([]byte, size)
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(room))))
}

//go:wasmexport runnel_handle
func handle(at, size uint32) uint64 {
	calls++
	payload := string(room[:size])
	var failed uint64
	switch do, arg, _ := strings.Cut(payload, " "); do {
	case "count":
		answer = fmt.Appendf(answer[:0], "%d", calls)
	case "fail":
		answer, failed = append(answer[:0], arg...), 1<<63
	case "trap":
		panic(arg)
	case "print":
		fmt.Println(arg)
		fmt.Fprintln(os.Stderr, arg)
		return 0
	default:
		answer = append(answer[:0], payload...)
	}
	return failed | uint64(uintptr(unsafe.Pointer(unsafe.SliceData(answer))))<<32 | uint64(len(answer))
}

func main() {}
