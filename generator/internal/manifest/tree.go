// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxNesting is the depth of mappings and sequences in a document. No object of Kubernetes comes
// near it; the schemas in CustomResourceDefinitions reach 40.
const maxNesting = 64

// maxExpansion is how many bytes aliases may add to a document.
const maxExpansion = 16 << 20

// parse makes the tree, or says at which line it cannot be made.
func (d *document) parse() (*yaml.Node, error) {
	if d.json {
		return d.parseJSON()
	}
	var root yaml.Node
	err := yaml.Load(d.data, &root)
	if err != nil {
		return nil, d.syntax(err)
	}
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		return root.Content[0], nil
	}
	return &root, nil
}

// syntax words the error of a parser, at the line of the fault itself.
func (d *document) syntax(err error) error {
	var (
		load *yaml.LoadError
		all  *yaml.LoadErrors
		bad  *json.SyntaxError
	)
	switch {
	case errors.As(err, &bad):
		return d.fault(d.lineOf(bad.Offset), "malformed JSON: %s", bad)
	case errors.As(err, &all):
		return d.fault(1, "malformed YAML: %s%s", oneLine(all.Errors[0].Unwrap()), d.hint())
	case errors.As(err, &load):
		what := load.Message
		if load.ContextMsg != "" && load.ContextMark.Line < load.Mark.Line {
			what += fmt.Sprintf(" (%s that begins at line %d)", load.ContextMsg, d.at(load.ContextMark.Line).Line)
		}
		return d.fault(load.Mark.Line, "malformed YAML: %s%s", what, d.hint())
	case errors.Is(err, io.ErrUnexpectedEOF):
		return d.fault(d.lineOf(int64(len(d.data))), "malformed JSON: the file ends within a value")
	}
	return d.fault(1, "%s%s", oneLine(err), d.hint())
}

// hint helps those who give the templates of a chart.
func (d *document) hint() string {
	if bytes.Contains(d.data, []byte("{{")) {
		return "; if this is a template, render it first, e.g. helm template CHART | bulkhead … -"
	}
	return ""
}

func (d *document) lineOf(offset int64) int {
	return 1 + bytes.Count(d.data[:min(offset, int64(len(d.data)))], []byte("\n"))
}

// parseJSON makes the same tree of JSON: a parser of YAML does not take all of JSON.
func (d *document) parseJSON() (*yaml.Node, error) {
	p := jsonParser{document: d, dec: json.NewDecoder(bytes.NewReader(d.data)), line: 1}
	p.dec.UseNumber()
	node, err := p.value(0)
	if err != nil {
		return nil, err
	}
	return node, nil
}

type jsonParser struct {
	*document
	dec     *json.Decoder
	counted int64 // offset up to which line counts
	line    int
}

func (p *jsonParser) token() (json.Token, error) {
	t, err := p.dec.Token()
	if err != nil {
		return nil, p.syntax(err)
	}
	end := p.dec.InputOffset()
	p.line += bytes.Count(p.data[p.counted:end], []byte("\n"))
	p.counted = end
	return t, nil
}

func (p *jsonParser) value(depth int) (*yaml.Node, error) {
	t, err := p.token()
	if err != nil {
		return nil, err
	}
	node := &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(t), Line: p.line}
	delim, ok := t.(json.Delim)
	if !ok {
		return node, nil
	}
	if depth >= maxNesting {
		return nil, p.tooDeep(p.line)
	}
	node.Kind, node.Value = yaml.SequenceNode, ""
	if delim == '{' {
		node.Kind = yaml.MappingNode
	}
	for p.dec.More() {
		child, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, child)
	}
	_, err = p.token()
	return node, err
}

func (d *document) tooDeep(line int) error {
	return d.fault(line, "nested more than %d levels deep", maxNesting)
}

// check finds what YAML permits and no manifest may have: keys given twice, deep nesting, aliases
// that make a small file large.
func (d *document) check() error {
	root, err := d.tree()
	if err != nil {
		return err
	}
	if err := d.checkNode(root, 0); err != nil {
		return err
	}
	_, err = d.expanded(root, map[*yaml.Node]int{})
	return err
}

func (d *document) checkNode(n *yaml.Node, depth int) error {
	if (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode) && depth >= maxNesting {
		return d.tooDeep(n.Line)
	}
	if n.Kind == yaml.MappingNode {
		if err := d.checkKeys(n); err != nil {
			return err
		}
	}
	for _, c := range n.Content {
		if err := d.checkNode(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) checkKeys(n *yaml.Node) error {
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		line := n.Content[i].Line
		if k.Kind != yaml.ScalarNode {
			return d.fault(line, "the key of a mapping must be a word%s", d.hint())
		}
		if first, ok := seen[k.Value]; ok {
			return d.fault(line, "key %s is given twice, first at line %d; remove one", shorten(k.Value), d.at(first).Line)
		}
		seen[k.Value] = line
	}
	return nil
}

// expanded is the size of a node in bytes with its aliases written out. sizes has those known; -1
// marks the nodes above.
func (d *document) expanded(n *yaml.Node, sizes map[*yaml.Node]int) (int, error) {
	if n.Kind == yaml.AliasNode {
		if sizes[n.Alias] < 0 {
			return 0, d.fault(n.Line, "alias %s contains itself", shorten(n.Value))
		}
		return d.expanded(n.Alias, sizes)
	}
	if size, ok := sizes[n]; ok {
		return size, nil
	}
	sizes[n] = -1
	size := len(n.Value) + 1
	for _, c := range n.Content {
		s, err := d.expanded(c, sizes)
		if err != nil {
			return 0, err
		}
		if size += s; size > 2*len(d.data)+maxExpansion {
			return 0, d.fault(c.Line, "aliases add more than %d MiB to the document; write it out", maxExpansion>>20)
		}
	}
	sizes[n] = size
	return size, nil
}

// bare is shorten without the quotes, for what stands in a message as a word.
func bare(s string) string {
	return strings.Trim(shorten(s), `"`)
}

// shorten quotes a text of the input, and cuts it to a length that fits a message.
func shorten(s string) string {
	const most = 80
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q… (%d bytes)", strings.ToValidUTF8(s[:most], ""), len(s))
}
