// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// patience is how long a server that was asked to end may take.
const patience = time.Minute

// up starts a server unless there is one, waits until its cluster is ready and says how to use it.
func up(ctx context.Context, c config, args []string, out io.Writer) error {
	server, err := find(c.dir)
	if err != nil {
		return err
	}
	switch {
	case server == nil:
		server, err = detach(c, args)
	case server.shape != c.shape():
		err = fmt.Errorf("a cluster of another shape runs in %s (nodes, CNI and IPv6: %s): run `down` first", c.dir, server.shape)
	}
	if err != nil {
		return err
	}
	if err := awaitReady(ctx, c.dir, server); err != nil {
		return err
	}
	nodes, err := os.ReadFile(filepath.Join(c.dir, nodesFile))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(nodes)) {
		name, pid, _ := strings.Cut(strings.TrimSpace(line), " ")
		fmt.Fprintf(out, "# a shell on %s: nsenter -at %s\n", name, pid)
	}
	fmt.Fprintf(out, "# there: export KUBECONFIG=%s\n", filepath.Join(c.dir, insideFile))
	fmt.Fprintf(out, "export KUBECONFIG=%s\n", filepath.Join(c.dir, kubeconfigFile))
	return nil
}

// detach starts the server in a session of its own, and writes down which process it is.
func detach(c config, args []string) (*process, error) {
	// What a server that was killed has left would be taken for the new one's.
	if err := remove(c.dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(c.dir, logFile))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the server has its own descriptor
	cmd := exec.Command("/proc/self/exe", append([]string{serveCommand}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	begin, err := cluster.StartTime(cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	go func() { _ = cmd.Wait() }() // so that it is seen to be gone
	p := &process{pid: cmd.Process.Pid, begin: begin, shape: c.shape()}
	line := fmt.Sprintln(p.pid, p.begin, p.shape)
	return p, os.WriteFile(filepath.Join(c.dir, serverFile), []byte(line), 0o644)
}

// awaitReady follows the server's log until the kubeconfig is there.
func awaitReady(ctx context.Context, dir string, server *process) error {
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	log, err := os.Open(filepath.Join(dir, logFile))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	for {
		if _, err := io.Copy(os.Stderr, log); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(dir, kubeconfigFile)); err == nil {
			return nil
		}
		if !server.alive() {
			return fmt.Errorf("the cluster did not start: see %s", filepath.Join(dir, logFile))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: the cluster goes on starting, `down` ends it", ctx.Err())
		case <-poll.C:
		}
	}
}

// down ends the server, and with it the cluster, and removes the directory.
func down(dir string, out io.Writer) error {
	if _, err := os.Stat(filepath.Join(dir, serverFile)); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(out, "there is no cluster in %s\n", dir)
		return nil
	}
	server, err := find(dir)
	if err != nil {
		return err
	}
	if server != nil {
		if err := server.end(patience); err != nil {
			return err
		}
	}
	if err := cluster.Sweep(); err != nil {
		return err
	}
	return remove(dir)
}

// remove removes the directory. What a server that was killed has left running is being ended by the kernel, and may
// still write.
func remove(dir string) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := os.RemoveAll(dir)
		if !errors.Is(err, syscall.ENOTEMPTY) || time.Now().After(deadline) {
			return err
		}
	}
}
