package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processCPU is the processor time of a process so far, or -1.
func processCPU(pid int) time.Duration {
	// The number of a process' clock, as clock_getcpuclockid makes it.
	const process = 2
	var t unix.Timespec
	if unix.ClockGettime(^int32(pid)<<3|process, &t) != nil {
		return -1
	}
	return time.Duration(t.Nano())
}

// residentBytes is the memory of a process, now and at most so far; 0 if it is
// not known.
func residentBytes(pid int) (now, most int64) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range bytes.Lines(data) {
		fields := bytes.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(string(fields[1]), 10, 64)
		switch string(fields[0]) {
		case "VmRSS:":
			now = kib << 10
		case "VmHWM:":
			most = kib << 10
		}
	}
	return now, most
}

// childrenCPU is that of the processes that a process started and that run.
func childrenCPU(of int) (sum time.Duration) {
	parent := strconv.Itoa(of)
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// PID (NAME) STATE PPID ...
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 2 || fields[1] != parent {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		sum += max(processCPU(pid), 0)
	}
	return sum
}

func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	_, rest, _ := bytes.Cut(data, []byte("model name"))
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	return string(bytes.Trim(line, "\t :"))
}

func kernel() string {
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "linux"
	}
	return "linux " + string(bytes.TrimSpace(data))
}
