// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	kustomize "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	sigsyaml "sigs.k8s.io/yaml"
)

// kustomizationFiles in the order in which kustomize looks for them.
var kustomizationFiles = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// building serialises builds: kustomize keeps its schema in global variables.
var building sync.Mutex

// Kustomization is a kustomization that was not reviewed: it is built in memory of the files that
// Read gives, so that nothing else is reached, fetched or run.
type Kustomization struct {
	// Read returns a file by its slash path. Its error is shown where a file is needed.
	Read func(name string) ([]byte, error)
	// Base is the absolute path that relative names begin at. It need not exist.
	Base string
	// Dir has the kustomization file; relative to Base, or absolute.
	Dir string
	// Permitted are the fields that a kustomization may have.
	Permitted []string

	origins bool // keep the origin of each resource in an annotation
	memory  filesys.FileSystem
	sizes   map[string]int // bytes of a kustomization file and all that it leads to, as often as it does
	read    int            // bytes, each file once
}

// Build returns the resources. An error names the kustomization file.
func (k *Kustomization) Build() (resmap.ResMap, error) {
	k.memory, k.sizes, k.read = filesys.MakeFsInMemory(), map[string]int{}, 0
	size, err := k.gather(path.Clean(k.Dir), map[string]bool{})
	if err != nil {
		return nil, err
	}
	if size > k.read+maxExpansion {
		return nil, fmt.Errorf("kustomization %s: including the same files several times adds more than %d MiB", k.Dir, maxExpansion>>20)
	}
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = kustomize.LoadRestrictionsRootOnly
	options.PluginConfig = kustomize.DisabledPluginConfig()
	building.Lock()
	defer building.Unlock()
	built, err := krusty.MakeKustomizer(options).Run(k.memory, k.absolute(path.Clean(k.Dir)))
	if err != nil {
		return nil, fmt.Errorf("kustomization %s: %s", k.Dir, oneLine(err))
	}
	return built, nil
}

func (k *Kustomization) absolute(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join("/", k.Base, name)
}

// errComponent says that a kustomization is made to be part of others.
var errComponent = errors.New("a Component is built as part of a kustomization that names it")

// gather copies a kustomization and all that it refers to into memory: kustomize would fetch what
// it does not find. It returns how many bytes kustomize will read.
func (k *Kustomization) gather(dir string, above map[string]bool) (int, error) {
	name, content, err := k.find(dir)
	if err != nil {
		return 0, err
	}
	if above[name] {
		return 0, fmt.Errorf("%s: refers to itself through other kustomizations", name)
	}
	if size, ok := k.sizes[name]; ok {
		return size, nil
	}
	above[name] = true
	defer delete(above, name)
	fields, err := k.fields(name, content)
	if err != nil {
		return 0, err
	}
	if len(above) == 1 {
		if content, err = k.top(fields, content); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := k.keep(name, content); err != nil {
		return 0, err
	}
	size, err := k.follow(name, referencesOf(fields), above)
	const most = 1 << 40 // no sum of these overflows
	k.sizes[name] = min(size+len(content), most)
	return k.sizes[name], err
}

// follow gathers what a kustomization refers to.
func (k *Kustomization) follow(name string, refs references, above map[string]bool) (size int, err error) {
	each := func(refs []string, gather func(from, ref string) (int, error)) {
		for _, ref := range refs {
			if err == nil {
				var n int
				n, err = gather(name, ref)
				size += n
			}
		}
	}
	each(refs.resources, func(from, ref string) (int, error) { return k.resource(from, ref, above) })
	each(refs.manifests, k.manifest)
	each(refs.files, func(from, ref string) (int, error) {
		content, err := k.file(from, ref)
		return len(content), err
	})
	each(refs.inline, func(from, text string) (int, error) { return 0, harmless(from, []byte(text)) })
	return size, err
}

func (k *Kustomization) keep(name string, content []byte) error {
	if k.memory.Exists(k.absolute(name)) {
		return nil
	}
	k.read += len(content)
	return k.memory.WriteFile(k.absolute(name), content)
}

// top is the kustomization that is built, with the wish to be told which file each resource is from.
func (k *Kustomization) top(fields map[string]any, content []byte) ([]byte, error) {
	switch {
	case fields["kind"] == kustomize.ComponentKind:
		return nil, errComponent
	case !k.origins:
		return content, nil
	}
	fields["buildMetadata"] = []string{kustomize.OriginAnnotations}
	return sigsyaml.Marshal(fields)
}

func (k *Kustomization) find(dir string) (name string, content []byte, err error) {
	for _, n := range kustomizationFiles {
		name = path.Join(dir, n)
		if content, err = k.Read(name); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return name, content, err
		}
	}
	return "", nil, fmt.Errorf("directory %s has no %s", dir, kustomizationFiles[0])
}

