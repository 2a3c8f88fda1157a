//go:build !linux

package main

import "time"

func processCPU(int) time.Duration { return -1 }

func residentBytes(int) (now, most int64) { return 0, 0 }
