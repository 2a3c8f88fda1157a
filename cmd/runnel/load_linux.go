package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sleepPrecisely sleeps to within the timer slack of a thread, 50 us. The
// timers of an idle Go process end up to 1 ms late on Linux, which would be
// most of what a paced run measures.
func sleepPrecisely(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // interrupted: the caller looks at the clock
}

// inMemory says whether a directory is on a filesystem without a disk, where
// an fsync costs and means nothing.
func inMemory(dir string) bool {
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	var fs syscall.Statfs_t
	return syscall.Statfs(dir, &fs) == nil && (int64(fs.Type) == tmpfs || int64(fs.Type) == ramfs)
}

// writtenBytes is what this process has had the disks write, or -1 if the
// system does not tell. Pages that are written again count again.
func writtenBytes() int64 { return procField("/proc/self/io", "write_bytes:") }

// residentBytes returns the memory of this process, now and at most, or -1.
func residentBytes() (now, most int64) {
	kib := func(name string) int64 {
		if v := procField("/proc/self/status", name); v >= 0 {
			return v << 10
		}
		return -1
	}
	return kib("VmRSS:"), kib("VmHWM:")
}

// processCPU is the processor time of a process so far, or -1.
func processCPU(pid int) time.Duration {
	// The number of a process' clock, as clock_getcpuclockid makes it.
	const process = 2
	var t unix.Timespec
	if pid <= 0 || unix.ClockGettime(^int32(pid)<<3|process, &t) != nil {
		return -1
	}
	return time.Duration(t.Nano())
}

// childrenCPU is the processor time of the processes that this one has started,
// those that have ended included; or -1. Of the living it is counted in ticks
// of 10 ms, and without what they have started themselves.
func childrenCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u) != nil {
		return -1
	}
	total := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return -1
	}
	self := strconv.Itoa(os.Getpid())
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// The name in parentheses may hold anything. Behind it come the state,
		// the parent, and as the 12th and 13th the ticks.
		fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
		if len(fields) < 13 || string(fields[1]) != self {
			continue
		}
		for _, field := range fields[11:13] {
			ticks, err := strconv.ParseInt(string(field), 10, 64)
			if err != nil {
				return -1
			}
			total += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return total
}

func procField(file, name string) int64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return -1
	}
	for line := range bytes.Lines(data) {
		fields := bytes.Fields(line)
		if len(fields) < 2 || string(fields[0]) != name {
			continue
		}
		if v, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
			return v
		}
	}
	return -1
}

func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(data) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(name)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return "unknown"
}

func kernel() string {
	data, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "linux " + string(bytes.TrimSpace(data))
}
