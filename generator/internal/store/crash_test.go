// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/generator/internal/store"
)

// The process that is killed, and the one whose disk is full, are this one with the file in a variable.
const (
	crashFile  = "BULKHEAD_TEST_CRASH_FILE"
	fullFile   = "BULKHEAD_TEST_FULL_FILE"
	crashInput = 20_000
)

func TestMain(m *testing.M) {
	var err error
	if path := os.Getenv(crashFile); path != "" {
		err = observe(path)
	} else if path := os.Getenv(fullFile); path != "" {
		err = fillDisk(path)
	} else {
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// observe reads its input from where the file says that it was, and prints how many observations are
// committed.
func observe(path string) error {
	s, err := store.Open(path, store.Options{Limits: narrow, Wait: 10 * time.Second})
	if err != nil {
		return err
	}
	all := random(7, crashInput)
	next := 0
	if at := s.Position("node"); !at.IsZero() {
		next = int(at.Sub(start) / time.Minute)
	}
	for ; next < len(all); next += 40 {
		add(s, all[next:min(len(all), next+40)])
		if err := s.Commit(); err != nil {
			return err
		}
		fmt.Println(min(len(all), next+40))
	}
	return s.Close()
}

// TestKill kills a process that is writing, again and again. What it said that it had committed is in the
// file each time, and after the last start the file is the same as if nothing had happened.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	all := random(7, crashInput)
	r := rand.New(rand.NewPCG(1, 1))
	kills, acknowledged := 0, 0
	for acknowledged < len(all) {
		acknowledged = max(acknowledged, observeAndKill(t, path, 1+r.IntN(25)))
		if acknowledged < len(all) {
			kills++
		}
		s := open(t, path, narrow)
		// Adding what was acknowledged changes nothing: it is there already.
		before, beyond := s.Edges()
		for _, o := range all[:acknowledged] {
			s.Add(o.key, o.obs)
		}
		after, left := s.Edges()
		if !reflect.DeepEqual(before, after) || !reflect.DeepEqual(beyond, left) {
			t.Fatalf("after %d kills, not all of %d acknowledged observations are there", kills, acknowledged)
		}
		if at := s.Position("node"); at.Before(all[max(acknowledged, 1)-1].obs.Time) && acknowledged > 0 {
			t.Fatalf("after %d kills the position is %v, before what was acknowledged", kills, at)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if kills < 20 {
		t.Errorf("it was killed %d times only", kills)
	}
	reference := filepath.Join(t.TempDir(), "state")
	s := open(t, reference, narrow)
	add(s, all)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if settled(t, path) != settled(t, reference) {
		t.Error("the file is not the same as without the kills")
	}
	t.Logf("%d kills", kills)
}

// observeAndKill lets a process observe until it has committed so often, and returns what it said last.
func observeAndKill(t *testing.T, path string, commits int) (acknowledged int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashFile+"="+path)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatal(err)
		}
		if n == commits {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed, or it came to its end
	return acknowledged
}

// TestDiskFull: a commit that cannot be written loses nothing and says which file.
func TestDiskFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fullFile+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	reference := filepath.Join(t.TempDir(), "state")
	s := open(t, reference, narrow)
	add(s, random(1, 200))
	add(s, random(2, 3000))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if settled(t, path) != settled(t, reference) {
		t.Error("the file is not the same as without the failures")
	}
}

func fillDisk(path string) error {
	s, err := store.Open(path, store.Options{Limits: narrow})
	if err != nil {
		return err
	}
	add(s, random(1, 200))
	if err := s.Commit(); err != nil {
		return err
	}
	add(s, random(2, 3000))
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 32 << 10, Max: limit.Max}); err != nil {
		return err
	}
	for range 2 {
		if err := s.Commit(); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "file too large") {
			return fmt.Errorf("with a full disk the commit says: %v", err)
		}
	}
	return errors.Join(unix.Setrlimit(unix.RLIMIT_FSIZE, &limit), s.Close())
}