// fields are the kustomization's, all permitted.
func (k *Kustomization) fields(name string, content []byte) (map[string]any, error) {
	var fields map[string]any
	docs, err := split(name, content, 1)
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		data, err := d.toJSON()
		if err != nil {
			return nil, err
		}
		if err := sigsyaml.Unmarshal(data, &fields); err != nil {
			return nil, d.fault(1, "a kustomization is a mapping of fields")
		}
		for _, field := range slices.Sorted(maps.Keys(fields)) {
			if !slices.Contains(k.Permitted, field) {
				at := source{document: d}
				return nil, at.fault(field, "field %s is not permitted here; permitted are %s", bare(field), strings.Join(k.Permitted, ", "))
			}
		}
	}
	return fields, nil
}

// resource gathers a file or a folder with a kustomization. What kustomize may take for a
// repository is refused even when a file or folder of that name exists, such as
// github.com/owner/name.
func (k *Kustomization) resource(from, ref string, above map[string]bool) (int, error) {
	first, _, nested := strings.Cut(ref, "/")
	dotted := nested && strings.Contains(first, ".") && first != "." && first != ".."
	if dotted || path.IsAbs(ref) || strings.ContainsAny(ref, ":?@") {
		return 0, fmt.Errorf("%s: %q is not a file or folder: nothing is fetched (a local folder with a dot in its name is written ./%s)", from, ref, ref)
	}
	size, err := k.manifest(from, ref)
	if !errors.Is(err, errNoFile) || !strings.HasPrefix(first, ".") && strings.Contains(first, ".") {
		return size, err
	}
	target := path.Join(path.Dir(from), ref)
	if _, _, err := k.find(target); err != nil {
		return 0, fmt.Errorf("%s: %q is not a file below its folder: %w", from, ref, err)
	}
	return k.gather(target, above)
}

// errNoFile says that a reference does not name a file below its kustomization.
var errNoFile = errors.New("not a file below the kustomization's own folder")

func (k *Kustomization) file(from, ref string) ([]byte, error) {
	name := path.Join(path.Dir(from), ref)
	if strings.Contains(ref, ":") || !filepath.IsLocal(ref) { // kustomize takes URLs for files
		return nil, fmt.Errorf("%s: %q is %w", from, ref, errNoFile)
	}
	content, err := k.Read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %q is %w", from, ref, errNoFile)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	if slices.Contains(kustomizationFiles, path.Base(name)) {
		return nil, fmt.Errorf("%s: %q is a kustomization; refer to its folder", from, ref)
	}
	return content, k.keep(name, content)
}

// manifest gathers a file that kustomize will parse: it must be safe to do so.
func (k *Kustomization) manifest(from, ref string) (int, error) {
	content, err := k.file(from, ref)
	if err != nil {
		return 0, err
	}
	return len(content), harmless(path.Join(path.Dir(from), ref), content)
}

// harmless parses a text that kustomize will parse without bounds of its own.
func harmless(name string, content []byte) error {
	docs, err := split(name, content, defaults.documents)
	if err != nil {
		return err
	}
	for _, d := range docs {
		if _, err := d.toJSON(); err != nil {
			return err
		}
	}
	return nil
}
