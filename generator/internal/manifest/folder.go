// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// folder reads what is below a folder. Links that lead out of it are errors.
func (l *loader) folder(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		full := filepath.Join(dir, name)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", full, err)
		case entry.IsDir():
			return l.enter(root, name, full)
		case !isManifest(name) || l.isSeen(full):
			return nil
		}
		data, err := l.readIn(root, name, full)
		if err != nil || data == nil {
			return err
		}
		found, err := parse(full, data, l.how, l.most.documents)
		if err != nil {
			return err
		}
		return l.add(found)
	})
}

// enter decides what to do with a folder: read it, build it, or leave it.
func (l *loader) enter(root *os.Root, name, full string) error {
	base := filepath.Base(name)
	switch {
	case base == ".git", strings.HasPrefix(base, ".."): // "..data" is the kubelet's, and every file is linked from above
		return fs.SkipDir
	case strings.Count(filepath.ToSlash(name), "/") >= l.most.folders:
		return fmt.Errorf("%s: folders nested more than %d levels deep", full, l.most.folders)
	}
	for _, k := range kustomizationFiles {
		if _, err := root.Lstat(filepath.Join(name, k)); err == nil {
			if err := l.build(full); err != nil && (name == "." || !errors.Is(err, errComponent)) {
				return err
			}
			return fs.SkipDir
		}
	}
	return nil
}

// readIn reads a file through the folder that it must not leave. Nil: it is a link to a folder.
func (l *loader) readIn(root *os.Root, name, full string) ([]byte, error) {
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", full, err)
	case info.IsDir():
		return nil, nil
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", full)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", full, err)
	}
	defer f.Close()
	return l.bytesOf(full, f)
}

func isManifest(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml":
		return true
	case ".json":
		return filepath.Base(name) != "evidence.json" // the generator's own record, not an object
	}
	return false
}
