// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// ReadDir reads the files of a directory on disk; no files when it does not exist.
func ReadDir(dir string) (Files, error) {
	files := Files{}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return files, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[name], err = fs.ReadFile(root.FS(), name)
		return err
	})
	return files, err
}

// Staging replaces directories below a root, all of them or none: everything is written beside its place first, then
// renamed into it. It is safe for concurrent use.
type Staging struct {
	root, beside string
	made         bool // the root, and nothing is in its place there
	lock         sync.Mutex
	dirs         []string
}

// Stage makes the root if it is not there. The Staging is to be closed.
func Stage(root string) (*Staging, error) {
	_, missing := os.Stat(root)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("write policies: %w", err)
	}
	beside, err := os.MkdirTemp(root, ".bulkhead-")
	if err != nil {
		return nil, fmt.Errorf("write policies: %w", err)
	}
	return &Staging{root: root, beside: beside, made: missing != nil}, nil
}

// Add writes the files of a slash-separated directory beside their place.
func (s *Staging) Add(dir string, files Files) error {
	dir = filepath.FromSlash(dir)
	if err := stage(filepath.Join(s.beside, "new", dir), files); err != nil {
		return fmt.Errorf("write policies: %w", err)
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.dirs = append(s.dirs, dir)
	return nil
}

// Commit puts all directories into their places.
func (s *Staging) Commit() error {
	s.made = false
	var undo []func() error
	for _, dir := range s.dirs {
		back, err := swap(s.root, s.beside, dir)
		if err != nil {
			for _, u := range undo {
				err = errors.Join(err, u())
			}
			return fmt.Errorf("write policies: %w", err)
		}
		undo = append(undo, back)
	}
	return nil
}

// Close removes what is not in its place, and the root if it was made for nothing.
func (s *Staging) Close() error {
	err := os.RemoveAll(s.beside)
	if s.made {
		err = errors.Join(err, os.Remove(s.root))
	}
	return err
}

func stage(dir string, files Files) error {
	for name, content := range files {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("file name %q leads out of its directory", name)
		}
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return os.MkdirAll(dir, 0o755)
}

// swap puts a staged directory in its place and returns how to take it back.
func swap(root, staging, dir string) (undo func() error, err error) {
	place, fresh, old := filepath.Join(root, dir), filepath.Join(staging, "new", dir), filepath.Join(staging, "old", dir)
	for _, d := range []string{place, old} {
		if err := os.MkdirAll(filepath.Dir(d), 0o755); err != nil {
			return nil, err
		}
	}
	err = os.Rename(place, old)
	existed := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	undo = func() error {
		if err := os.RemoveAll(place); err != nil || !existed {
			return err
		}
		return os.Rename(old, place)
	}
	if err := os.Rename(fresh, place); err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

// WriteFile replaces a file, whole or not at all.
func WriteFile(name string, content []byte, perm fs.FileMode) error {
	temp := name + ".tmp"
	if err := os.WriteFile(temp, content, perm); err != nil {
		return err
	}
	if err := os.Rename(temp, name); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}
