// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// own are the directories and files of the machine that a node has its own of, and where they are in
// the node's directory.
var own = map[string]string{
	"/run": "run", "/var/lib": "lib", "/var/log": "log",
	"/etc/hosts": "hosts", "/etc/resolv.conf": "resolv.conf",
}

// tunables are sysctls of the whole machine that the kubelet insists on. The node sees files with these
// values in their place, so that the machine keeps its own.
var tunables = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0",
	"kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// network are sysctls of the node's network namespace.
var network = map[string]string{
	"net/ipv4/ip_forward":          "1",
	"net/ipv6/conf/all/forwarding": "1",
	// Until detection of duplicate addresses is done, up to two seconds, an IPv6 address is not used.
	"net/ipv6/conf/default/accept_dad": "0",
}

// becomeNode makes the namespaces of this process those of the node whose state is in dir.
func becomeNode(dir, name string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	// Nothing that is mounted from here on is seen by the machine.
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE); err != nil {
		return err
	}
	if err := mountKernel(dir); err != nil {
		return err
	}
	for target, source := range own {
		if err := mount(filepath.Join(dir, source), target, "", unix.MS_BIND); err != nil {
			return err
		}
	}
	if err := hideTunables(filepath.Join(dir, "sysctl")); err != nil {
		return err
	}
	for name, value := range network {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
			return err
		}
	}
	// Pods' mounts are propagated to and from the node's, as on any node.
	return mount("", "/", "", unix.MS_REC|unix.MS_SHARED)
}

// mountKernel mounts the file systems that show the namespaces of who mounted them.
func mountKernel(dir string) error {
	cgroup := filepath.Join(dir, "cgroup")
	if err := mount("/sys/fs/cgroup", cgroup, "", unix.MS_BIND|unix.MS_REC); err != nil {
		return err
	}
	for _, m := range []struct{ kind, target string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"bpf", "/sys/fs/bpf"}} {
		if err := mount(m.kind, m.target, m.kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC); err != nil {
			return err
		}
	}
	return mount(cgroup, "/sys/fs/cgroup", "", unix.MS_MOVE)
}

func hideTunables(dir string) error {
	for name, value := range tunables {
		path := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(path, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := mount(path, "/proc/sys/"+name, "", unix.MS_BIND); err != nil {
			return err
		}
	}
	return nil
}

func mount(source, target, kind string, flags uintptr) error {
	if err := unix.Mount(source, target, kind, flags, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}
