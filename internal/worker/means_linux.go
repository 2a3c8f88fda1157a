package worker

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// means are what the kernel lets this server do with its workers. Each is
// empty, or says why not.
type means struct {
	users  string // a user of its own for each worker
	mounts string // a mount namespace
	groups string // control groups; the tree is there when this is empty
	tree   *tree
	sweep  string // SIGKILL for all of a Landlock domain, and for nobody else
	// dumpable is what PR_GET_DUMPABLE said before a worker was started: a
	// child that changes its user makes the server undumpable as well.
	dumpable int
	// resources: the server may limit processes of other users.
	resources bool
}

// available asks the kernel, once: by doing each thing on a thread that is
// thrown away, since no flag or version says what a container forbids.
var available = sync.OnceValue(func() *means {
	m := &means{}
	m.dumpable, _ = unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	m.users = mayChangeUser()
	m.resources = has(unix.CAP_SYS_RESOURCE)
	done := make(chan struct{})
	onOwnThread(func() {
		defer close(done)
		m.mounts = mayMount()
		m.sweep = maySweep()
		if m.users == "" {
			m.users = changesUser()
			m.restoreDumpable()
		}
	})
	<-done
	if m.tree = openTree(); m.tree.why != "" {
		m.groups = m.tree.why
	}
	return m
})

// network says whether a network namespace can be made; it is not asked for
// before a worker wants one.
var network = sync.OnceValue(func() string {
	why := make(chan string)
	onOwnThread(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			why <- "no network namespace: " + err.Error()
			return
		}
		if err := loopbackUp(); err != nil {
			why <- err.Error()
			return
		}
		why <- ""
	})
	return <-why
})

func (m *means) restoreDumpable() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(m.dumpable), 0, 0, 0)
}

// needed are the capabilities for users of their own. The last is for the
// workers themselves: they read what the server's user may read, as its
// interpreters often lie where nobody else can.
var needed = []struct {
	bit  uint
	name string
}{
	{unix.CAP_SETUID, "CAP_SETUID"}, {unix.CAP_SETGID, "CAP_SETGID"}, {unix.CAP_SETPCAP, "CAP_SETPCAP"},
	{unix.CAP_CHOWN, "CAP_CHOWN"}, {unix.CAP_KILL, "CAP_KILL"}, {unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"},
}

func mayChangeUser() string {
	if os.Geteuid() != 0 {
		return "the server is not root"
	}
	if strconv.IntSize < 64 {
		return "not on machines of 32 bits" // whose calls for users have 16
	}
	for _, c := range needed {
		if !has(c.bit) {
			return "the server has no " + c.name
		}
	}
	for _, file := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		if !mapped(file, firstUser, userBlocks*usersInBlock) {
			return fmt.Sprintf("the users from %d on are not mapped into this namespace", firstUser)
		}
	}
	return ""
}

// has says whether the server has a capability.
func has(bit uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	err := unix.Capget(&header, &sets[0])
	return err == nil && sets[bit/32].Effective&(1<<(bit%32)) != 0
}

// mapped says whether a range of ids exists in this user namespace.
func mapped(file string, first, count uint64) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var inside, outside, length uint64
		if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &length); err != nil {
			return false
		}
		if inside <= first && first+count <= inside+length {
			return true
		}
	}
	return false
}

// changesUser runs on a thread that is thrown away.
func changesUser() string {
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, secureNoFixup, 0, 0, 0); err != nil {
		return "keeping capabilities: " + err.Error()
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, firstUser, firstUser, firstUser); errno != 0 {
		return "changing the group: " + errno.Error()
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, firstUser, firstUser, firstUser); errno != 0 {
		return "changing the user: " + errno.Error()
	}
	return ""
}

// mayMount runs on a thread that is thrown away.
func mayMount() string {
	if err := ownMounts([]string{os.TempDir()}, os.TempDir()); err != nil {
		return err.Error()
	}
	return ""
}

// maySweep runs on a thread that is thrown away. It proves that a thread whose
// signals are scoped cannot reach a process that it could reach before: the
// sweep is a signal to everybody.
func maySweep() string {
	other, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	if err != nil {
		return "proving that signals are scoped: " + err.Error()
	}
	// It can get signals, though to no effect, until it has been waited for.
	defer func() { _, _ = other.Wait() }()
	if err := unix.Kill(other.Pid, 0); err != nil {
		return "proving that signals are scoped: " + err.Error()
	}
	fd, how, err := newRuleset(0, scopeSignals)
	if err != nil {
		return how
	}
	defer unix.Close(fd)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "giving up privileges: " + err.Error()
	}
	if err := restrictSelf(fd); err != nil {
		return "landlock: " + err.Error()
	}
	if err := unix.Kill(other.Pid, 0); !errors.Is(err, unix.EPERM) {
		return "landlock does not scope signals here"
	}
	return ""
}
