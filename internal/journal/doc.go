// Package journal keeps lines of logs: what functions print and what flows
// decide. The newest are in memory, for who follows; all are in segment files
// of a bounded total, for who searches, also after a restart.
//
//	journal.go  lines come in, and are numbered
//	rate.go     how many a function may add
//	writer.go   one goroutine takes them from memory to the disk
//	shelf.go    the segments on disk: which grows, which goes
//	segment.go  one file; record.go is one line in it
//	search.go   pages of what fits a query
//	follow.go   lines as they come
//
// # Invariants
//
//   - Add never waits for the disk, nor for a reader.
//   - A line has an id, which grows from line to line, across restarts too. It
//     is how pages and followers go on where they ended.
//   - A segment holds lines of one account's one function, with growing ids. So
//     the space of a noisy function is its own: when there is too little, the
//     oldest segment of whoever has most goes.
//   - A record says by itself whether it is whole. Damage costs the lines that it
//     hits.
//   - Nothing is synced: a crash of the machine may cost the last lines, a crash
//     of the process those of the last 50 ms (ADR 21).
package journal
