// Package history checks what clients of queues saw: every call with when it
// was made and answered, against what a queue promises. Only tests use it.
//
// Times are of one monotonic clock, that of who recorded. A call took effect
// at some moment between the two, or never if its outcome is unknown. What a
// rule says is certain must hold for every such moment; so the checker never
// accuses the innocent, and what it could not see it does not judge. The rules:
//
//   - lost: what was acknowledged is received at least once, until the end;
//   - phantom: nothing is received that was not sent;
//   - came back: nothing is received after its delete was acknowledged;
//   - two holders: nobody receives a message inside the visibility timeout of
//     somebody else, nor, on a FIFO queue, another message of its group;
//   - count: the receive count of a message grows;
//   - order: on a FIFO queue no message is received before an earlier one of its
//     group that is still there;
//   - sequence: sequence numbers grow, and a message has one only;
//   - duplicate: a message is stored once, on a FIFO queue also if it is sent again
//     within the deduplication window;
//   - dead letter: a message is in the dead-letter queue or in its own, gets there
//     after the receives of the policy, and not later.
//
// Visibility timeouts and the deduplication window survive the process by the
// wall clock: where that jumped, they may end early, and the checker counts with
// it.
package history
