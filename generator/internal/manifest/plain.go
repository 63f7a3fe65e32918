// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	yamlv2 "go.yaml.in/yaml/v2"
)

// plainJSON is what sigs.k8s.io/yaml makes of a YAML document, in half its time. It reports false where the document is
// faulty, or has what nearly none has: then it is for that library to say what it is.
func plainJSON(data []byte) ([]byte, bool) {
	if bytes.Contains(data, []byte("<<")) {
		return nil, false // keys that are merged are lost in a MapSlice
	}
	if list, is := listJSON(data); is {
		return list, true
	}
	doc, is := mapping(data)
	if !is || doc == nil {
		return nil, false
	}
	return appendMapping(make([]byte, 0, len(data)), doc)
}

// mapping parses a text that is one, or has no content: nil. The library would make one of some lists, too.
func mapping(text []byte) (m yamlv2.MapSlice, is bool) {
	is = beginsWithWord(text) && yamlv2.UnmarshalStrict(text, &m) == nil
	return m, is
}

func appendValue(out []byte, v any) ([]byte, bool) {
	switch v := v.(type) {
	case yamlv2.MapSlice:
		return appendMapping(out, v)
	case []any:
		return appendList(out, v)
	case blocks:
		return v.append(out)
	case string:
		return appendText(out, v), true
	case int:
		return strconv.AppendInt(out, int64(v), 10), true
	case bool:
		return strconv.AppendBool(out, v), true
	case nil:
		return append(out, "null"...), true
	}
	text, err := json.Marshal(v) // other numbers
	return append(out, text...), err == nil
}

// appendMapping orders keys as encoding/json does. They must be different words: in a MapSlice nobody has looked.
func appendMapping(out []byte, items yamlv2.MapSlice) ([]byte, bool) {
	for _, item := range items {
		if _, is := item.Key.(string); !is {
			return nil, false
		}
	}
	slices.SortFunc(items, func(a, b yamlv2.MapItem) int { return cmp.Compare(a.Key.(string), b.Key.(string)) })
	out = append(out, '{')
	for i, item := range items {
		if i > 0 {
			if item.Key == items[i-1].Key {
				return nil, false
			}
			out = append(out, ',')
		}
		out = append(appendText(out, item.Key.(string)), ':')
		var ok bool
		if out, ok = appendValue(out, item.Value); !ok {
			return nil, false
		}
	}
	return append(out, '}'), true
}

func appendList(out []byte, items []any) ([]byte, bool) {
	out = append(out, '[')
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		var ok bool
		if out, ok = appendValue(out, item); !ok {
			return nil, false
		}
	}
	return append(out, ']'), true
}

// appendText quotes a text as encoding/json does, which is asked where a character needs more than quotes around it.
func appendText(out []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // texts are never refused
			return append(out, text...)
		}
	}
	return append(append(append(out, '"'), s...), '"')
}
