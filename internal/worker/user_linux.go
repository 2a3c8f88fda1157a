package worker

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Users of workers are firstUser and above, where no distribution and no
// container runtime has any, and below the ids that are negative to some
// programs. A server claims them by the block, so that two servers of a machine
// have none in common.
const (
	firstUser    = 2_000_000_000
	userBlocks   = 147_000
	usersInBlock = 1000

	secureNoFixup = 1 << 2 // SECBIT_NO_SETUID_FIXUP

	ownUserWords = "a user of its own"
)

// users are the ids that this server has claimed and that are free. Those of a
// block stay claimed as long as the server lives.
var users struct {
	sync.Mutex
	free   []uint32
	claims []net.Listener
}

// takeUser returns a user that no process has.
func takeUser() (uint32, error) {
	users.Lock()
	defer users.Unlock()
	for try := 0; len(users.free) == 0; try++ {
		block := rand.IntN(userBlocks)
		// The name is free again when the server dies, however it does.
		claim, err := net.Listen("unix", "@runnel-users-"+strconv.Itoa(block))
		if err != nil {
			if try > 10 {
				return 0, fmt.Errorf("claiming users for workers: %w", err)
			}
			continue
		}
		users.claims = append(users.claims, claim)
		for i := range uint32(usersInBlock) {
			users.free = append(users.free, firstUser+uint32(block)*usersInBlock+i)
		}
	}
	user := users.free[0]
	users.free = users.free[1:]
	return user, nil
}

// freeUser gives a user back that has no process any more. It is taken again
// after all the others.
func freeUser(user uint32) {
	users.Lock()
	users.free = append(users.free, user)
	users.Unlock()
}

// asUser runs f on a thread of that user: a server without CAP_SYS_RESOURCE may
// not limit the processes of others. 0 is the server's own.
func asUser(user uint32, f func()) {
	if user == 0 || available().resources {
		f()
		return
	}
	done := make(chan struct{})
	onOwnThread(func() {
		defer close(done)
		id := uintptr(user)
		// Without the change f finds out that it is not allowed.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, id, id, id); errno == 0 {
			_, _, _ = unix.RawSyscall(unix.SYS_SETRESUID, id, id, id)
			available().restoreDumpable()
		}
		f()
	})
	<-done
}

// killUser kills all processes of a user, as that user: the kernel then finds
// them in one step in which none can fork, and finds nobody else's.
func killUser(user uint32) {
	done := make(chan struct{})
	onOwnThread(func() {
		defer close(done)
		id := uintptr(user)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); errno != 0 {
			return
		}
		defer available().restoreDumpable()
		// A thread that still is root, or has its right to signal anybody,
		// would end the machine.
		var r, e, s uint32
		if _, _, errno := unix.RawSyscall(unix.SYS_GETRESUID,
			uintptr(unsafe.Pointer(&r)), uintptr(unsafe.Pointer(&e)), uintptr(unsafe.Pointer(&s))); errno != 0 || r != user || e != user || s != user {
			return
		}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var sets [2]unix.CapUserData
		if err := unix.Capget(&header, &sets[0]); err != nil || sets[0].Effective != 0 || sets[1].Effective != 0 {
			return
		}
		_ = syscall.Kill(-1, syscall.SIGKILL)
	})
	<-done
}

// tasksOf is how many processes and threads a user has.
func tasksOf(user uint32) int {
	sum := 0
	list, _ := os.ReadDir("/proc") // what it lists before an error
	for _, d := range list {
		if c := d.Name()[0]; c < '0' || c > '9' {
			continue
		}
		var stat unix.Stat_t
		if unix.Stat("/proc/"+d.Name(), &stat) != nil || stat.Uid != user {
			continue
		}
		tasks, _ := os.ReadDir("/proc/" + d.Name() + "/task")
		sum += len(tasks)
	}
	return sum
}

// giveTo makes a user the owner of a worker's directory and of its pipes, which
// programs open again as /dev/stdout.
func giveTo(user uint32, temp string, files []*os.File) error {
	id := int(user)
	if err := os.Lchown(temp, id, id); err != nil {
		return fmt.Errorf("giving a worker its directory: %w", err)
	}
	for _, f := range files[1:] {
		if err := f.Chown(id, id); err != nil {
			return fmt.Errorf("giving a worker its pipes: %w", err)
		}
	}
	return nil
}

// giveTree changes the owner of a directory with all below it.
func giveTree(user, group int, dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, user, group)
	})
}
