// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/generator/internal/yamlmerge"
)

// Merged is what becomes of a namespace's directory.
type Merged struct {
	Files Files
	// Changed: the files mean something else than before. When it is false, Files are the
	// existing ones, byte for byte.
	Changed bool
	// Kept are the places that differ from what was generated because a person edited them: files, or
	// paths in them.
	Kept []string
	// Absent are generated files, and parts of them, that a person deleted and that say nothing new.
	Absent []string
}

// Merge brings generated files together with existing ones. What people wrote stays, to the byte: comments, rules,
// files that were never generated. What they deleted stays away until there is something new to say about it.
// Generated files that are no longer needed go, unless a person edited them.
func Merge(existing, generated Files) (*Merged, error) {
	m := &Merged{Files: maps.Clone(existing)}
	if m.Files == nil {
		m.Files = Files{}
	}
	before := earlierIn(existing)
	for _, name := range slices.Sorted(maps.Keys(generated)) {
		if name == EvidenceFile || name == KustomizationFile {
			continue
		}
		if err := m.file(name, existing, generated[name], before); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, needed := generated[name]; !needed && name != KustomizationFile {
			m.drop(name, before.documents(name))
		}
	}
	if err := m.kustomization(existing, generated, before); err != nil {
		return nil, err
	}
	if !m.Changed && existing[EvidenceFile] != nil {
		m.Files = existing
		return m, nil
	}
	m.Changed = true
	m.Files[EvidenceFile] = generated[EvidenceFile]
	return m, nil
}

// file merges one file.
func (m *Merged) file(name string, existing Files, content []byte, last earlier) error {
	old, exists := existing[name]
	if exists && bytes.Equal(old, content) {
		return nil // without a look at what it says
	}
	before := last.documents(name)
	if !exists && before == nil {
		m.Files[name], m.Changed = content, true
		return nil
	}
	wanted, err := yamlmerge.Parse(content)
	if err != nil {
		return fmt.Errorf("generated %s: %w", name, err)
	}
	if !exists && before.Equal(wanted) {
		m.Absent = append(m.Absent, name)
		return nil
	}
	if !exists {
		m.Files[name], m.Changed = content, true
		return nil
	}
	r, err := yamlmerge.Merge(before, old, wanted)
	if err != nil {
		return fmt.Errorf("%s as it is in the repository: %w", name, err)
	}
	for _, path := range r.Kept {
		m.Kept = append(m.Kept, name+": "+path)
	}
	for _, path := range r.Deleted {
		m.Absent = append(m.Absent, name+": "+path)
	}
	if !bytes.Equal(r.Content, old) {
		m.Files[name], m.Changed = r.Content, true
	}
	return nil
}

// drop takes a file away that is not generated any more.
func (m *Merged) drop(name string, before yamlmerge.Documents) {
	content, exists := m.Files[name]
	if !exists {
		return
	}
	if now, err := yamlmerge.Parse(content); err != nil || !now.Equal(before) {
		m.Kept = append(m.Kept, name)
		return
	}
	delete(m.Files, name)
	m.Changed = true
}

// kustomization merges it as any other file, but for its resources: those that are not there go, and those that are
// kept stay.
func (m *Merged) kustomization(existing, generated Files, before earlier) error {
	name := KustomizationFile
	docs, err := yamlmerge.Parse(generated[name])
	if err != nil {
		return fmt.Errorf("generated %s: %w", name, err)
	}
	ours, _ := docs[0].(map[string]any) // it was just written
	resources, _ := ours["resources"].([]any)
	resources = slices.DeleteFunc(resources, func(r any) bool { return m.Files[fmt.Sprint(r)] == nil })
	for _, file := range slices.Sorted(maps.Keys(before)) {
		_, generatedNow := generated[file]
		if _, there := m.Files[file]; there && !generatedNow && file != name {
			resources = append(resources, file)
		}
	}
	ours["resources"] = resources
	content, err := yaml.Marshal(ours)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return m.file(name, existing, content, before)
}
