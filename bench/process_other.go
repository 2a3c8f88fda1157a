//go:build !linux

package main

import (
	"runtime"
	"time"
)

func processCPU(int) time.Duration { return -1 }

func residentBytes(int) (now, most int64) { return 0, 0 }

func childrenCPU(int) time.Duration { return 0 }

func cpuModel() string { return runtime.GOARCH }

func kernel() string { return runtime.GOOS }
