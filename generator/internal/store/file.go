// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// The file is a bbolt database with one bucket for edges, one for addresses of pods and one for the rest.
var (
	addressBucket = []byte("addresses")
	edgesBucket   = []byte("edges")
	metaBucket    = []byte("meta")
	versionKey    = []byte("version")
	metaKey       = []byte("meta")
	nodesKey      = []byte("nodes") // not in files of earlier versions
	digestKey     = []byte("digest")
)

// version of the layout: edges under the keys of edge.Change, each value followed by its checksum.
const version = "1"

func openFile(path string, wait time.Duration) (*bbolt.DB, error) {
	if err := create(path); err != nil {
		return nil, fmt.Errorf("state file %s: %w", path, err)
	}
	if err := known(path); err != nil {
		return nil, err
	}
	db, err := openDatabase(path, wait)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("state file %s is in use by another process: stop that one, or give another --state", path)
	case errors.Is(err, fs.ErrPermission), errors.As(err, new(*fs.PathError)):
		return nil, fmt.Errorf("state file %s: %w", path, err)
	case err != nil:
		return nil, damaged(path, err)
	}
	return db, nil
}

// openDatabase turns what bbolt makes of a damaged file into errors, a read beyond its end included.
func openDatabase(path string, wait time.Duration) (db *bbolt.DB, err error) {
	defer catch(&err)()
	return bbolt.Open(path, 0o600, &bbolt.Options{Timeout: max(wait, time.Millisecond), FreelistType: bbolt.FreelistMapType})
}

// catch makes an error of a panic or a fault between its call and that of what it returns.
func catch(err *error) (end func()) {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%v", p)
		}
	}
}

func damaged(path string, err error) error {
	return fmt.Errorf("state file %s is damaged: restore it from a copy, or move it away to start from nothing: %w", path, err)
}

// known rejects what was never a database.
func known(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("state file %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("state file %s is not a regular file: give the path of a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("state file %s: %w", path, err)
	}
	defer f.Close()
	start := make([]byte, 16)
	n, _ := f.Read(start) // an error is met again by the database
	if bytes.HasPrefix(bytes.TrimSpace(start[:n]), []byte("{")) {
		return fmt.Errorf("state file %s is JSON, as earlier versions wrote it, which cannot be read any more: move it away, or give another --state, and observe anew", path)
	}
	if n == 0 {
		return damaged(path, errors.New("it is empty"))
	}
	return nil
}

// create makes the file unless it is there: whole, under another name first, so that an empty
// one is always a damaged one.
func create(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".bulkhead-state-")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if err := temp.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(temp.Name(), 0o600, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(prepare), db.Close()); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		if err := os.Rename(temp.Name(), path); err != nil { // the file system has no links
			return err
		}
	}
	return syncDir(filepath.Dir(path))
}

func prepare(tx *bbolt.Tx) error {
	_, err := tx.CreateBucket(edgesBucket)
	if err != nil {
		return err
	}
	m, err := tx.CreateBucket(metaBucket)
	if err != nil {
		return err
	}
	return errors.Join(m.Put(versionKey, []byte(version)), m.Put(digestKey, digest{}.bytes()), m.Put(metaKey, []byte("{}")))
}

// syncDir makes the file's name survive a crash of the machine.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
