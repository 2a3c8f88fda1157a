// Package function has functions, their versions, and which pool of workers
// answers a call.
//
// # Versions
//
// A version is what a function's runtime, handler and files are, named by
// their hash; it never changes. Its code lies in
//
//	Options.Dir/OWNER/NAME/HASH/code           the files
//	Options.Dir/OWNER/NAME/HASH/version.json   their names and hashes
//	Options.Dir/OWNER/NAME/HASH/venv           link to the virtual environment
//	Options.Dir/OWNER/NAME/HASH/node_modules   link to the modules
//	Options.Dir/OWNER/NAME/HASH.json           notes and samples, if it is published
//	Options.Dir/OWNER/NAME/HASH/bin            link to the directory of the program of Go
//
// A directory is written under a name that begins with "tmp-", synced, and
// renamed: one with a version's name is whole, or its files do not fit their
// hashes, which is looked at before its workers are started. Dependencies are
// built in the same way in the folder cache beside Options.Dir, once for all
// versions that ask for the same.
//
// # Builds
//
// Each deploy is a Build, with a record and a log in the folder builds beside
// Options.Dir (docs/adr/0018-builds.md); one that changes nothing leaves none.
// The programs of a build are run by Options.Run, for as many builds at once as
// there are cores. A call never builds: what was lost is built in the
// background, by the start that calls wait for.
//
// Everything else about a function (environment, memory, workers, timeout)
// belongs to the function and is the same for all its versions.
//
// # Deploy, build, rollback
//
// The order of a deploy is: copy, build, start the new pool, record, swap,
// drain the old pool. Each step leaves the old version as it was if it fails.
// The record is the commit: a process that dies before it starts again with the
// old version, one that dies after it with the new. A rollback is a deploy of
// code that is there already; a build is a deploy without the swap.
//
// Before the swap the new pool has as many workers as those that it replaces,
// so that a swap under load costs no wait. A pool stays, and ends its workers
// as they become idle, where something else names its version.
//
// # References
//
// live, latest, latestPrivate, aliases, and the beginning of a semantic version
// stand for a version that changes; see Record. They are looked up at each
// call. A version that is published, named by an alias or by a flow is kept.
//
// # The promise about references
//
// No call begins on a version that its reference does not stand for at that
// moment. A call begins when Acquire returns its place: a place of another
// version's pool, or of a pool that was swapped out, is given back, and the
// wait goes on at the right one. A wait ends at once where something has
// moved. Calls that began end on the version that they began on.
//
// # Locks
//
// The turn of a function is held by who changes its record or removes its old
// directories, and may be held for minutes. Its mutex guards what Acquire
// reads, and is never held while waiting for anything. The set's mutex guards
// the map of functions and whether the set is closed. None is taken under the
// mutex of a function.
package function
