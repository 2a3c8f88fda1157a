package worker

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The rights that Landlock guards here: those of its first three versions.
const (
	rightsFile  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE
	rightsRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	rightsFirst = 1<<13 - 1 // version 1: up to MAKE_SYM

	// erratumSignals is the bit of a correction without which the scope of
	// signals also binds the server's own threads among each other.
	erratumSignals = 1 << 1

	scopeSignals = unix.LANDLOCK_SCOPE_SIGNAL
	scopeSockets = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
)

// landlock is what this kernel's Landlock can do.
type landlock struct {
	version int
	why     string // there is none
	signals bool   // it scopes them
}

var landlocked = sync.OnceValue(func() landlock {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return landlock{why: "this kernel has no landlock: " + errno.Error()}
	}
	l := landlock{version: int(version)}
	if version >= 6 {
		errata, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_ERRATA)
		l.signals = errno == 0 && errata&erratumSignals != 0
	}
	return l
})

// files are the rights of files that this version guards.
func (l landlock) files() uint64 {
	rights := uint64(rightsFirst)
	if l.version >= 2 {
		rights |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if l.version >= 3 {
		rights |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	return rights
}

// newRuleset makes rules that allow nothing yet. how is by what, or why not.
func newRuleset(files, scopes uint64) (fd int, how string, err error) {
	l := landlocked()
	if l.why != "" {
		return -1, l.why, errors.New(l.why)
	}
	how = fmt.Sprintf("landlock, version %d", l.version)
	attr := unix.LandlockRulesetAttr{Handled_access_fs: files, Scoped: scopes}
	size := uintptr(8)
	if scopes != 0 {
		size = 24
		if l.version < 6 {
			return -1, how + ": not yet possible", errors.New("landlock without scopes")
		}
	}
	got, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return -1, how + ": " + errno.Error(), fmt.Errorf("restricting a worker by landlock: %w", errno)
	}
	return int(got), how, nil
}

func restrictSelf(fd int) error {
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(fd), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// hide makes the rules of one process, as an open file for the thread that
// starts it, or none, and says what came of it: prog.Hidden is hidden, nothing
// is written but what c says, and signals stay inside. It completes c.
func hide(prog *Program, c *command) (file *os.File, limits []Limit, err error) {
	limits = []Limit{
		{Name: "hidden directories", Wanted: hiddenWords(prog)},
		{Name: "files elsewhere", Wanted: "not written"},
		{Name: "signals", Wanted: "to itself only"},
	}
	m, l := available(), landlocked()
	c.ownUser = m.users == "" && !c.sameUser
	if m.mounts == "" {
		c.private = privateDirs(prog, c)
	}
	if l.why != "" {
		for i := range limits {
			limits[i].How = l.why
		}
		if c.ownUser {
			limits[1].How += "; its own user can write only where everybody can"
			limits[2].InForce, limits[2].How = true, ownUserWords
		}
		if len(prog.Hidden) == 0 {
			limits[0].How = "none were asked for"
		}
		return nil, limits, nil
	}
	scopes := uint64(0)
	if l.signals {
		scopes = scopeSignals
		if c.isolated {
			scopes |= scopeSockets
		}
	}
	fd, how, err := newRuleset(l.files(), scopes)
	if err != nil {
		return nil, nil, err
	}
	file = os.NewFile(uintptr(fd), "landlock")
	if err := allow(fd, l.files(), prog, c); err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	limits[0].InForce, limits[0].How = true, how
	if len(prog.Hidden) == 0 {
		limits[0].InForce, limits[0].How = false, "none were asked for"
	}
	limits[1].InForce, limits[1].How = true, how
	if shared := sharedDirs(c.private); len(shared) > 0 {
		limits[1].How += ", but for " + strings.Join(shared, ", ")
	}
	limits[2].How = how + ": not yet possible"
	if l.signals {
		c.scoped = true
		limits[2].InForce, limits[2].How = true, how
		if !c.ownUser {
			limits[2].How += ", but for the one thread of the server that waits for it"
		}
	} else if c.ownUser {
		limits[2].InForce, limits[2].How = true, ownUserWords
	}
	return file, limits, nil
}

// publicDirs are where programs write files whatever TMPDIR says.
var publicDirs = []string{"/tmp", "/var/tmp", "/dev/shm"}

// privateDirs are those of the public directories that a process can have for
// itself: nothing that it needs lies there.
func privateDirs(prog *Program, c *command) []string {
	needed := append([]string{prog.Dir, c.dir, c.temp}, prog.Visible...)
	needed = append(needed, prog.Writable...)
	needed = append(append(needed, c.args...), c.env...)
	var out []string
	for _, dir := range publicDirs {
		stat, err := os.Lstat(dir)
		if err != nil || !stat.IsDir() {
			continue
		}
		if !slices.ContainsFunc(needed, func(text string) bool { return mentions(text, dir) }) {
			out = append(out, dir)
		}
	}
	return out
}

// mentions says whether a text names something in a directory.
func mentions(text, dir string) bool {
	for {
		before, after, found := strings.Cut(text, dir)
		if !found {
			return false
		}
		last := before[max(len(before)-1, 0):]
		inside := after == "" || after[0] == '/'
		if inside && (last == "" || strings.ContainsAny(last, ":=,; \"'")) {
			return true
		}
		text = after
	}
}

// sharedDirs are the public directories that are not private.
func sharedDirs(private []string) []string {
	var out []string
	for _, dir := range publicDirs {
		if !slices.Contains(private, dir) {
			out = append(out, dir)
		}
	}
	return out
}

// allow adds the rules.
func allow(fd int, handled uint64, prog *Program, c *command) error {
	r := reach{
		hidden:   prog.Hidden,
		readable: append([]string{prog.Dir}, prog.Visible...),
		writable: append([]string{c.temp}, prog.Writable...),
	}
	for _, dir := range sharedDirs(c.private) {
		r.shared = append(r.shared, rule{dir, accessAll})
	}
	devices := []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"}
	if c.ownUser || os.Geteuid() != 0 {
		// The files there say who may write them: the settings of the kernel
		// and the disks are root's, processes and graphics cards are not.
		devices = []string{"/dev", "/proc"}
	}
	for _, path := range devices {
		r.shared = append(r.shared, rule{path, accessWrite})
	}
	list, err := rules(r, entries)
	if err != nil {
		return err
	}
	for _, r := range list {
		if err := allowOne(fd, handled, r); err != nil {
			return fmt.Errorf("restricting a worker by landlock: rule for %s: %w", r.path, err)
		}
	}
	return nil
}

func allowOne(fd int, handled uint64, r rule) error {
	// A symbolic link has no rule: what counts is where a path leads.
	at, err := unix.Open(r.path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		// Gone since it was listed, or out of the server's own reach: without
		// a rule it is out of the process's too.
		return nil
	}
	defer unix.Close(at)
	var stat unix.Stat_t
	if err := unix.Fstat(at, &stat); err != nil {
		return err
	}
	rights := handled
	switch r.access {
	case accessRead:
		rights &= rightsRead
	case accessWrite:
		rights &= rightsRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
	case unix.S_IFLNK:
		return nil
	default:
		rights &= rightsFile | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(at)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(fd), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno == unix.EBADFD {
		return nil // of a file system inside the kernel, which needs no rule
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// entries lists a directory on the way to a hidden one, without its symbolic
// links. One that cannot be read has no entries to allow.
func entries(dir string) []string {
	list, _ := os.ReadDir(dir) // what it lists before an error
	names := make([]string, 0, len(list))
	for _, e := range list {
		if e.Type()&os.ModeSymlink == 0 {
			names = append(names, e.Name())
		}
	}
	return names
}
