package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
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
