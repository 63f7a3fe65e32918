// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// process is one that was written down: its id alone may have been given to another since.
type process struct {
	pid   int
	begin uint64
	shape string // of the cluster that it serves
}

// find returns the server of the directory, or nil if there is none that lives.
func find(dir string) (*process, error) {
	content, err := os.ReadFile(filepath.Join(dir, serverFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var p process
	if _, err := fmt.Sscan(string(content), &p.pid, &p.begin, &p.shape); err != nil {
		return nil, fmt.Errorf("%s: %w: want a process id, its start time and the shape of the cluster", filepath.Join(dir, serverFile), err)
	}
	if !p.alive() {
		return nil, nil
	}
	return &p, nil
}

func (p *process) alive() bool {
	begin, err := cluster.StartTime(p.pid)
	return err == nil && begin == p.begin
}

// end asks the process to end, and kills it if it has not within patience.
func (p *process) end(patience time.Duration) error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := syscall.Kill(p.pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end process %d: %w", p.pid, err)
		}
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if !p.alive() {
				return nil
			}
		}
	}
	return fmt.Errorf("process %d does not end", p.pid)
}
