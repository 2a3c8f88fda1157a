// Package wasm is the program of a worker that runs a WASI module: it speaks
// frames (docs/adr/0008-worker-frames.md) on descriptors 3 and 4, and runs the
// module by wazero, in its own process. So a deadline is a kill, which costs
// the module nothing while it runs, a limit of memory is one of a process, and
// a fault of the engine is a crash of one worker.
//
// # What a module is
//
// A module imports functions of wasi_snapshot_preview1 only. It is
//
//   - a command, which exports _start: each call runs it from its beginning,
//     with the payload as standard input; what it writes to standard output is
//     the answer, and an exit status other than 0 a failure, whose message is
//     the last line of standard error;
//   - or a reactor, which exports runnel_alloc and runnel_handle: it is
//     instantiated once, and keeps its memory between calls.
//
// A reactor's functions, in the words of C:
//
//	uint32_t runnel_alloc(uint32_t size);            // room for a payload
//	uint64_t runnel_handle(uint32_t at, uint32_t size);
//
// runnel_handle returns address << 32 | size of the answer, which must stay
// where it is until the next call; with the top bit set it is the text of an
// error. So a reactor has at most 2 GiB of memory. One that traps is thrown
// away, and the next call has a new one.
package wasm
