// Package auth says who calls: it checks the credentials of an HTTP request
// against the keys of the server, and signs requests of our own clients.
//
// # Credentials
//
// One key serves all doors. It has an id and a secret, and comes in one of
// two ways:
//
//   - AWS Signature Version 4, the id and the secret being the access key
//     pair, in the Authorization header or in the query string of a presigned
//     URL. Any region is taken; the service must be the door's.
//   - a token, "ID.SECRET", in the Authorization header as "Bearer TOKEN", "Simple TOKEN", or bare (the
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
// A presigned URL says for how long it is good, 7 days at most. Its signature
// covers the same, the other parameters of the signature and the session token
// included.
//
// # Sessions
//
// [NewSession] makes temporary credentials of a key, which sign as a key does
// and send a session token besides. They are not stored: see [Session]. A token
// with an id that it was not made for, a key's for example, is refused.
//
// # Passes
//
// [Passes] are keys that are not stored either: the workers of functions have
// one each, which ends with them. Unlike a session a pass needs no key that it
// is made of, can be revoked alone, and is a token as well.
//
// # Without keys
//
// A server of one developer takes every request ([Authenticator.Any]). It
// stands behind [LocalOnly], which refuses what a web page could send.
package auth
