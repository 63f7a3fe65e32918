// SPDX-License-Identifier: Apache-2.0

package yamlmerge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	yamlv2 "go.yaml.in/yaml/v2"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Documents are the values of the YAML documents of a file, as encoding/json decodes them; empty documents are left
// out.
type Documents []any

// Parse reads the documents of a file.
func Parse(content []byte) (Documents, error) {
	docs := Documents{}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		var v any
		if err := yaml.Unmarshal(doc, &v); err != nil {
			return nil, err
		}
		if v != nil {
			docs = append(docs, v)
		}
	}
}

// Equal reports whether documents say the same; comments, style and the order of keys do not count.
func (d Documents) Equal(o Documents) bool {
	return len(d) == len(o) && (len(d) == 0 || reflect.DeepEqual(d, o))
}

// DocumentsOf are the documents that say what objects say in JSON.
func DocumentsOf[T any](objects ...T) (Documents, error) {
	docs := make(Documents, len(objects))
	for i, o := range objects {
		text, err := json.Marshal(o)
		if err == nil {
			err = json.Unmarshal(text, &docs[i])
		}
		if err != nil {
			return nil, err
		}
	}
	return docs, nil
}

var errMergeKey = errors.New(`"<<" cannot be a key in YAML: it would merge another map`)

// Marshal writes documents in the form that is generated.
func (d Documents) Marshal() ([]byte, error) {
	var out bytes.Buffer
	for i, doc := range d {
		text, err := yamlv2.Marshal(doc) // as sigs.k8s.io/yaml does, which reads JSON again first
		if err != nil {
			return nil, err
		}
		if bytes.Contains(text, []byte("<<: ")) { // the library does not quote it
			if again, err := Parse(text); err != nil || !again.Equal(d[i:i+1]) {
				return nil, errMergeKey
			}
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	return out.Bytes(), nil
}

// Result is what becomes of a file.
type Result struct {
	Content []byte
	// Kept are the places, as paths, at which the file says something else than what was generated, because a person
	// wrote it.
	Kept []string
	// Deleted are the places of what was generated and a person took away. It stays away.
	Deleted []string
}

// Merge brings generated documents into a file. base are those that were generated last; nil: not known, and all that
// the file says is a person's. The error says that the file is not YAML.
func Merge(base Documents, existing []byte, generated Documents) (*Result, error) {
	theirs, err := Parse(existing)
	if err != nil {
		return nil, err
	}
	if theirs.Equal(generated) {
		return &Result{Content: existing}, nil
	}
	m := &merger{}
	wanted, ok := m.documents(base, theirs, generated)
	if !ok {
		return whole(base, theirs, existing, generated)
	}
	r := &Result{Kept: m.kept, Deleted: m.deleted}
	if wanted.Equal(theirs) {
		r.Content = existing
		return r, nil
	}
	content, edited := edit(existing, theirs, wanted)
	if !edited {
		return whole(base, theirs, existing, generated)
	}
	r.Content = content
	return r, nil
}

// documents merges one by one what has the same names in the same order; false: it has not.
func (m *merger) documents(base, theirs, ours Documents) (Documents, bool) {
	if len(theirs) != len(ours) {
		return nil, false
	}
	out := Documents{}
	for i := range ours {
		if name(theirs[i]) != name(ours[i]) {
			return nil, false
		}
		var b any = absent{}
		if len(base) == len(ours) && name(base[i]) == name(ours[i]) {
			b = base[i]
		}
		out = append(out, m.value("", b, theirs[i], ours[i]))
	}
	return out, true
}

// name is the kind and name of an object.
func name(doc any) string {
	m, _ := doc.(map[string]any)
	meta, _ := m["metadata"].(map[string]any)
	return fmt.Sprint(m["kind"], " ", meta["name"])
}

// whole replaces a file that nobody edited, and keeps any other as it is.
func whole(base, theirs Documents, existing []byte, generated Documents) (*Result, error) {
	if base != nil && base.Equal(theirs) {
		content, err := generated.Marshal()
		return &Result{Content: content}, err
	}
	return &Result{Content: existing, Kept: []string{"all of it"}}, nil
}

// summary is a value in a few words.
func summary(v any) string {
	const limit = 120
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return strings.ToValidUTF8(string(text[:min(len(text), limit)]), "")
}
