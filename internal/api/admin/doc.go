// Package admin is the native HTTP API, under /api/v1/: what an operator and
// Runnel's own commands ask of a server.
//
//	GET  /api/v1/version                                any key
//	GET  /api/v1/queues                                 any key, its account
//	GET  /api/v1/queues/{queue}/messages?after=&limit=  any key, its account
//	POST /api/v1/queues/{queue}/purge                   any key, its account
//	GET  /api/v1/backup                                 admin key
//
// A request carries its key as "Authorization: Bearer ID.SECRET", or an AWS
// Signature Version 4 for the service "runnel". Answers are JSON, but for the
// backup, which is a tar (see backup.go). An error is
//
//	{"error": {"code": "not_found", "message": "there is no queue default/images"}}
//
// with a code of the root package; error.go has the status of each.
//
// The package knows neither the queues nor the store: it declares what it
// reads as interfaces in structs of its own, which are the JSON that it
// answers. Package server implements them.
package admin
