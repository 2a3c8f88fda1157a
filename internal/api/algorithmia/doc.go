// Package algorithmia is the HTTP door of Algorithmia's API: everything below
// /v1/, for its clients as they are.
//
// # Routes
//
// A route is a method and a pattern of segments ([Route]); each part of the API
// has a file with its routes and what it wants of the server:
//
//	call.go       /v1/algo                     functions are called
//	algorithm.go  /v1/algorithms ...           functions are made, built, published
//	              (with build.go, version.go, secret.go, source.go, environment.go)
//	data.go       /v1/data, /v1/connector      hosted files
//	account.go    /v1/users, /v1/organizations accounts, members and keys
//	listener.go   /v1/users/ID/event-listeners flows
//
// A path is cut at its slashes before it is unescaped: an encoded slash is part
// of a segment, and names with one are refused. One trailing slash is ignored.
//
// # Errors
//
// The bodies of errors are those that the clients look at: see [failure].
//
// # Bodies
//
// Clients compare bodies byte for byte: JSON is compact, and has no newline at
// its end.
package algorithmia
