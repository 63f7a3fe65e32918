// SPDX-License-Identifier: Apache-2.0

// Package manifest reads Kubernetes objects from files, folders, kustomizations and standard input,
// and knows at which line of which file each field stands. What it reads is not trusted: every size
// is bounded, nothing is fetched and no program is run.
package manifest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Reading says how exactly the fields must fit.
type Reading int

// Lenient ignores fields that are not known, because a newer server may have written them. Strict
// refuses them in policies, where a misspelt field changes what is allowed, warns of them in other
// objects, and refuses documents that look like an object without a kind.
const (
	Lenient Reading = iota
	Strict
)

// limits bound what one Load reads.
type limits struct {
	file, total        int64 // bytes
	files              int
	documents, objects int
	folders            int // depth
}

// A dump of a large cluster's pods is some hundred megabytes in one file.
var defaults = limits{file: 256 << 20, total: 1 << 30, files: 100_000, documents: 500_000, objects: 1_000_000, folders: 64}

// Load reads all objects that the paths stand for. A path is a file, a folder, a kustomization
// file, or "-" for stdin. Of a folder, all .yaml, .yml and .json files below it are read; a folder
// with a kustomization file is built instead, at any depth. A file or folder that is given
// twice is read once. Errors begin with "read manifests: " and name file and line.
func Load(paths []string, stdin io.Reader, how Reading) (*Set, error) {
	return load(paths, stdin, how, defaults)
}

func load(paths []string, stdin io.Reader, how Reading, most limits) (*Set, error) {
	l := &loader{set: &Set{}, stdin: stdin, how: how, most: most, seen: map[string]bool{}}
	for _, p := range paths {
		if err := l.path(p); err != nil {
			return nil, fmt.Errorf("read manifests: %w", err)
		}
	}
	l.warn()
	return l.set, nil
}

// Parse returns the objects of one file as they are written: without a default namespace, and
// without a look at names and labels. name stands for the file in errors.
func Parse(name string, data []byte, how Reading) ([]runtime.Object, error) {
	found, err := parse(name, data, how, defaults.documents)
	if err != nil {
		return nil, err
	}
	var objects []runtime.Object
	for _, o := range found.objects {
		objects = append(objects, o.Object)
	}
	return objects, nil
}

// JSON are the documents of one file as kubectl takes them, in one list: compact, and with ordered keys where they are
// written in YAML. They need not be objects of Kubernetes. name stands for the file in errors.
func JSON(name string, data []byte) ([]byte, error) {
	docs, err := split(name, data, defaults.documents)
	if err != nil {
		return nil, err
	}
	list := []byte("[")
	for i, d := range docs {
		if i > 0 {
			list = append(list, ',')
		}
		doc, err := d.toJSON()
		if err != nil {
			return nil, err
		}
		list = append(list, doc...)
	}
	return append(list, ']'), nil
}

func parse(name string, data []byte, how Reading, most int) (*contents, error) {
	docs, err := split(name, data, most)
	if err != nil {
		return nil, err
	}
	c := &contents{}
	for _, d := range docs {
		if err := c.read(d, how); err != nil {
			return nil, err
		}
	}
	return c, nil
}

type loader struct {
	set     *Set
	stdin   io.Reader
	how     Reading
	most    limits
	seen    map[string]bool // paths of files and folders
	files   int
	bytes   int64
	foreign []source // documents that are no objects
	ignored []error  // fields that are not known
}

func (l *loader) path(p string) error {
	if p == "-" {
		if l.seen[p] {
			return errors.New("stdin is given twice")
		}
		l.seen[p] = true
		return l.named("stdin", l.stdin)
	}
	info, err := os.Stat(p)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return l.folder(p)
	case slices.Contains(kustomizationFiles, filepath.Base(p)):
		return l.build(filepath.Dir(p))
	case l.isSeen(p):
		return nil
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	return l.named(p, f)
}

func (l *loader) isSeen(p string) bool {
	p = filepath.Clean(p)
	seen := l.seen[p]
	l.seen[p] = true
	return seen
}

// named reads a file that was asked for by its name: it must have objects.
func (l *loader) named(name string, r io.Reader) error {
	data, err := l.bytesOf(name, r)
	if err != nil {
		return err
	}
	found, err := parse(name, data, l.how, l.most.documents)
	if err != nil {
		return err
	}
	if len(found.objects)+len(found.skipped)+found.lists == 0 {
		return fmt.Errorf("%s: no Kubernetes object in it", name)
	}
	return l.add(found)
}

func (l *loader) bytesOf(name string, r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	if f, is := r.(*os.File); is {
		if info, err := f.Stat(); err == nil && info.Size() <= l.most.file {
			b.Grow(int(info.Size()) + bytes.MinRead) // it is not copied as it grows
		}
	}
	_, err := b.ReadFrom(io.LimitReader(r, l.most.file+1))
	data := b.Bytes()
	l.files++
	l.bytes += int64(len(data))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case int64(len(data)) > l.most.file:
		return nil, fmt.Errorf("%s: larger than %s; split it", name, size(l.most.file))
	case l.bytes > l.most.total:
		return nil, fmt.Errorf("%s: more than %s in all; give fewer paths", name, size(l.most.total))
	case l.files > l.most.files:
		return nil, fmt.Errorf("%s: more than %d files; give fewer paths", name, l.most.files)
	}
	return data, nil
}

func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d bytes", bytes)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

func (l *loader) add(found *contents) error {
	for _, o := range found.objects {
		if err := l.set.accept(o, l.most.objects); err != nil {
			return err
		}
	}
	for gk, n := range found.skipped {
		if l.set.Skipped == nil {
			l.set.Skipped = map[schema.GroupKind]int{}
		}
		l.set.Skipped[gk] += n
	}
	l.foreign = append(l.foreign, found.foreign...)
	l.ignored = append(l.ignored, found.ignored...)
	return nil
}

// warn says what was found and left out, and may matter.
func (l *loader) warn() {
	if n := len(l.ignored); n > 0 {
		l.set.Warnings = append(l.set.Warnings, fmt.Sprintf("%d fields are not known and were left out, the first at %v", n, l.ignored[0]))
	}
	if n := len(l.foreign); n > 0 {
		l.set.Warnings = append(l.set.Warnings, fmt.Sprintf("%d documents are no objects of Kubernetes and were left out, the first at %s", n, l.foreign[0].at("")))
	}
	for _, gk := range slices.SortedFunc(maps.Keys(l.set.Skipped), func(a, b schema.GroupKind) int { return cmp.Compare(a.String(), b.String()) }) {
		if isPolicy(gk) {
			l.set.Warnings = append(l.set.Warnings, fmt.Sprintf("%d objects of kind %s are not understood: what they allow or deny is not considered", l.set.Skipped[gk], gk))
		}
	}
}
