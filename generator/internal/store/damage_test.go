// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/store"
)

// written is a state file with some edges.
func written(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path, edge.Limits{})
	add(s, random(1, 500))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func refused(t *testing.T, path string, words ...string) {
	t.Helper()
	s, err := store.Open(path, store.Options{})
	if err == nil {
		edges, _ := s.Edges()
		t.Errorf("%s is opened, with %d edges", path, len(edges))
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	for _, word := range append(words, path) {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

func TestOtherFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := filepath.Join(dir, "other")
	db, err := bbolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, file("edges.json", `{"edges":{"version":1}}`), "earlier version", "move it away")
	refused(t, file("empty", ""), "is damaged", "is empty", "move it away")
	refused(t, file("text", strings.Repeat("text ", 10_000)), "is damaged", "move it away")
	refused(t, other, "database of something else", "move it away")
	refused(t, dir, "not a regular file")
	refused(t, filepath.Join(dir, "missing", "state"), "no such file or directory")
	refused(t, "/proc/state", "/proc")
}

func TestVersion(t *testing.T) {
	path := written(t)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("version"), []byte("2")) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, path, `version "2"`)
}

func TestEntryMissing(t *testing.T) {
	path := written(t)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		edges := tx.Bucket([]byte("edges"))
		key, _ := edges.Cursor().First()
		return edges.Delete(key)
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, path, "is damaged", "entries")
}

// TestDamage cuts a file short and changes bytes of it. It is refused, or, where the damage is in what the
// database does not use, it has all of its edges. It never crashes the program.
func TestDamage(t *testing.T) {
	whole := written(t)
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, whole, edge.Limits{})
	want, _ := s.Edges()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	opened := 0
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 150 {
		path := filepath.Join(t.TempDir(), "state")
		bad := bytes.Clone(content)
		if n < 30 {
			bad = bad[:len(bad)*n/30]
		} else {
			for range 1 + r.IntN(40) {
				bad[r.IntN(len(bad))] ^= byte(1 + r.IntN(255))
			}
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(path, store.Options{})
		if err != nil {
			if !strings.Contains(err.Error(), path+" is damaged") {
				t.Errorf("%v", err)
			}
			continue
		}
		opened++
		if edges, _ := s.Edges(); !reflect.DeepEqual(edges, want) {
			t.Fatalf("damage %d: the %d edges are others", n, len(edges))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d of 150 are opened", opened)
}

func TestInUse(t *testing.T) {
	path := written(t)
	s := open(t, path, edge.Limits{})
	refused(t, path, "in use by another process")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, path, edge.Limits{}).Close(); err != nil {
		t.Fatal(err)
	}
}
