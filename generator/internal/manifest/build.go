// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/kustomize/api/resource"
)

// permitted are the fields of a kustomization on disk. Those left out run programs, fetch charts or
// change how kustomize reads everything after.
var permitted = []string{
	"apiVersion", "kind", "metadata", "namespace", "resources", "components", "bases",
	"patches", "patchesStrategicMerge", "patchesJson6902", "replacements", "vars", "configurations",
	"labels", "commonLabels", "commonAnnotations", "namePrefix", "nameSuffix", "images", "replicas",
	"configMapGenerator", "secretGenerator", "generatorOptions", "buildMetadata", "sortOptions",
}

// build adds what the kustomization of a folder makes.
func (l *loader) build(dir string) error {
	if l.isSeen(filepath.Join(dir, kustomizationFiles[0])) {
		return nil
	}
	base, err := os.Getwd()
	if err != nil {
		return err
	}
	d := &disk{loader: l, start: filepath.Clean(dir), roots: map[string]*os.Root{}, files: map[string][]byte{}}
	defer d.close()
	k := Kustomization{Read: d.read, Base: filepath.ToSlash(base), Dir: filepath.ToSlash(dir), Permitted: permitted, origins: true}
	built, err := k.Build()
	if err != nil {
		return err
	}
	c := &contents{}
	origins := origins{dir: dir, files: d.files, found: map[string]*contents{}}
	for _, r := range built.Resources() {
		if err := l.resource(c, r, &origins); err != nil {
			return err
		}
	}
	return l.add(c)
}

func (l *loader) resource(c *contents, r *resource.Resource, from *origins) error {
	at := from.of(r)
	if err := r.SetOrigin(nil); err != nil {
		return at.fault("", "%w", err)
	}
	text, err := r.AsYAML()
	if err != nil {
		return at.fault("", "%w", err)
	}
	data, err := newDocument(at.document.file, 1, text, 1, false).toJSON()
	if err != nil {
		return err
	}
	return c.decode(at, data, schema.GroupVersionKind{}, l.how)
}

// origins finds where the resources of a build were written.
type origins struct {
	dir   string
	files map[string][]byte
	found map[string]*contents // by file
}

// of is where the resource stands in the file that it is from; for one that was generated, the
// file that asks for it.
func (f *origins) of(r *resource.Resource) source {
	file := f.kustomization()
	if o, err := r.GetOrigin(); err == nil && o != nil && o.Path != "" {
		file = filepath.Join(f.dir, o.Path)
		if found, ok := before(r, f.in(file).objects); ok {
			found.through = f.dir
			return found
		}
	}
	d := newDocument(file, 1, nil, 1, false)
	d.tree = func() (*yaml.Node, error) { return nil, nil }
	return source{document: d, through: f.dir}
}

// before finds the object that a resource was before the build, which may have put something before
// or after its name: of several that fit, the one with the longest name.
func before(r *resource.Resource, objects []Object) (source, bool) {
	var (
		found source
		best  = -1
	)
	for _, o := range objects {
		m, err := meta.Accessor(o.Object)
		if err != nil || o.GetObjectKind().GroupVersionKind().Kind != r.GetKind() {
			continue
		}
		if name := m.GetName(); len(name) > best && strings.Contains(r.GetName(), name) {
			found, best = o.source, len(name)
		}
	}
	return found, best >= 0
}

func (f *origins) kustomization() string {
	for _, name := range kustomizationFiles {
		if file := filepath.Join(f.dir, name); f.files[file] != nil {
			return file
		}
	}
	return f.dir
}

func (f *origins) in(file string) *contents {
	if c, ok := f.found[file]; ok {
		return c
	}
	c, err := parse(file, f.files[file], Lenient, defaults.documents)
	if err != nil {
		c = &contents{} // a resource that is not read; kustomize has taken it
	}
	f.found[file] = c
	return c
}

// disk reads files of kustomizations. Each is reached through a folder that has a kustomization,
// and links that lead out of that folder are errors.
type disk struct {
	loader *loader
	start  string
	roots  map[string]*os.Root // by path
	files  map[string][]byte   // that were read
}

func (d *disk) close() {
	for _, r := range d.roots {
		r.Close()
	}
}

func (d *disk) read(name string) ([]byte, error) {
	name = filepath.FromSlash(name)
	root, within, err := d.root(name)
	if err != nil {
		return nil, err
	}
	data, err := d.loader.readIn(root, within, name)
	if err == nil && data == nil { // a folder
		err = fs.ErrNotExist
	}
	d.files[name] = data
	return data, err
}

// root is the folder through which a file is reached, and the file's path in it.
func (d *disk) root(name string) (*os.Root, string, error) {
	for dir, root := range d.roots {
		if rel, err := filepath.Rel(dir, name); err == nil && filepath.IsLocal(rel) {
			return root, rel, nil
		}
	}
	dir := filepath.Dir(name)
	if err := d.isStraight(dir); err != nil {
		return nil, "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "", err
	}
	d.roots[dir] = root
	return root, filepath.Base(name), nil
}

// isStraight checks that no link leads from the first folder to another.
func (d *disk) isStraight(dir string) error {
	rel, err := filepath.Rel(d.start, dir)
	if err != nil {
		return err
	}
	begin, err := filepath.EvalSymlinks(d.start)
	if err != nil {
		return err
	}
	end, err := filepath.EvalSymlinks(dir)
	if err == nil && end != filepath.Join(begin, rel) {
		err = errors.New(dir + ": a link leads there; links between folders are not followed")
	}
	return err
}
