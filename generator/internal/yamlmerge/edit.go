// SPDX-License-Identifier: Apache-2.0

package yamlmerge

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	yamlv4 "go.yaml.in/yaml/v4"
	"sigs.k8s.io/yaml"
)

// edit changes as little of a text as makes it say what is wanted. It reports false where it cannot: the text has
// aliases or tabs, say. What it returns was read again and says what is wanted.
func edit(text []byte, have, wanted Documents) ([]byte, bool) {
	nodes, err := parseNodes(text)
	if err != nil || len(nodes) != len(have) || len(have) != len(wanted) {
		return nil, false
	}
	e := &editor{lines: splitLines(text)}
	for i, n := range nodes {
		end := len(e.lines)
		if i+1 < len(nodes) {
			end = nodes[i+1].Line - 1
		}
		if !e.node(n, end, have[i], wanted[i]) {
			return nil, false
		}
	}
	out := e.apply()
	now, err := Parse(out)
	return out, err == nil && now.Equal(wanted)
}

// parseNodes are the roots of the documents that are not empty.
func parseNodes(text []byte) ([]*yamlv4.Node, error) {
	var roots []*yamlv4.Node
	decoder := yamlv4.NewDecoder(bytes.NewReader(text))
	for {
		var doc yamlv4.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return roots, nil
		}
		if err != nil {
			return nil, err
		}
		if len(doc.Content) == 1 && doc.Content[0].Tag != "!!null" {
			roots = append(roots, doc.Content[0])
		}
	}
}

// splitLines keeps the ends of lines; a last line without one gets it.
func splitLines(text []byte) []string {
	lines := slices.Collect(strings.Lines(string(text)))
	if last := len(lines) - 1; last >= 0 && !strings.HasSuffix(lines[last], "\n") {
		lines[last] += "\n"
	}
	return lines
}

// change replaces lines from..to, counted from 0, by text.
type change struct {
	from, to int
	text     string
}

type editor struct {
	lines   []string
	changes []change
}

func (e *editor) apply() []byte {
	// Of changes at one line those that insert come first, in the order in which they were made.
	slices.SortStableFunc(e.changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	var out strings.Builder
	at := 0
	for _, c := range e.changes {
		for ; at < c.from; at++ {
			out.WriteString(e.lines[at])
		}
		out.WriteString(c.text)
		at = max(at, c.to)
	}
	for ; at < len(e.lines); at++ {
		out.WriteString(e.lines[at])
	}
	return []byte(out.String())
}

// node makes a value that ends before the line `end` say what is wanted.
func (e *editor) node(n *yamlv4.Node, end int, have, wanted any) bool {
	if reflect.DeepEqual(have, wanted) {
		return true
	}
	if n.Anchor != "" || n.Style&yamlv4.FlowStyle != 0 {
		return false
	}
	before, done := len(e.changes), false
	if h, w, ok := both[map[string]any](have, wanted); ok && n.Kind == yamlv4.MappingNode {
		done = e.mapping(n, end, h, w)
	} else if h, w, ok := both[[]any](have, wanted); ok && n.Kind == yamlv4.SequenceNode && len(w) > 0 {
		done = e.sequence(n, end, h, w)
	}
	if !done {
		e.changes = e.changes[:before]
	}
	return done
}

// part is an entry of a mapping or an item of a sequence.
type part struct {
	value  *yamlv4.Node
	column int // of its key or dash, from 0
	from   int // its first line, from 0
	to     int // the line behind its last one that is no comment
	shares bool
}

// limit sets where parts end: before the next one, and before the comments above that.
func (e *editor) limit(parts []part, end int) {
	for i := range parts {
		to := end
		if i+1 < len(parts) {
			to = parts[i+1].from
		}
		for to > parts[i].from+1 && isRemark(e.lines[to-1]) {
			to--
		}
		parts[i].to = to
	}
}

// isRemark reports whether a line says nothing: it is empty, a comment, or a mark between documents.
func isRemark(line string) bool {
	text := strings.TrimSpace(line)
	return text == "" || text[0] == '#' || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "...")
}

func (e *editor) mapping(n *yamlv4.Node, end int, have, wanted map[string]any) bool {
	var parts []part
	var keys []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if _, known := have[k.Value]; !known || k.Line < 1 || k.Line > len(e.lines) {
			return false
		}
		p := part{value: v, column: k.Column - 1, from: k.Line - 1}
		line := e.lines[p.from]
		p.shares = p.column > len(line) || strings.TrimSpace(line[:p.column]) != ""
		parts, keys = append(parts, p), append(keys, k.Value)
	}
	if len(keys) != len(have) || len(keys) == 0 {
		return false
	}
	e.limit(parts, end)
	for i, k := range keys {
		w, stays := wanted[k]
		switch {
		case stays && e.node(parts[i].value, parts[i].to, have[k], w):
		case stays && e.scalar(parts[i], have[k], w):
		case parts[i].shares:
			return false
		case !stays:
			e.remove(parts[i])
		default:
			e.replace(parts[i], map[string]any{k: w})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(wanted)) {
		if _, there := have[k]; there {
			continue
		}
		at := parts[len(parts)-1].to
		if i := slices.IndexFunc(keys, func(other string) bool { return other > k }); i > 0 || i == 0 && !parts[0].shares {
			at = e.above(parts[i])
		}
		e.insert(at, parts[0].column, map[string]any{k: wanted[k]})
	}
	return true
}

