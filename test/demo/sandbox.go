// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/test/node"
)

// The demo runs in network, mount and process namespaces of its own: the node's links, routes,
// nftables rules, pinned maps and processes live there and end with it, however it ends.
const sandboxFlags = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID

// errSandbox is the failure of what runs in the sandbox, which reports it there.
var errSandbox = errors.New("the sandbox failed")

// missing says what this machine lacks for the steps that need packets; empty when nothing.
func missing() string {
	if os.Geteuid() != 0 {
		return "root (to make network namespaces and load eBPF)"
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "a Linux kernel that says its version: " + err.Error()
	}
	var major, minor int
	release := unix.ByteSliceToString(u.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil || major < 6 || major == 6 && minor < 6 {
		return "Linux 6.6 or newer (this is " + release + ")"
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return "a kernel with BTF (CONFIG_DEBUG_INFO_BTF)"
	}
	if _, err := exec.LookPath("nft"); err != nil {
		return "nft (apt-get install nftables)"
	}
	return ""
}

// enterSandbox runs this program again in the namespaces, with the same arguments, and waits.
// Cancelling ctx interrupts it, so that it can stop its processes in order.
func enterSandbox(ctx context.Context, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"sandbox"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// Should this process be killed, the sandbox is told to end. The kernel sends the signal when the
	// thread that forked ends, so it has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: sandboxFlags, Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 20 * time.Second // then the whole process namespace is killed
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %w", errSandbox, err)
	}
	return nil
}

// setUpSandbox makes the fresh namespaces usable: loopback, a /proc of its own processes, a BPF
// filesystem, forwarding.
func setUpSandbox() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, m := range [][2]string{{"proc", "/proc"}, {"bpf", "/sys/fs/bpf"}} {
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			return fmt.Errorf("mount %s at %s: %w", m[0], m[1], err)
		}
	}
	return node.Configure()
}
