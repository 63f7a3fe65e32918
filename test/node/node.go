// SPDX-License-Identifier: Apache-2.0

// Package node makes a node for tests and the demo: a network namespace with real pods (network namespaces of
// their own) behind veth pairs with a route per pod, as the ptp CNI plugin lays them out.
package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside marks the process that runs in the namespaces.
const inside = "BULKHEAD_TEST_NODE"

// Main runs the tests of a package in fresh network and mount namespaces, with loopback up and
// forwarding on: the test binary starts itself once more. before runs outside, first; setUp runs inside,
// and what it returns when the tests have ended. Each may be nil.
func Main(m *testing.M, before func() error, setUp func() (tearDown func(), err error)) {
	if os.Getenv(inside) != "" {
		os.Exit(runTests(m, setUp))
	}
	if os.Geteuid() != 0 {
		fmt.Println("SKIP: these tests make network namespaces and load eBPF: run them as root")
		os.Exit(0)
	}
	if before != nil {
		if err := before(); err != nil {
			fmt.Fprintln(os.Stderr, "prepare the tests:", err)
			os.Exit(1)
		}
	}
	os.Exit(runInside())
}

// Run runs main in namespaces as Main makes them: the program starts itself once more, with the same arguments, and
// ends with its exit status. It returns only there, or when it cannot start.
func Run(main func() error) error {
	if os.Getenv(inside) != "" {
		if err := Configure(); err != nil {
			return fmt.Errorf("set up the node: %w", err)
		}
		return main()
	}
	if os.Geteuid() != 0 {
		return errors.New("it makes network namespaces and loads eBPF: run it as root")
	}
	signal.Ignore(os.Interrupt) // a terminal sends it to the other, too
	os.Exit(runInside())
	panic("unreachable")
}

func runTests(m *testing.M, setUp func() (func(), error)) int {
	err := Configure()
	tearDown := func() {}
	if err == nil && setUp != nil {
		tearDown, err = setUp()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "set up the test node:", err)
		return 1
	}
	defer tearDown()
	return m.Run()
}

func runInside() int {
	runtime.LockOSThread() // Pdeathsig is about the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	// Unsharing mounts also makes them private: what a test mounts, nobody else sees.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "start the tests in a network namespace:", err)
		return 1
	}
	return 0
}

// Configure makes the fresh network namespace of the caller a node: loopback up, forwarding on.
func Configure() error {
	for path, value := range map[string]string{
		"/proc/sys/net/ipv4/ip_forward":          "1",
		"/proc/sys/net/ipv6/conf/all/forwarding": "1",
		noDAD("default"):                         "0",
	} {
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			return err
		}
	}
	return linkUp("lo")
}

// noDAD is where 0 switches duplicate address detection off: until it is done, up to two seconds after a
// link came up, the kernel looks for no IPv6 neighbour there.
func noDAD(link string) string { return "/proc/sys/net/ipv6/conf/" + link + "/accept_dad" }
