// Package collection is hosted files: collections of them, who may read these,
// listings by name, atomic replacement.
//
// # What is kept where
//
// All is in the store but the content of large files ([Options.Small]): those
// are blobs, files of their own below a directory. A file is seen when its
// record is committed, whole, and durable; until then what was there before is.
// A reader goes on with what it opened when that is replaced or removed.
//
//	h | kind | owner | 0 | name   a collection: its id, who reads it
//	i | collection | name         a file: size, time, checksums, id of the content
//	b | collection | content      the content, if it is small
//	g | collection | content      a blob that belongs to no file
//	g | collection                all blobs of a collection that was removed
//
// Collections and contents have ids that are never given twice, so that what is
// made anew under a name has nothing in common with what was there.
//
// # Blobs
//
// Before a blob is made, a note of it ("g") is durable; the commit that makes it
// the content of a file takes the note away, and notes the one that it
// replaces. So whatever a crash leaves is in the notes, and Open removes it
// without looking at what is in order. Blobs are behind [Blobs].
//
// # Locks
//
// A change of a file holds its collection for reading and its name, until it is
// durable; a removal of the collection holds that for writing. Both are locks
// of stripes, by hash. Content is received before, without a lock.
//
// See docs/adr/0024-hosted-files.md.
package collection
