// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// figures of one run of bulkhead generate.
type figures struct {
	flows   int
	reading phase // from the start until the last flow was taken
	rest    phase // from then on: attribution, synthesis, proof, writing
	memory  int64 // the most that was resident, in bytes
	files   int   // policies that were written
}

// phase is what a part of the run took. CPU is that of the program alone, on all cores.
type phase struct{ wall, cpu time.Duration }

// measure runs bulkhead generate on the flows that this program prints in another process.
func measure(ctx context.Context, bulkhead string, flows int, dir string) (*figures, error) {
	inventory, policies := filepath.Join(dir, "inventory"), filepath.Join(dir, "policies")
	if err := os.Mkdir(inventory, 0o755); err != nil {
		return nil, err
	}
	if err := writeInventory(inventory); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	printer := exec.CommandContext(ctx, self, "print", "--flows", strconv.Itoa(flows))
	reader := exec.CommandContext(ctx, bulkhead, "generate", "--flows", "-", "--inventory", inventory, "--out", policies)
	var said bytes.Buffer
	printer.Stderr, reader.Stderr, reader.Stdout = os.Stderr, &said, io.Discard
	if reader.Stdin, printer.Stdout, err = os.Pipe(); err != nil {
		return nil, err
	}
	f, err := follow(printer, reader, flows)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, said.Bytes())
	}
	written, err := filepath.Glob(filepath.Join(policies, "clusters", "*", "*", "*.yaml"))
	f.files = len(written)
	return f, err
}

// follow starts both processes and takes the times. The one that prints ends when the last flow is taken, but for
// what is in the pipe.
func follow(printer, reader *exec.Cmd, flows int) (*figures, error) {
	begin := time.Now()
	if err := errors.Join(reader.Start(), printer.Start()); err != nil {
		return nil, err
	}
	for _, ours := range []any{reader.Stdin, printer.Stdout} { // so that each process notices when the other ends
		if err := ours.(*os.File).Close(); err != nil {
			return nil, err
		}
	}
	printed := printer.Wait()
	f := &figures{flows: flows}
	f.reading.wall = time.Since(begin)
	used, err := cpuOf(reader.Process.Pid)
	if err := errors.Join(reader.Wait(), printed, err); err != nil {
		return nil, err
	}
	f.reading.cpu = used
	ended := reader.ProcessState
	f.rest.wall = time.Since(begin) - f.reading.wall
	f.rest.cpu = ended.UserTime() + ended.SystemTime() - f.reading.cpu
	f.memory = ended.SysUsage().(*syscall.Rusage).Maxrss << 10
	return f, nil
}

// cpuOf is the time that a process used until now.
func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime of proc(5), in the ticks of USER_HZ
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}
