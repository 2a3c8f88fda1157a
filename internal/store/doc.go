// Package store is one Pebble database: key spaces, numbered series, atomic
// batches, one group-commit writer. It knows no queue.
//
// Every durable byte of Runnel goes through here, since only one engine can
// commit "settle this, send that, and note its status" as one step. No other
// package imports Pebble.
//
// # What is durable
//
// [Store.Commit] returns nil after the batch was fsynced. There is no other
// kind of write. When a commit fails, the state of the log on disk is
// unknown: nobody who waits is told that it worked, [Options.Fail] is called
// once, and nothing is written any more.
//
// # The writer
//
// One goroutine ([Store.write]) takes whole batches, in the order in which they
// were enqueued, merges them into one Pebble batch and applies it; a second one
// ([Store.settle]) waits for the fsync and tells the callers, in the same order,
// while the first prepares the next group. A batch is never split. Batches that
// only append to series go first, up to [Options.CommitBytes]; the others
// follow, in strict order among themselves, up to [Options.CommitDeletes] keys:
// without the second limit a consumer that drains a backlog starves the producers (docs/adr/0001-storage-engine.md).
//
// # Series
//
// A series is a run of numbered records, each written once, each removed at
// most once, and counted exactly. The number of a record is given when it is
// committed, by the writer: numbers are dense, follow the order of commits and
// are never given twice, without a lock that producers would share. A record
// can have a mark beside it: a small state that is overwritten often. The
// header of a series (how many records were ever appended and removed) is
// written in the same commit as the change, so that it is exact after a crash.
//
// # Keys
//
// One byte of key space, then the rest; all numbers big-endian.
//
//	n | series            header: next, removed, trimmed, low
//	m | series | number   record, written once, removed by SingleDelete
//	x | series | number   mark, overwritten, removed by Delete
//	c | kind | name       catalog documents (internal/catalog)
//	q | queue             queue settings (internal/queue)
//	u | number            the audit log (internal/catalog)
//	v | queue | start     tasks that move dead letters (internal/queue)
//	f | queue | time | id deduplication of a FIFO queue (internal/queue)
//	h | kind | owner | 0 | name   collections of files (internal/collection)
//	i | collection | name         files: size, checksums, where the content is
//	b | collection | content      contents of small files
//	g | collection | content      blobs that no file has, or not yet
//
// See docs/adr/0001-storage-engine.md.
package store
