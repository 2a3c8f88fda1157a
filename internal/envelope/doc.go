// Package envelope is how messages look to a function, and how its answer is
// read. It stands between dispatch, which knows messages, and a function, which
// knows payloads: a [Handler] is a runnel.Capacity whose calls encode, invoke
// and decode.
//
// # What a function gets
//
//	payload      a value of   what it holds
//	json         each message the body, which must be JSON in UTF-8
//	text         each message the body, which must be UTF-8
//	bytes        each message the body
//	sqs-message  each message {"MessageId", "Body" ...}, as ReceiveMessage has it
//	sqs-event    each call    {"Records": [...]}, as AWS Lambda has it
//
// A message that cannot be shown in this way fails alone, as
// runnel.KindUndecodable, and is not in the call.
//
// # What becomes of its answer
//
// No value, or null: nothing is published, which is a success. Any other value
// is the body of one message: JSON, text or bytes, as it is. It has the key and
// the trace of the message that it answers, and no attributes. With Split, the
// answer is a JSON list, and each of its elements is a message of its own; a
// string among them stays JSON, in quotes, and a null is not published.
//
// What a handler of events returns is never published. It is read for
// batchItemFailures where the flow says so.
//
// # Invariants
//
//   - There is one result per message, in their order.
//   - An error of the call as a whole reaches dispatch as the Invoker gave it.
//     Messages that were undecodable are part of it, and are found to be so
//     again.
//   - Bodies are not copied: payloads are bodies, and outputs are parts of
//     answers, so neither may change.
//
// See docs/adr/0008-worker-frames.md for what carries payloads.
package envelope
