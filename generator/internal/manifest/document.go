// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// document is one YAML or JSON document of a file.
type document struct {
	file  string
	first int // line of the file at which data begins, from 1
	data  []byte
	lines int // of the file: no position is beyond them
	json  bool
	// tree is the document with lines; made when the first position is asked for. Nil where a
	// position in the document would mean nothing, such as that of an object that a generator made.
	tree func() (*yaml.Node, error)
}

func newDocument(file string, first int, data []byte, lines int, isJSON bool) *document {
	d := &document{file: file, first: first, data: data, lines: lines, json: isJSON}
	d.tree = sync.OnceValues(d.parse)
	return d
}

// at is the position of a line of the document, from 1.
func (d *document) at(line int) Position {
	return Position{d.file, min(d.first+max(line, 1)-1, d.lines)}
}

// fault is an error at a line of the document.
func (d *document) fault(line int, format string, args ...any) error {
	return fmt.Errorf("%s: %w", d.at(line), fmt.Errorf(format, args...))
}

// split takes a file apart. Documents without content are left out.
func split(file string, data []byte, limit int) ([]*document, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	lines := max(bytes.Count(data, []byte("\n")), 1)
	if n := len(data); n > 0 && data[n-1] != '\n' {
		lines = bytes.Count(data, []byte("\n")) + 1
	}
	if err := isText(file, data); err != nil {
		return nil, err
	}
	var docs []*document
	flush := func(chunk []byte, first int) error {
		found, err := streamed(newDocument(file, first, chunk, lines, false))
		docs = append(docs, found...)
		if err == nil && len(docs) > limit {
			err = fmt.Errorf("%s:%d: more than %d documents in one file; split it", file, first, limit)
		}
		return err
	}
	start, offset, first, line, ended := 0, 0, 1, 0, false
	for l := range bytes.Lines(data) {
		line++
		marker, rest := cutMarker(l)
		switch {
		case marker == "" && ended && !isBlank(l):
			return nil, fmt.Errorf("%s:%d: content after the end of the document (...); begin a new one with ---", file, line)
		case marker != "":
			if err := flush(data[start:offset], first); err != nil {
				return nil, err
			}
			start, first, ended = offset, line, marker == "..."
			if isBlank(rest) {
				start, first = offset+len(l), line+1
			}
		}
		offset += len(l)
	}
	return docs, flush(data[start:], first)
}

// cutMarker cuts a document's --- or ... off a line; marker is empty when there is none.
func cutMarker(line []byte) (marker string, rest []byte) {
	if len(line) < 3 || string(line[:3]) != "---" && string(line[:3]) != "..." {
		return "", line
	}
	if len(line) > 3 && !bytes.ContainsRune([]byte(" \t\r\n"), rune(line[3])) {
		return "", line
	}
	return string(line[:3]), line[3:]
}

// isText finds what no YAML or JSON file may contain.
func isText(file string, data []byte) error {
	for rest := data[printable(data):]; len(rest) > 0; {
		if i := bytes.IndexFunc(rest, notText); i >= 0 {
			r, size := utf8.DecodeRune(rest[i:])
			if r == utf8.RuneError && size > 1 { // U+FFFD itself
				rest = rest[i+size:]
				continue
			}
			line := 1 + bytes.Count(data[:len(data)-len(rest)+i], []byte("\n"))
			if r == utf8.RuneError {
				return fmt.Errorf("%s:%d: not UTF-8; is it a text file?", file, line)
			}
			return fmt.Errorf("%s:%d: control character U+%04X; is it a text file?", file, line, r)
		}
		break
	}
	return nil
}

// printable is the length of what data begins with and needs no second look, which is all of most files.
func printable(data []byte) int {
	for i, b := range data {
		if (b < ' ' || b > '~') && b != '\n' {
			return i
		}
	}
	return len(data)
}

func notText(r rune) bool {
	return r == utf8.RuneError || r < ' ' && r != '\t' && r != '\n' && r != '\r' || 0x7f <= r && r < 0xa0 && r != 0x85
}

// streamed is the document itself, or, of JSON, the values that follow each other in it.
func streamed(d *document) ([]*document, error) {
	if isBlank(d.data) {
		return nil, nil
	}
	if trimmed := bytes.TrimSpace(d.data); trimmed[0] != '{' {
		return []*document{d}, nil
	}
	if json.Valid(d.data) { // one value, however large, is not copied
		begin := bytes.IndexByte(d.data, '{')
		first := d.first + bytes.Count(d.data[:begin], []byte("\n"))
		return []*document{newDocument(d.file, first, bytes.TrimSpace(d.data), d.lines, true)}, nil
	}
	var docs []*document
	dec := json.NewDecoder(bytes.NewReader(d.data))
	for line, counted := 1, 0; ; {
		var value json.RawMessage
		err := dec.Decode(&value)
		end := int(dec.InputOffset())
		switch {
		case err != nil && len(bytes.TrimSpace(d.data[counted:])) == 0:
			return docs, nil
		case err != nil && len(docs) == 0 && filepath.Ext(d.file) != ".json":
			return []*document{d}, nil // YAML's own {}
		case err != nil:
			return nil, d.syntax(err)
		}
		begin := end - len(value)
		line += bytes.Count(d.data[counted:begin], []byte("\n"))
		docs = append(docs, newDocument(d.file, d.first+line-1, d.data[begin:end], d.lines, true))
		line += bytes.Count(value, []byte("\n"))
		counted = end
	}
}

// isBlank is true of text without content: comments, directives, nothing.
func isBlank(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
