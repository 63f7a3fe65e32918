// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
)

func TestToolNamesTheKnownOnes(t *testing.T) {
	_, err := Tool(t.Context(), "docker", nil)
	if err == nil || !strings.Contains(err.Error(), "etcd, helm, host-local, hubble") {
		t.Errorf("got %v, want the list of tools", err)
	}
}

func TestToolNeedsTheRepository(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := Tool(t.Context(), "etcd", nil)
	if err == nil || !strings.Contains(err.Error(), "run this from there") {
		t.Errorf("got %v, want an error that says where to run", err)
	}
}

func TestBuildsOnceAndAgainWhenThePinsChange(t *testing.T) {
	b := hello(t, `package main; func main() { println("hello") }`)
	var log lines
	b.log = &log
	var group errgroup.Group
	for range 3 {
		group.Go(func() error {
			path, err := b.ensure(t.Context())
			if err != nil {
				return err
			}
			return exec.CommandContext(t.Context(), path).Run()
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := log.count("building hello"); n != 1 {
		t.Errorf("three callers at once built %d times, want 1:\n%s", n, &log)
	}
	write(t, b.dir, "go.sum", "\n")
	if _, err := b.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := log.count("building hello"); n != 2 {
		t.Errorf("after go.sum changed there were %d builds, want 2:\n%s", n, &log)
	}
}

func TestFailedBuildShowsTheCompilerAndLeavesNothing(t *testing.T) {
	b := hello(t, `package main; func main() { nonsense }`)
	_, err := b.ensure(t.Context())
	if err == nil || !strings.Contains(err.Error(), "undefined: nonsense") {
		t.Errorf("got %v, want the compiler's words", err)
	}
	for _, name := range []string{"hello", "hello.next", "hello.stamp"} {
		if _, err := os.Stat(filepath.Join(b.out, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s after a failed build: got %v, want no file", name, err)
		}
	}
}

func TestWaitingForAnotherBuildEndsWithTheContext(t *testing.T) {
	b := hello(t, `package main; func main() {}`)
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := lockFile(t.Context(), filepath.Join(b.out, ".lock"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	b.log = writerFunc(func(p []byte) (int, error) { // it says that it waits, then we give up
		cancel()
		return len(p), nil
	})
	if _, err := b.ensure(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// hello is a builder of a module with one file.
func hello(t *testing.T, program string) *builder {
	dir := t.TempDir()
	write(t, dir, "go.mod", "module hello\n")
	write(t, dir, "go.sum", "")
	write(t, dir, "main.go", program)
	return &builder{
		source: source{module: "hello", pkg: "hello", hint: "a second"},
		name:   "hello", dir: dir, out: filepath.Join(dir, "bin"), log: t.Output(),
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// lines is a log that several goroutines write.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) count(s string) int { return strings.Count(l.String(), s) }
