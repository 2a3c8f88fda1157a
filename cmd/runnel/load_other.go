//go:build !linux

package main

import (
	"runtime"
	"syscall"
	"time"
)

func sleepPrecisely(d time.Duration) { time.Sleep(d) }

func inMemory(string) bool { return false }

func writtenBytes() int64 { return -1 }

// residentBytes knows the peak only, which BSD systems count in bytes.
func residentBytes() (now, most int64) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return -1, -1
	}
	return -1, u.Maxrss
}

func processCPU(int) time.Duration { return -1 }

func childrenCPU() time.Duration { return -1 }

func cpuModel() string { return runtime.GOARCH }

func kernel() string { return runtime.GOOS }
