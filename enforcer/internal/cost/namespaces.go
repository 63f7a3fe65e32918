// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// inside marks the process that runs in the namespaces.
const inside = "BULKHEAD_COST"

// inNamespaces runs f in fresh network and mount namespaces: the program starts itself once more. What f mounts
// and attaches to is its own, and goes with the process.
func inNamespaces(f func() error) error {
	if os.Getenv(inside) != "" {
		return errors.Join(comeFirst(), f())
	}
	if os.Geteuid() != 0 {
		return errors.New("run it as root: it makes network namespaces and loads eBPF")
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL, Setsid: true}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(exit.ExitCode()) // it has said why
	}
	return err
}

// comeFirst gives this session precedence over others, where the scheduler treats sessions as groups.
func comeFirst() error {
	err := os.WriteFile("/proc/self/autogroup", []byte("-20"), 0o644)
	if errors.Is(err, os.ErrNotExist) { // it does not
		return nil
	}
	return err
}

// space is a thread in a network namespace of its own; both end with close.
type space struct {
	handle netns.NsHandle
	calls  chan func()
}

func newSpace() (*space, error) {
	s := &space{calls: make(chan func())}
	ready := make(chan error)
	go s.serve(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	return s, nil
}

func (s *space) serve(ready chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	var err error
	s.handle, err = netns.New()
	ready <- err
	if err != nil {
		return
	}
	for call := range s.calls {
		call()
	}
}

// do runs f in the namespace. Sockets opened there stay in it.
func (s *space) do(f func() error) error {
	result := make(chan error)
	s.calls <- func() { result <- f() }
	return <-result
}

func (s *space) close() {
	close(s.calls)
	s.handle.Close()
}

// onCore runs f on a thread of the highest priority that stays on the core.
func onCore(core int, f func() error) <-chan error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		result <- errors.Join(claim(core), f())
	}()
	return result
}

func claim(core int) error {
	var set unix.CPUSet
	set.Set(core % runtime.NumCPU())
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("stay on core %d: %w", core, err)
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -20); err != nil {
		return fmt.Errorf("take the highest priority: %w", err)
	}
	return nil
}
