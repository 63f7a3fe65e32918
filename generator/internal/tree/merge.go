// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Meaning is a digest of what YAML documents say: comments, order of keys and style do not count.
func Meaning(content []byte) (string, error) {
	var docs []any
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		var v any
		if err := yaml.Unmarshal(doc, &v); err != nil {
			return "", err
		}
		if v != nil {
			docs = append(docs, v)
		}
	}
	canonical, err := json.Marshal(docs) // map keys are sorted
	if err != nil {
		return "", err
	}
	return digestOf(canonical), nil
}

// Merged is what becomes of a namespace's directory.
type Merged struct {
	Files Files
	// Changed: the files mean something else than before. When it is false, Files are the
	// existing ones, byte for byte.
	Changed bool
	// Kept are the files that differ from what was generated because a person edited them.
	Kept []string
	// Absent are generated files that a person deleted, and that say nothing new.
	Absent []string
}

// Merge brings generated files together with existing ones. A file that means the same stays as it
// is, with its comments. A file that a person changed since it was generated stays too, and so
// does every file that was never generated. Generated files that are no longer needed go.
func Merge(existing, generated Files) (*Merged, error) {
	m := &Merged{Files: maps.Clone(existing)}
	if m.Files == nil {
		m.Files = Files{}
	}
	old := map[string]string{}
	if r := ReadRecord(existing); r != nil {
		old = r.Files
	}
	for _, name := range slices.Sorted(maps.Keys(generated)) {
		if name == EvidenceFile || name == KustomizationFile {
			continue
		}
		if err := m.file(name, existing, generated[name], old); err != nil {
			return nil, err
		}
	}
	for name, digest := range old {
		if _, needed := generated[name]; needed || name == KustomizationFile {
			continue
		}
		if now, err := Meaning(existing[name]); err == nil && now == digest {
			delete(m.Files, name)
			m.Changed = true
		}
	}
	if err := m.kustomization(existing, generated, old); err != nil {
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

func (m *Merged) file(name string, existing Files, content []byte, old map[string]string) error {
	wanted, err := Meaning(content)
	if err != nil {
		return fmt.Errorf("generated %s: %w", name, err)
	}
	before, exists := existing[name]
	if !exists {
		if old[name] == wanted {
			m.Absent = append(m.Absent, name)
			return nil
		}
		m.Files[name], m.Changed = content, true
		return nil
	}
	now, err := Meaning(before)
	switch {
	case err != nil:
		return fmt.Errorf("%s as it is in the repository: %w", name, err)
	case now == wanted:
	case now != old[name]:
		m.Kept = append(m.Kept, name)
	default:
		m.Files[name], m.Changed = content, true
	}
	return nil
}

// kustomization keeps what a person added to it, and names every generated file that is there.
func (m *Merged) kustomization(existing, generated Files, old map[string]string) error {
	name := KustomizationFile
	before, exists := existing[name]
	var ours, theirs map[string]any
	if err := yaml.Unmarshal(generated[name], &ours); err != nil {
		return fmt.Errorf("generated %s: %w", name, err)
	}
	if exists {
		now, err := Meaning(before)
		if err == nil {
			err = yaml.Unmarshal(before, &theirs)
		}
		if err != nil {
			return fmt.Errorf("%s as it is in the repository: %w", name, err)
		}
		if now == old[name] {
			theirs = nil // as it was generated: nobody's
		}
	}
	merged := ours
	if theirs != nil {
		merged = theirs
		merged["resources"] = union(listOf(theirs["resources"]), listOf(ours["resources"]))
	}
	merged["resources"] = slices.DeleteFunc(listOf(merged["resources"]), func(r string) bool {
		_, there := m.Files[r]
		_, generatedNow := generated[r]
		return !there && (generatedNow || old[r] != "")
	})
	content, err := yaml.Marshal(merged)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	wanted, _ := Meaning(content) // it was just written
	if now, err := Meaning(before); exists && err == nil && now == wanted {
		return nil
	}
	m.Files[name], m.Changed = content, true
	return nil
}

func union(first, second []string) []string {
	for _, s := range second {
		if !slices.Contains(first, s) {
			first = append(first, s)
		}
	}
	return first
}

// listOf reads a list of strings out of YAML; what is no string is left to kustomize to refuse.
func listOf(v any) []string {
	if s, ok := v.([]string); ok {
		return s
	}
	items, _ := v.([]any)
	var out []string
	for _, i := range items {
		if s, ok := i.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
