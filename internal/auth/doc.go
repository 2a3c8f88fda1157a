// Package auth says who calls: it checks the credentials of an HTTP request
// against the keys of the server, and signs requests of our own clients.
//
// # Credentials
//
// One key serves all doors. It has an id and a secret, and comes in one of
// two ways, both in the Authorization header:
//
//   - AWS Signature Version 4, the id and the secret being the access key
//     pair. Any region is taken; the service must be the door's.
//   - a token, "ID.SECRET", as "Bearer TOKEN", "Simple TOKEN", or bare (the
//     Algorithmia clients send all three). See [Key.Token].
//
// # What a signature covers
//
// Method, path, query, body, Host and the headers in SignedHeaders. Host, the
// date and X-Amz-Target (it names the action) must be among them. The body is
// always covered: "UNSIGNED-PAYLOAD" is refused, since the default listener is
// plain HTTP, where nothing else protects it. The date must be within 15
// minutes of our clock. Within that time a captured request can be replayed,
// as at AWS; whoever fears that listens with TLS.
//
// A session token is refused: there are no temporary credentials here.
// Signatures in the query string (presigned URLs) are not read.
//
// # Without keys
//
// A server of one developer takes every request ([Authenticator.Any]). It
// stands behind [LocalOnly], which refuses what a web page could send.
package auth
