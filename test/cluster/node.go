// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Node is a machine of a cluster: network, mount, process, host name and IPC namespaces of its own, with
// containerd, kubelet and kube-proxy in them. Inside, everything is where it is on any node:
//
//	/run/containerd/containerd.sock   CRI
//	/run/nri/nri.sock                 NRI
//	/run/netns                        network namespaces of the pods
//	/sys/fs/bpf                       a BPF file system of the node's own
//	/var/lib/kubelet, /var/lib/containerd, /var/log/pods, /var/lib/cni/net.d
//
// The machine's other directories are the machine's, at the same paths. All of it goes with its first
// process, even when the calling process is killed.
type Node struct {
	// Name of the Node object, and the host name.
	Name string
	// Addrs are the node's addresses on eth0, one of each version of IP that the cluster has; the primary one
	// is the first.
	Addrs []netip.Addr
	// Pods are the ranges that the node's pods get their addresses from, in the order of Addrs.
	Pods []netip.Prefix

	number   int // of the node, beginning with 1
	families []family
	dir      string
	first    *Process
	pidfd    int // of first
	cgroup   cgroup
	daemons  map[string]*Process // by name
}

func newNode(i int, dir string, families []family, group cgroup) *Node {
	n := &Node{
		Name: nodeName(i), number: i, families: families,
		dir: filepath.Join(dir, nodeName(i)), cgroup: group, daemons: map[string]*Process{},
	}
	for _, f := range families {
		n.Addrs, n.Pods = append(n.Addrs, f.node(i)), append(n.Pods, f.podRange(i))
	}
	return n
}

// startNode makes the namespaces of a node of a cluster that has count nodes.
func startNode(ctx context.Context, node *Node, count int, init string) (_ *Node, err error) {
	for _, sub := range []string{"run", "lib", "log", "sysctl", "cgroup"} {
		if err := os.MkdirAll(node.path(sub), 0o755); err != nil {
			return nil, fmt.Errorf("directory of %s: %w", node.Name, err)
		}
	}
	if err := node.writeNames(count); err != nil {
		return nil, err
	}
	cmd := exec.Command(init, node.dir, node.Name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: spaces}
	ready, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if node.first, err = start(cmd, node.path("init.log"), nil); err != nil {
		return nil, err
	}
	if err := awaitLine(ctx, ready); err != nil {
		_ = node.first.Stop(0)
		return nil, fmt.Errorf("set up %s: %w\n%s", node.Name, err, node.first.LogTail())
	}
	if node.pidfd, err = unix.PidfdOpen(node.first.Pid(), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("open the process of %s: %w", node.Name, err), node.first.Stop(0))
	}
	return node, nil
}

// writeNames makes the node know itself and the others by name.
func (n *Node) writeNames(count int) error {
	hosts := "127.0.0.1 localhost\n::1 localhost\n"
	for i := 1; i <= count; i++ {
		for _, f := range n.families {
			hosts += fmt.Sprintf("%s %s\n", f.node(i), nodeName(i))
		}
	}
	// Nobody answers there: the cluster's network ends at its gateway.
	resolv := fmt.Sprintf("nameserver %s\n", n.families[0].gateway())
	for name, content := range map[string]string{"hosts": hosts, "resolv.conf": resolv} {
		if err := os.WriteFile(n.path(name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("name resolution of %s: %w", n.Name, err)
		}
	}
	return nil
}

// everything are the prefixes of all addresses.
func (n *Node) everything() []netip.Prefix {
	var all []netip.Prefix
	for _, f := range n.families {
		all = append(all, f.all)
	}
	return all
}

// path is where a file of the node's directory is seen from outside.
func (n *Node) path(elem ...string) string {
	return filepath.Join(append([]string{n.dir}, elem...)...)
}

// Pid is the process id, as the caller sees it, of the first process in the node's namespaces: nsenter -at
// PID is a shell on the node, and /proc/PID/ns/net its network namespace.
func (n *Node) Pid() int { return n.first.Pid() }

// StartProcess runs a program on the node, as StartProcess of the package does elsewhere.
func (n *Node) StartProcess(binary, log string, args []string) (*Process, error) {
	return start(here(exec.Command(binary, args...)), log, n.enter)
}

// daemon starts one of the servers that make a node, with its log in the node's directory.
func (n *Node) daemon(binary string, args ...string) error {
	name := filepath.Base(binary)
	p, err := n.StartProcess(binary, n.path(name+".log"), args)
	if err == nil {
		n.daemons[name] = p
	}
	return err
}

// Run runs a command on the node and returns what it wrote. The error ends with what it wrote as errors.
func (n *Node) Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := here(exec.CommandContext(ctx, name, args...))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := onThread(func() error {
		if err := n.enter(); err != nil {
			return err
		}
		return cmd.Run()
	})
	if err != nil {
		err = fmt.Errorf("%s on %s: %w\n%s", name, n.Name, err, stderr.Bytes())
	}
	return stdout.Bytes(), err
}

// here makes the command begin in the caller's working directory: entering mounts leaves it.
func here(cmd *exec.Cmd) *exec.Cmd {
	dir, err := os.Getwd()
	cmd.Dir, cmd.Err = dir, errors.Join(cmd.Err, err)
	return cmd
}

// Do runs fn on a thread in the node's network namespace. Sockets opened there stay in it.
func (n *Node) Do(fn func() error) error {
	return onThread(func() error {
		if err := enter(n.pidfd, unix.CLONE_NEWNET); err != nil {
			return err
		}
		return fn()
	})
}

// DialContext connects from the node, as a net.Dialer does elsewhere. The address must be an IP address and a port.
func (n *Node) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("dial from %s: %w", n.Name, err) // names are tried on other threads
	}
	err = n.Do(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

func (n *Node) enter() error { return enter(n.pidfd, spaces) }

// stop kills the daemons and the node's first process, and the kernel everything else in its namespaces. It returns when
// all of it is gone.
func (n *Node) stop() error {
	var errs []error
	for _, p := range n.daemons {
		errs = append(errs, p.Stop(0))
	}
	errs = append(errs, n.first.Stop(0), unix.Close(n.pidfd), n.cgroup.remove(10*time.Second))
	return errors.Join(errs...)
}
