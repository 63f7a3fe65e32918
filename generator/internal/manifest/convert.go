// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"regexp"
	"strings"

	kjson "sigs.k8s.io/json"
	sigsyaml "sigs.k8s.io/yaml"
)

// toJSON is the document as kubectl takes it.
func (d *document) toJSON() ([]byte, error) {
	if d.json {
		if nesting(d.data) > maxNesting {
			return nil, d.explain(nil)
		}
		parts, rest := cutItems(d.data)
		if rest == nil {
			rest = d.data
		}
		for _, part := range append(parts, rest) { // what one of them takes is free again before the next
			var v any
			faults, err := kjson.UnmarshalStrict(part, &v, kjson.DisallowDuplicateFields)
			if err = errors.Join(err, errors.Join(faults...)); err != nil {
				return nil, d.explain(err)
			}
		}
		return d.data, nil
	}
	if d.isSuspect() {
		if err := d.check(); err != nil {
			return nil, err
		}
	}
	data, plain := plainJSON(d.data)
	var err error
	if !plain {
		data, err = sigsyaml.YAMLToJSONStrict(d.data)
	}
	if err != nil || nesting(data) > maxNesting {
		return nil, d.explain(err)
	}
	return data, nil
}

// explain says where in the document the fault is.
func (d *document) explain(err error) error {
	if checked := d.check(); checked != nil {
		return checked
	}
	if err == nil { // aliases within aliases
		return d.tooDeep(1)
	}
	return d.fault(1, "%s%s", strings.TrimPrefix(oneLine(err), "yaml: "), d.hint())
}

var (
	anchor = regexp.MustCompile(`&[0-9A-Za-z_-]`)
	alias  = regexp.MustCompile(`\*[0-9A-Za-z_-]`)
)

// isSuspect finds what the conversion to JSON does not look at: aliases that make a small document
// huge, and content after the first value, which it would leave out without a word. It
// is cheap, because most documents are large and harmless.
func (d *document) isSuspect() bool {
	if anchor.Match(d.data) && alias.Match(d.data) {
		return true
	}
	for _, lineBreak := range []string{"\u0085", "\u2028", "\u2029"} { // of YAML, not of split
		if bytes.Contains(d.data, []byte(lineBreak)) {
			return true
		}
	}
	if bytes.Count(d.data, []byte("\r")) != bytes.Count(d.data, []byte("\r\n")) {
		return true
	}
	return !beginsWithWord(d.data)
}

// beginsWithWord reports whether a text begins with a word that is not indented: then it is a mapping or that word. Text
// without content does, too.
func beginsWithWord(text []byte) bool {
	for line := range bytes.Lines(text) {
		if !isBlank(line) {
			b := line[0] | 0x20
			return 'a' <= b && b <= 'z' || b == '"' || b == '\''
		}
	}
	return true
}

// nesting is the depth of valid JSON.
func nesting(data []byte) int {
	depth, deepest, quoted := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			depth++
			deepest = max(deepest, depth)
		case b == '}' || b == ']':
			depth--
		}
	}
	return deepest
}
