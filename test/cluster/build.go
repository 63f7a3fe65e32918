// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// builder builds one tool.
type builder struct {
	source
	name string
	dir  string // the nested module
	out  string // where the binary goes
	log  io.Writer
}

// build writes the binary under another name first: one that is running
// cannot be overwritten, and one half-written must not be found.
func (b *builder) build(ctx context.Context) error {
	flags, err := b.linkerFlags(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.log, "building %s from source: %s the first time ...\n", b.name, b.hint)
	begin := time.Now()
	stop := b.reportElapsed(begin)
	next := b.binary() + ".next"
	_, err = b.goCommand(ctx, append(b.command(), "-trimpath", "-buildvcs=false", "-tags", b.tags, "-ldflags", flags, "-o", next, b.pkg)...)
	stop()
	if err != nil {
		return err
	}
	fmt.Fprintf(b.log, "built %s in %s\n", b.name, time.Since(begin).Round(time.Second))
	return os.Rename(next, b.binary())
}

func (b *builder) command() []string {
	if b.test {
		return []string{"test", "-c"}
	}
	return []string{"build"}
}

// linkerFlags give Kubernetes its version, without which clients refuse it.
func (b *builder) linkerFlags(ctx context.Context) (string, error) {
	flags := "-s -w"
	if b.version == "" {
		return flags, nil
	}
	out, err := b.goCommand(ctx, "list", "-m", "-f", "{{.Version}}", b.version)
	if err != nil {
		return "", err
	}
	version := strings.TrimSpace(out)
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	const pkg = " -X k8s.io/component-base/version."
	return flags + pkg + "gitVersion=" + version + pkg + "gitMajor=" + major + pkg + "gitMinor=" + minor, nil
}

// goCommand runs the go command in the nested module and returns its output.
func (b *builder) goCommand(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	// Interrupted, the go command removes what it has half-written.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], errors.Join(err, ctx.Err()), stderr.Bytes())
	}
	return stdout.String(), nil
}

// reportElapsed shows every 15 s that the build goes on, until stop is called.
func (b *builder) reportElapsed(begin time.Time) (stop func()) {
	finish, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		tick := time.NewTicker(15 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(b.log, "  building %s: %s\n", b.name, time.Since(begin).Round(time.Second))
			case <-finish:
				return
			}
		}
	}()
	return func() { close(finish); <-finished }
}

// lockFile takes an exclusive lock that other processes see and that the
// kernel drops with this process. Waiting for it ends with ctx.
func lockFile(ctx context.Context, path string, log io.Writer) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	for said := false; ; {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		}
		if !said {
			fmt.Fprintf(log, "waiting for another process that builds (it holds %s)\n", path)
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for the lock %s: %w", path, ctx.Err()), file.Close())
		case <-retry.C:
		}
	}
}
