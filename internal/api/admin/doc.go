// Package admin is the native HTTP API, under /api/v1/: what an operator and
// Runnel's own commands ask of a server. calls.go is the list of the calls,
// docs/api.md the guide, and GET /api/openapi.json the whole description.
//
// A request carries its key as "Authorization: Bearer ID.SECRET", or an AWS
// Signature Version 4 for the service "runnel". Nothing but the OpenAPI
// document is said to callers who are not recognised. A key sees its own
// account; what is another's does not exist for it. An admin key sees the
// functions and logs of all.
//
// Answers are JSON, but for the backup (a tar, see backup.go), logs that are
// followed (server-sent events, see log.go), and what a function returns. An
// error is always
//
//	{"error": {"code": "not_found", "message": "there is no queue default/images"}}
//
// with a code of the root package or one of two more; error.go has the status
// of each. The text of an error without a code goes to the log, once, and
// never to the caller; nor does an answer repeat what was sent in a body.
//
// The package knows neither the queues nor the store: it declares what it
// reads as interfaces in structs of its own, which are the JSON that it
// answers. Package server implements them. huma decodes, checks and describes
// the calls; see docs/adr/0009-native-api-library.md.
package admin
