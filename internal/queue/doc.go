// Package queue has durable queues with the semantics of Amazon SQS, standard and
// FIFO: messages that are visible, in flight or delayed, visibility timeouts,
// receive counts, retention and dead-letter redrive.
//
// # A message's states
//
//	             Send                          Send with a delay
//	              |                                   |
//	              v              the delay ends       v
//	+-------> [visible] <------------------------ [delayed]
//	|             |
//	|  Receive    |    moved to the dead-letter queue (client, over max receives)
//	|             v
//	+------- [in flight] --- Delete, Ack ---> gone
//	  the visibility timeout ends,
//	  Release, or the wait of a Retry or a Release ends
//
// Retention ends visible and delayed messages; one in flight is never taken
// from under its holder.
//
// # Where the states live
//
// A record in the queue's series (package store) is the message; its number is
// its place. A message that is visible and was never received has nothing else:
// such messages form one run, from the cursor to the tail, of which only the
// window is in memory. Every other message is an exception and has a [lease] in
// memory. So memory, and the time to restart, follow what is in flight, delayed
// or returned, not the backlog.
//
// An exception that must outlive the process has a mark beside its record: what
// an SQS client received (the mark is durable before the client is told), what
// is delayed, what failed in a flow. What a flow in this process received has no
// mark: if the process dies, the message is visible again by itself.
//
// # FIFO queues
//
// A FIFO queue keeps order by key, its message group. Its waiting messages are
// not in a window but in the lines of their groups: [group]. A group is locked
// while one of its messages is in flight, and its next message is the lowest
// number of its line and of what came back. A number is in a line only below the
// cursor, so that nothing behind the cursor can be before it. Within the last
// [DedupWindow] a deduplication id is stored once: [dedup]. See
// docs/adr/0012-fifo-groups.md.
//
// # Fair queues
//
// On a standard queue, messages of one group are of one [tenant]. While it is
// noisy, its messages are set aside, and are received when nothing else is
// visible. See docs/adr/0013-fair-queues.md.
//
// # Clocks
//
// Inside the process, leases and delays end by the monotonic clock: a jump of
// the wall clock moves none. Marks hold wall time, for the next process.
//
// # Locks
//
// Queue.mu guards a queue's index. Changes are enqueued to the store under it,
// so that the order of commits is the order of decisions; it is never held while
// waiting for a commit, and no two queues are ever locked together. A send to a
// FIFO queue holds its deduplication ids from before it is staged until it is
// committed, and of several queues takes those of the lowest id first.
//
// See docs/adr/0001-storage-engine.md and 0002-settle-after-confirm.md.
package queue
