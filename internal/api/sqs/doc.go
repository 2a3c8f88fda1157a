// Package sqs is the Amazon SQS door: the actions of Amazon SQS, for clients
// that speak AWS JSON 1.0 or the older query protocol, over the queues of
// package queue.
//
// # The way of a request
//
//	ServeHTTP -> read the body -> who calls? -> the table of actions -> decode -> the action -> encode
//
// An action is one file, named as in the Amazon SQS API reference. Its header
// says what is supported, the limits, and where we differ. It works on an input
// and an output struct and knows nothing of the wire. The input takes its
// parameters from a decoder, which reads a JSON document (decoder.go) or a form
// (form.go) in the same shape; the output tells its members to an encoder, which
// writes JSON or XML. What is around them is in codec_json.go and
// codec_query.go. Every refusal is one row of error.go.
//
// # Buffers
//
// A body is read once, into a buffer that is used again for the next request.
// Texts that are decoded as []byte are parts of that buffer, unescaped in
// place: they are good until the action returns, and what stays longer (a
// message in its queue, a setting) is copied by whom it stays with.
//
// # What is where
//
// A queue is found by the last two segments of its URL's path, account and
// name; the host does not matter. The account's own key opens all queues of
// the account, and nobody else's but an admin's opens any.
package sqs
