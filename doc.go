// Package runnel holds the words and the contracts of Runnel: what a message
// is, where it comes from, who answers it, where the answer goes, and what it
// means to settle.
//
// The path of one message through these types:
//
//	Source.Receive -> Delivery -> Handler.Handle -> Result -> Sink.Send -> Source.Settle
//
// Everything else in this module implements one side of one of these arrows.
// This package imports the standard library only; every other package may
// import it, and it imports none of them.
//
// # The promise
//
// A message is settled only after everything that it caused is durable. The
// contracts below are written so that each side can keep its part: a [Sink]
// returns nil only for messages that are confirmed, and a [Source] forgets a
// message only when it is told [Ack], or when a dead letter of it is durable.
// Delivery is therefore at least once; a [Message.ID] stays the same across
// redeliveries, so that a handler can recognise one it has seen. Where source
// and sink share a store, a [Transactor] makes both sides one commit.
//
// # Attempts
//
// An attempt is a failure of the function: an error, a timeout, or a crash
// that this message alone can have caused. Being busy, draining, throttled or
// unlucky is never an attempt: it ends in [Release], which leaves no trace in
// the counters. Only [Retry] counts.
package runnel
