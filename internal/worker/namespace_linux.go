package worker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ownMounts gives this thread a mount namespace in which each of the private
// directories is temp. What the machine mounts and unmounts later happens there,
// too; nothing comes back.
func ownMounts(private []string, temp string) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("no mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("no mount namespace: %w", err)
	}
	for _, dir := range private {
		if err := unix.Mount(temp, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("making %s private: %w", dir, err)
		}
	}
	return nil
}

// ownNetwork gives this thread a network namespace with nothing but a loopback
// interface, and opens the ports on it.
func ownNetwork(ports []int) (open []net.Listener, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("no network namespace: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeAll(open)
		}
	}()
	for _, port := range ports {
		l, err := listenHere(port)
		if err != nil {
			return open, fmt.Errorf("port %d of an isolated worker: %w", port, err)
		}
		open = append(open, l)
	}
	return open, nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback interface of a worker: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("loopback interface of a worker: %w", err)
	}
	request.SetUint16(unix.IFF_UP)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(request))); errno != 0 {
		return fmt.Errorf("loopback interface of a worker: %w", errno)
	}
	return nil
}

// listenHere listens in the network of this thread. Package net would ask, once
// for all the server, what this network can do.
func listenHere(port int) (net.Listener, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	err = unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err != nil {
		return nil, err
	}
	return net.FileListener(file)
}

func closeAll(open []net.Listener) error {
	var err error
	for _, l := range open {
		err = errors.Join(err, l.Close())
	}
	return err
}

// isolates says whether a process of this program gets a network of its own.
func isolates(prog *Program) bool { return prog.Isolated && network() == "" }
