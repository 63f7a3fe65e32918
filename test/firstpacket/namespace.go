// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// namespaceOf finds the network namespace of the pod that has the address, among those that the runtime pinned on
// the node.
func (l *lab) namespaceOf(addr netip.Addr) (func(func() error) error, error) {
	pins, err := filepath.Glob(l.onNode("/run/netns/*"))
	if err != nil {
		return nil, err
	}
	for _, path := range pins {
		in := func(fn func() error) error { return inNamespace(path, fn) }
		found := false
		err := in(func() error {
			addrs, err := net.InterfaceAddrs()
			for _, a := range addrs {
				found = found || strings.HasPrefix(a.String(), addr.String()+"/")
			}
			return err
		})
		if err == nil && found {
			return in, nil
		}
	}
	return nil, fmt.Errorf("none of %d network namespaces on the node has the address %s", len(pins), addr)
}

// onNode is how the machine sees a path of the node's.
func (l *lab) onNode(path string) string { return fmt.Sprintf("/proc/%d/root%s", l.node.Pid(), path) }

// inNamespace runs fn on a thread in the network namespace, which ends with it.
func inNamespace(path string, fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // not unlocked: the runtime ends the thread with the goroutine
		done <- enter(path, fn)
	}()
	return <-done
}

func enter(path string, fn func() error) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return fn()
}
