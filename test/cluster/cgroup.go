// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// cgroupRoot is where the hierarchies are mounted: one of version 2, or several of version 1.
const cgroupRoot = "/sys/fs/cgroup"

// cgroup is a control group's path below the root of each hierarchy, with a leading slash. It is what the kernel
// does not take away with the processes.
type cgroup string

var cgroupCount atomic.Int64

// newCgroup makes a group whose name says whose it is, and removes groups whose owners were killed.
func newCgroup() (cgroup, error) {
	begin, err := StartTime(os.Getpid())
	if err != nil {
		return "", err
	}
	if err := Sweep(); err != nil {
		return "", err
	}
	group := cgroup(fmt.Sprintf("/bulkhead-test-%d-%d-%d", os.Getpid(), begin, cgroupCount.Add(1)))
	for _, hierarchy := range hierarchies() {
		dir := filepath.Join(hierarchy, string(group))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", fmt.Errorf("control group of a cluster: %w", err)
		}
		if err := inheritCPUs(hierarchy, dir); err != nil {
			return "", fmt.Errorf("control group of a cluster: %w", err)
		}
	}
	return group, nil
}

// hierarchies are the directories that groups are made in.
func hierarchies() []string {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}
	}
	dirs, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs")) // its one error is a bad pattern
	for i, dir := range dirs {
		dirs[i] = filepath.Dir(dir)
	}
	return dirs
}

// inheritCPUs fills in what a new group of version 1 has none of, and without which it takes no process.
func inheritCPUs(parent, dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		content, err := os.ReadFile(filepath.Join(parent, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes what clusters whose processes were killed have left on the machine: control groups.
func Sweep() error {
	for _, hierarchy := range hierarchies() {
		dirs, _ := filepath.Glob(filepath.Join(hierarchy, "bulkhead-test-*-*-*"))
		for _, dir := range dirs {
			parts := strings.Split(filepath.Base(dir), "-")
			pid, err := strconv.Atoi(parts[2])
			if err != nil {
				continue // not ours
			}
			if begin, err := StartTime(pid); err == nil && strconv.FormatUint(begin, 10) == parts[3] {
				continue
			}
			if err := removeTree(dir); err != nil && !errors.Is(err, syscall.EBUSY) {
				return fmt.Errorf("remove the control group of a cluster that is gone: %w", err)
			}
		}
	}
	return nil
}

// remove removes the group with those in it. The kernel takes a moment to let go of one whose last process has
// ended; what is not free within patience is an error.
func (g cgroup) remove(patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for _, hierarchy := range hierarchies() {
		for {
			err := removeTree(filepath.Join(hierarchy, string(g)))
			if err == nil {
				break
			}
			if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("remove the control group of a cluster: %w", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// removeTree removes a control group: its files go with the directory, and cannot be removed.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeTree(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}

// StartTime is when a process began, in clock ticks after the machine did. Together with the process id it names a
// process for good. It is an error when the process has ended, also when nobody has waited for it yet.
func StartTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("start time of process %d: %w", pid, err)
	}
	// The name, in parentheses, may hold anything. proc(5): the start time is field 22, and the 20th after the name.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("start time of process %d: /proc/%d/stat has %d fields after the name", pid, pid, len(fields))
	}
	if state := fields[0]; state == "Z" || state == "X" {
		return 0, fmt.Errorf("start time of process %d: it has ended", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
