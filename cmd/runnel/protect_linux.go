package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// protect keeps other processes of the same user, the workers above all, from
// reading the memory of this one: it holds keys, and the environments of all
// functions. Core dumps end with it.
func protect() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("protect the memory of the server from its workers: %w", err)
	}
	return nil
}
