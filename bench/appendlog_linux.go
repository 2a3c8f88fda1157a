package main

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// datasync makes the data of a file durable, and of its metadata what is
// needed to read it.
func datasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// writtenBytes is what this process has had the disks write.
func writtenBytes() int64 {
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(data) {
		if value, ok := bytes.CutPrefix(line, []byte("write_bytes: ")); ok {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			return n
		}
	}
	return 0
}

// loadAverage is what else the machine was doing.
func loadAverage() string {
	data, _ := os.ReadFile("/proc/loadavg")
	fields := bytes.Fields(data)
	if len(fields) < 3 {
		return "unknown"
	}
	return string(bytes.Join(fields[:3], []byte(" ")))
}
