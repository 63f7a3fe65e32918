// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"

	yamlv2 "go.yaml.in/yaml/v2"
)

// listJSON is plainJSON of a List as kubectl prints it, in YAML: each item is parsed alone, because a parser takes twenty
// times the memory of the text. It reports false of anything else. What is cut is YAML by itself only where no quote or
// bracket is open: so the parts say what they say together.
func listJSON(data []byte) ([]byte, bool) {
	head, items, tail := cutBlock(data)
	if len(items) == 0 {
		return nil, false
	}
	var fields yamlv2.MapSlice
	for _, part := range [][]byte{head, tail} {
		some, is := mapping(part)
		if !is {
			return nil, false
		}
		fields = append(fields, some...)
	}
	return appendMapping(make([]byte, 0, len(data)), append(fields, yamlv2.MapItem{Key: "items", Value: blocks(items)}))
}

// blocks are texts of YAML, each a list with one element.
type blocks [][]byte

func (b blocks) append(out []byte) ([]byte, bool) {
	out = append(out, '[')
	for i, text := range b {
		var list []yamlv2.MapSlice
		if !beginsWithWord(text[len("- "):]) || yamlv2.UnmarshalStrict(text, &list) != nil || len(list) != 1 || list[0] == nil {
			return nil, false
		}
		if i > 0 {
			out = append(out, ',')
		}
		var ok bool
		if out, ok = appendMapping(out, list[0]); !ok {
			return nil, false
		}
	}
	return append(out, ']'), true
}

// cutBlock cuts a text where lines are not indented: before "items:", before each of its items, and behind the last. There
// are no items where it has none of that form.
func cutBlock(data []byte) (head []byte, items [][]byte, tail []byte) {
	const field, dash = "\nitems:\n", "\n- "
	at := bytes.Index(data, []byte(field+dash[1:]))
	if at < 0 {
		return nil, nil, nil
	}
	head, tail = data[:at+1], data[at+len(field):]
	for bytes.HasPrefix(tail, []byte(dash[1:])) {
		end := 0
		for line := range bytes.Lines(tail) {
			if end > 0 && line[0] != ' ' && line[0] != '\n' {
				break
			}
			end += len(line)
		}
		items, tail = append(items, tail[:end]), tail[end:]
	}
	return head, items, tail
}
