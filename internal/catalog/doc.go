// Package catalog keeps what an operator has declared, as versioned documents:
// accounts and keys so far.
//
// # Documents
//
// A document has a kind, a name that is unique within it, a JSON value and a
// version. Versions are drawn from one counter for the whole catalog, which is
// stored with every change: a later version is a later change, and the version
// of a deleted document does not come back with a new one of the same name. To
// change a document one says which version one has seen; if it has another by
// then the change is refused with runnel.CodeConflict.
//
// The catalog is small and read on every request, so all of it is in memory,
// read once at Open. A change is durable before anybody sees it. Changes are
// made one at a time, each waiting for its fsync: they come at the pace of
// operators.
//
// # Keys in the store
//
// In key space 'c': kind, a zero byte, name; the value is a JSON object with
// the version and the value of the document. The empty kind holds the counter.
//
// # Secrets
//
// The secrets of keys are stored sealed, with a key that is not in the store. A
// hash would not do: to check an AWS signature the server needs the secret
// itself. In memory they are as they are. A secret that does not open, since the
// key that sealed it is gone, keeps its API key from being used, and nothing
// else.
//
// What earlier releases stored as it is, [Catalog.SealKeys] seals. Until the
// store rewrites the files that it was in, and in backups from before, it is
// still there.
package catalog
