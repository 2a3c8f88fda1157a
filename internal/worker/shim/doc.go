// Package shim holds the programs that make a Python or Node file a worker:
// they load the user's code and speak the frames of docs/adr/0008-worker-frames.md
// and docs/adr/0019-several-calls-in-flight.md on file descriptors 3 and 4. They
// bring Algorithmia's ADK to Python, and a client of its API. They use their languages' standard libraries
// only: Python 3.8 or newer, Node 18 or newer.
//
// The shims are written out to a directory once, with Files, and started with
// Command in the directory of the user's code. They read these variables of the
// environment:
//
//	RUNNEL_HANDLER   MODULE.FUNCTION; main.handler or index.handler if unset.
//	                 Without a main.py, main.handler is src/NAME.apply where
//	                 algorithmia.conf has the algoname NAME
//	RUNNEL_FUNCTION  the function's name, OWNER/NAME
//	RUNNEL_VERSION   the version of its code
//	RUNNEL_WORKER    the name of this process; its id if unset
//	RUNNEL_MEMORY    the most that the process may allocate, in bytes
//
// All but the first are there for the handler's context only and may be unset.
// What a handler may do, and what becomes of what it does, is in
// docs/handlers.md.
//
// Invariants:
//
//   - What user code prints cannot get between the frames: standard output and
//     standard error are other descriptors, and the processes that it starts do
//     not inherit those of the frames.
//   - An answer is one write, after everything that the handler printed was
//     handed to the kernel.
//   - No exception that a handler raises ends the worker; neither does a value
//     that cannot be sent.
//   - The user's code is not loaded before the frame start.
//   - A frame is one write, whichever thread sends it.
package shim
