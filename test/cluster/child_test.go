// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// asChild makes this test binary run a control plane in the directory it
// names, in a network of its own, instead of the tests.
const asChild = "BULKHEAD_TEST_CONTROL_PLANE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asChild); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if dir := os.Getenv(asFullChild); dir != "" {
		if err := fullChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child prints the servers' process ids and then waits to be killed. Should
// the test end first, it sees the end of its input.
func child(dir string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	c, err := Start(context.Background(), Options{Dir: dir, Log: os.Stderr})
	if err != nil {
		return err
	}
	pids := pidsOf(c)
	fmt.Println(pids[0], pids[1])
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, c.Stop())
}

// TestServersDieWithTheirParent runs a control plane in another process, in a
// network namespace that has nothing but lo, and kills that process.
func TestServersDieWithTheirParent(t *testing.T) {
	for _, tool := range []string{"etcd", "kube-apiserver"} { // the namespace has no way to download anything
		if _, err := Tool(t.Context(), tool, t.Output()); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asChild+"="+t.TempDir())
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = isolated()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Start()
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("this user may not create a network namespace: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var pids [2]int
	if _, err := fmt.Fscan(stdout, &pids[0], &pids[1]); err != nil {
		t.Fatalf("the control plane in the child: %v", errors.Join(err, cmd.Wait()))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as asked
	for _, pid := range pids {
		wait(t, fmt.Sprintf("process %d to end with its parent", pid), func() bool { return gone(pid) })
	}
}

// isolated asks for a new network namespace and, for the right to make one
// without being root, a new user namespace.
func isolated() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// gone is also true of a process that nobody has waited for yet.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	var name string
	var state rune
	_, err = fmt.Sscanf(string(stat), "%d %s %c", &pid, &name, &state)
	return err == nil && (state == 'Z' || state == 'X')
}
