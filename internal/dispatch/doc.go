// Package dispatch takes each message of a flow along its line: from the
// source, past the filter and the turn of its key, through one call of a
// function, to the sinks, and only then settles it.
//
// The files are the stations in their order:
//
//	intake.go   room for a message is found before it is received
//	lease.go    from here on its lease is kept, wherever it waits
//	filter.go   whether it is for this flow
//	order.go    whether it is its key's turn; line.go is what is known of a key
//	batch.go    which messages share a call
//	call.go     one call: a place, a deadline, the handler, a recovered panic
//	judge.go    what the answer, or the failure, means for each message
//	publish.go  results and dead letters to their sinks
//	settle.go   the one commit, or the settlement after the confirmations
//
// accept.go is the stage before all of them of a flow that settles what it has
// accepted: its line then begins at a queue of its own.
//
// flow.go starts and stops the line; slots.go is the limit that flows share;
// stats.go counts, explain.go says why nothing moves.
//
// # Invariants
//
//   - A message is settled only after everything that it caused is durable
//     (docs/adr/0002-settle-after-confirm.md). Where the sinks live with the
//     source, both are one commit.
//   - An attempt is a failure of the function: an error, a timeout, the death
//     of a worker that had this message alone. Waiting, a place that was not
//     to be had, a drain, the death of a worker that had several: none of
//     these is one. Messages that were together when a worker died are called
//     again, each alone.
//   - A message whose lease was lost is neither published nor acked.
//   - Of the messages of a key at most one call is under way, and none is
//     called while an earlier one was given back and has not come again. What
//     waits behind it is given back too, so that it does not take the room of
//     other keys. That a message goes back is noted before the source can know.
//   - The intake never waits for a source to settle or for a sink: it must see
//     when it is to end, and others must go on.
//
// Nothing here knows which source or sink it has.
package dispatch
