package worker

import (
	"fmt"
	"os"
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
)

// hide makes the rules that hide prog.Hidden from one process, as an open file
// for the thread that starts it, or none, and says what came of it.
func hide(prog *Program, temp string) (file *os.File, limits []Limit, err error) {
	hidden := Limit{Name: "hidden directories", Wanted: hiddenWords(prog)}
	signals := Limit{Name: "signals", Wanted: "to itself only"}
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		hidden.How = "this kernel has no landlock: " + errno.Error()
		signals.How = hidden.How
		return nil, []Limit{hidden, signals}, nil
	}
	how := fmt.Sprintf("landlock, version %d", version)
	attr := unix.LandlockRulesetAttr{Handled_access_fs: rightsFirst}
	size := uintptr(8)
	if version >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	signals.How = how + ": not yet possible"
	if version >= 6 {
		errata, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_ERRATA)
		if errno == 0 && errata&erratumSignals != 0 {
			attr.Scoped, size = unix.LANDLOCK_SCOPE_SIGNAL, 24
			signals.InForce, signals.How = true, how+", but for the one thread of the server that waits for it"
		}
	}
	if len(prog.Hidden) == 0 {
		hidden.How = "none were asked for"
		if !signals.InForce {
			return nil, []Limit{hidden, signals}, nil
		}
		attr.Handled_access_fs = 0
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return nil, nil, fmt.Errorf("hiding directories by landlock: %w", errno)
	}
	file = os.NewFile(fd, "landlock")
	if len(prog.Hidden) > 0 {
		if err := allow(int(fd), attr.Handled_access_fs, prog, temp); err != nil {
			_ = file.Close()
			return nil, nil, err
		}
		hidden.InForce, hidden.How = true, how
	}
	return file, []Limit{hidden, signals}, nil
}

// allow adds the rules.
func allow(fd int, handled uint64, prog *Program, temp string) error {
	readable := append([]string{prog.Dir}, prog.Visible...)
	list, err := rules(prog.Hidden, readable, temp, entries)
	if err != nil {
		return err
	}
	for _, r := range list {
		if err := allowOne(fd, handled, r); err != nil {
			return fmt.Errorf("hiding directories by landlock: rule for %s: %w", r.path, err)
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
	if r.access == accessRead {
		rights &= rightsRead
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
