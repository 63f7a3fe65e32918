// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// spaces are the namespaces that a node has of its own.
const spaces = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// enter puts the calling thread into those of the namespaces of a process that flags names; for
// CLONE_NEWPID, the thread's future children. The thread must be locked to its goroutine, and end with it.
func enter(pidfd int, flags int) error {
	if flags&unix.CLONE_NEWNS != 0 {
		// A thread that shares its working directory with others may not change its mounts.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare the working directory: %w", err)
		}
	}
	if err := unix.Setns(pidfd, flags); err != nil {
		return fmt.Errorf("enter the node's namespaces: %w", err)
	}
	return nil
}

// onThread runs fn on a thread of its own that ends with it.
func onThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // not unlocked: the runtime ends the thread with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// But never the main thread, whose namespaces are the process' for all who look.
			defer runtime.UnlockOSThread()
			done <- onThread(fn)
			return
		}
		done <- fn()
	}()
	return <-done
}
