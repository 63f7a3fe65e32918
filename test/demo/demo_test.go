// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// built is the folder of the demo and the binaries that it runs. Any user can read it.
var built string

func TestMain(m *testing.M) {
	code := 1
	err := func() (err error) {
		if built, err = os.MkdirTemp("", "bulkhead-demo-test-"); err != nil {
			return err
		}
		defer os.RemoveAll(built)
		if err := os.Chmod(built, 0o755); err != nil {
			return err
		}
		code = m.Run()
		return nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// demoCommand is `demo` as make runs it, with its temporary files in tmp.
func demoCommand(t *testing.T, tmp string) *exec.Cmd {
	t.Helper()
	for _, tool := range []string{"etcd", "kube-apiserver", "helm"} {
		if _, err := cluster.Tool(t.Context(), tool, t.Output()); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.Build(t.Context(), built); err != nil {
		t.Fatal(err)
	}
	demo := filepath.Join(built, "demo")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", demo, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the demo: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), demo, "--bin", built, "--chart", "charts/bulkhead")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Stderr = t.Output()
	return cmd
}

// TestInterruptedLeavesNothing interrupts, and kills, the demo while all of it runs.
func TestInterruptedLeavesNothing(t *testing.T) {
	if lack := missing(); lack != "" {
		t.Skip("missing: " + lack)
	}
	before := links(t)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			tmp := t.TempDir()
			cmd := demoCommand(t, tmp)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if !sees(out, "4/6 PROPOSE") {
				t.Fatalf("the demo ended before step 4: %v", cmd.Wait())
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, out) //nolint:errcheck // what it says after that is of no interest
			if err := cmd.Wait(); err == nil {
				t.Error("exit status 0 after an interruption")
			}
			eventually(t, "processes of the demo are left", func() bool { return len(processesFrom(t, built)) == 0 })
			eventually(t, "files of the demo are left", func() bool { return len(entries(t, tmp)) == 0 })
			if after := links(t); after != before {
				t.Errorf("links are %s, were %s", after, before)
			}
		})
	}
}

// TestWithoutRoot runs the steps that need no packets as an ordinary user.
func TestWithoutRoot(t *testing.T) {
	tmp, err := os.MkdirTemp("", "bulkhead-demo-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	cmd := demoCommand(t, tmp)
	if os.Geteuid() == 0 {
		const nobody = 65534
		if err := os.Chown(tmp, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Env = append(cmd.Env, "HOME="+tmp)
	}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err == nil {
		t.Error("exit status 0, though most steps were not shown")
	}
	for _, want := range []string{
		"missing: root (to make network namespaces and load eBPF). Steps 1 and 2",
		"0 pods before their policies",
		"demo: steps 3 to 6 were not shown: missing root",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(said.String())
	}
}

func sees(out io.Reader, text string) bool {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			return true
		}
	}
	return false
}

func links(t *testing.T) string {
	t.Helper()
	all, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range all {
		names = append(names, l.Attrs().Name)
	}
	return strings.Join(names, " ")
}

func entries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// processesFrom lists the processes whose program is in the folder.
func processesFrom(t *testing.T, folder string) (pids []string) {
	t.Helper()
	for _, p := range entries(t, "/proc") {
		exe, err := os.Readlink(filepath.Join("/proc", p.Name(), "exe"))
		if err == nil && strings.HasPrefix(exe, folder+"/") {
			pids = append(pids, p.Name())
		}
	}
	return pids
}

// eventually fails when the condition does not hold within half a minute.
func eventually(t *testing.T, otherwise string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !condition() {
		select {
		case <-deadline:
			t.Fatal(otherwise)
		case <-tick.C:
		}
	}
}