func (e *editor) sequence(n *yamlv4.Node, end int, have, wanted []any) bool {
	if len(n.Content) != len(have) || len(have) == 0 {
		return false
	}
	var parts []part
	for _, item := range n.Content {
		p := part{value: item, column: n.Column - 1, from: item.Line - 1}
		for p.from >= 0 && p.from < len(e.lines) && !isItem(e.lines[p.from], p.column) {
			p.from--
		}
		if p.from < 0 || p.from >= len(e.lines) || len(parts) > 0 && parts[len(parts)-1].from >= p.from {
			return false
		}
		parts = append(parts, p)
	}
	e.limit(parts, end)
	j := 0 // of what is wanted
	for i, step := range align(have, wanted) {
		for ; j < step && step >= 0; j++ {
			e.insert(e.above(parts[i]), parts[i].column, []any{wanted[j]})
		}
		switch {
		case step < 0:
			e.remove(parts[i])
			continue
		case e.node(parts[i].value, parts[i].to, have[i], wanted[j]):
		default:
			e.replace(parts[i], []any{wanted[j]})
		}
		j++
	}
	for ; j < len(wanted); j++ {
		e.insert(parts[len(parts)-1].to, parts[0].column, []any{wanted[j]})
	}
	return true
}

func isItem(line string, column int) bool {
	return column < len(line) && line[column] == '-' && strings.TrimSpace(line[:column]) == ""
}

// align finds for each item that there is the index of what it becomes, ascending; -1: it goes.
func align(have, wanted []any) []int {
	to := slices.Repeat([]int{-1}, len(have))
	next := 0
	for i, h := range have {
		j := slices.IndexFunc(wanted[next:], func(w any) bool { return reflect.DeepEqual(h, w) })
		if j < 0 {
			j = slices.IndexFunc(wanted[next:], func(w any) bool { return alike(h, w) })
		}
		if j >= 0 {
			to[i] = next + j
			next = to[i] + 1
		}
	}
	return to
}

// scalar replaces a plain or quoted word, and leaves what comes behind it on the line.
func (e *editor) scalar(p part, have, wanted any) bool {
	n := p.value
	if n.Kind != yamlv4.ScalarNode || n.Anchor != "" || n.Line-1 != p.from || p.to != p.from+1 || isContainer(wanted) {
		return false
	}
	line, at := e.lines[p.from], n.Column-1
	word := n.Value
	switch n.Style &^ yamlv4.TaggedStyle {
	case 0:
	case yamlv4.SingleQuotedStyle:
		word = "'" + word + "'"
	case yamlv4.DoubleQuotedStyle:
		word = `"` + word + `"`
	default:
		return false
	}
	if at > len(line) || !strings.HasPrefix(line[at:], word) {
		return false
	}
	text, err := yaml.Marshal(wanted)
	if err != nil || bytes.Count(text, []byte("\n")) != 1 {
		return false
	}
	e.changes = append(e.changes, change{p.from, p.from + 1, line[:at] + strings.TrimSuffix(string(text), "\n") + line[at+len(word):]})
	return true
}

func isContainer(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// above is the first line of the comments that stand directly above a part.
func (e *editor) above(p part) int {
	at := p.from
	for at > 0 && strings.HasPrefix(strings.TrimLeft(e.lines[at-1], " "), "#") && strings.Index(e.lines[at-1], "#") == p.column {
		at--
	}
	return at
}

// remove takes a part away with the comments in it and directly above it, which speak of it.
func (e *editor) remove(p part) {
	e.changes = append(e.changes, change{from: e.above(p), to: p.to})
}

func (e *editor) replace(p part, v any) {
	e.changes = append(e.changes, change{p.from, p.to, indented(v, p.column)})
}

func (e *editor) insert(at, column int, v any) {
	e.changes = append(e.changes, change{at, at, indented(v, column)})
}

func indented(v any, column int) string {
	text, err := yaml.Marshal(v)
	if err != nil {
		return "" // what is read again then is not what is wanted
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		out.WriteString(strings.Repeat(" ", column) + line)
	}
	return out.String()
}
