// Package worker runs the code of functions in processes: it starts them,
// speaks frames with them (docs/adr/0008-worker-frames.md), bounds them, reads
// what they print, and keeps warm ones in a [Pool].
//
// # A process's life
//
//	          start            ready
//	[spawned] -----> [loading] -----> [idle] <---> [busy]
//	                     |              |            |  deadline, lost lease, broken frame, own death
//	              failed |              | drain      v
//	                     +--------------+-------> [ended]: descendants killed, reaped, output read dry, directory removed
//
// # Invariants
//
// A process has one call in flight, so that a deadline kills nobody else's. A
// call ends once: by its answer, or by the end of the process, which is waited
// for, so that the next attempt never overlaps the last.
//
// A process never outlives its pool, nor the server: it is killed with all that
// it started, and on Linux by the kernel when the server dies. What finds
// descendants that left its session depends on the machine; see [Pool.Limits].
// Those of a server that was killed end with the next one's start, where there
// are control groups.
//
// What a process prints before it answers is stamped with that call: its output
// is read dry before the call ends. No process can make the host keep more
// memory than the limits say, whatever it writes.
//
// What a limit's name promises is promised by [Pool.Limits] only, which says
// what is in force on this machine.
//
// # Locks
//
// Pool.mu guards who is idle, busy and waiting; worker.mu the call in flight;
// output.mu the lines; process.mu that the process's id is still its own, and
// watcher.mu which processes are watched. Pool.mu may be taken while none of the
// others is held, and process.mu while any is; worker.mu is taken with
// watcher.mu held. None is held while a process is waited for.
package worker
