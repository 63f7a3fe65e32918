// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Position is a place in a file.
type Position struct {
	// File is the path as given, or as found below a folder that was given; "stdin" for "-".
	File string
	// Line counts from 1; 0: not known.
	Line int
}

// String is file:line, as editors and CI understand it.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// source is where an object stands.
type source struct {
	document *document
	// items lead to the object in a List, and in Lists in it. Empty: it is the document itself.
	items []int
	// through is the directory of the kustomization that it came through. Empty: it was read directly.
	through string
}

func (s source) item(i int) source {
	s.items = append(slices.Clip(s.items), i)
	return s
}

// at is the position of a field, or of its nearest parent that is in the file.
func (s source) at(path string) Position {
	node, err := s.document.tree()
	if err != nil || node == nil {
		return s.document.at(1)
	}
	line := node.Line
	var steps []string
	for _, i := range s.items {
		steps = append(steps, "items", strconv.Itoa(i))
	}
	for _, step := range append(steps, parsePath(path)...) {
		var at int
		if node, at = child(node, step, maxNesting); node == nil {
			break
		}
		line = at
	}
	return s.document.at(line)
}

func (s source) fault(path, format string, args ...any) error {
	return fmt.Errorf("%s: %w", s.at(path), fmt.Errorf(format, args...))
}

// parsePath takes apart paths such as spec.ingress[0].from and metadata.labels[example.com/x].
func parsePath(path string) []string {
	var steps []string
	for path != "" {
		if rest, ok := strings.CutPrefix(path, "["); ok {
			step, after, _ := strings.Cut(rest, "]")
			steps, path = append(steps, step), strings.TrimPrefix(after, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return append(steps, path)
		}
		steps, path = append(steps, path[:end]), strings.TrimPrefix(path[end:], ".")
	}
	return steps
}

// child is the value that a step leads to, and the line at which it begins: that of its key. It
// follows as many aliases and merges as hops.
func child(n *yaml.Node, step string, hops int) (*yaml.Node, int) {
	for ; n.Kind == yaml.AliasNode && hops > 0; hops-- {
		n = n.Alias
	}
	switch i, err := strconv.Atoi(step); {
	case n.Kind == yaml.SequenceNode && err == nil && i >= 0 && i < len(n.Content):
		return n.Content[i], n.Content[i].Line
	case n.Kind == yaml.MappingNode:
		return field(n, step, hops)
	}
	return nil, 0
}

func field(n *yaml.Node, key string, hops int) (*yaml.Node, int) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i].Kind == yaml.ScalarNode {
			return n.Content[i+1], n.Content[i].Line
		}
	}
	for i := 0; i+1 < len(n.Content) && hops > 0; i += 2 {
		if n.Content[i].Value != "<<" {
			continue
		}
		merged := []*yaml.Node{n.Content[i+1]}
		if merged[0].Kind == yaml.SequenceNode {
			merged = merged[0].Content
		}
		for _, m := range merged {
			if found, line := child(m, key, hops-1); found != nil {
				return found, line
			}
		}
	}
	return nil, 0
}
