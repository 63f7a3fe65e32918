// SPDX-License-Identifier: Apache-2.0

package yamlmerge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	yamlv2 "go.yaml.in/yaml/v2"
	networkingv1 "k8s.io/api/networking/v1"
)

// maxRemembered is how many bytes of lists a Writer remembers. Where 1,000 workloads are each other's peers, it is 1 MB.
const maxRemembered = 4 << 20

// A rule of one peer and port usually takes up to that many bytes.
const usualYAML, usualJSON = 384, 256

// Writer writes policies in the form that is generated. The library that writes YAML is slow, and the peers of a rule are
// those of many rules, as its ports are: it is asked once how they are written. The zero Writer is ready, and safe for
// concurrent use.
type Writer struct {
	lock  sync.Mutex
	lists map[string]written // by field and what encoding/json makes of it
	size  int                // of what is remembered, in bytes
}

// written is how the libraries write a field or several.
type written struct {
	yaml string // with its indentation
	json string // with its keys in order, without brackets around it
}

// Policies writes a file. asJSON are its Documents, as encoding/json writes them.
func (w *Writer) Policies(policies ...*networkingv1.NetworkPolicy) (asYAML, asJSON []byte, err error) {
	f := file{Writer: w}
	f.json.WriteByte('[')
	for i, p := range policies {
		if i > 0 {
			f.yaml.WriteString("---\n")
			f.json.WriteByte(',')
		}
		texts, docs := f.yaml.Len(), f.json.Len()
		if f.inParts(p) == nil {
			continue
		}
		f.yaml.Truncate(texts)
		f.json.Truncate(docs)
		if err := f.atOnce(p); err != nil {
			return nil, nil, fmt.Errorf("NetworkPolicy %s/%s: %w", p.Namespace, p.Name, err)
		}
	}
	f.json.WriteByte(']')
	return f.yaml.Bytes(), f.json.Bytes(), nil
}

// file is one that is being written.
type file struct {
	*Writer
	yaml, json bytes.Buffer
	key        bytes.Buffer // of the list that is asked for, in Writer.lists
}

// atOnce has the libraries write a policy.
func (f *file) atOnce(p *networkingv1.NetworkPolicy) error {
	d, err := DocumentsOf(p)
	if err != nil {
		return err
	}
	text, err := d.Marshal()
	if err != nil {
		return err
	}
	doc, err := json.Marshal(d[0])
	f.yaml.Write(text)
	f.json.Write(doc)
	return err
}

// inParts writes what the libraries make of the policy without rules, and puts the rules into it. It fails, such as with
// errNotPlain, where they would perhaps have made something else of all of it: then atOnce has to.
func (f *file) inParts(p *networkingv1.NetworkPolicy) error {
	bare := *p
	bare.Spec.Egress, bare.Spec.Ingress = nil, nil
	text, err := json.Marshal(&bare)
	if err != nil {
		return err
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	spec, _ := object["spec"].(map[string]any)
	delete(object, "spec")
	if !isPlain(text) || len(object) == 0 || len(spec) == 0 {
		return errNotPlain
	}
	head, errHead := fields(object, 0)
	rest, errRest := fields(spec, 2)
	if err := errors.Join(errHead, errRest); err != nil {
		return err
	}
	n := len(p.Spec.Egress) + len(p.Spec.Ingress)
	f.yaml.Grow(n * usualYAML)
	f.json.Grow(n * usualJSON)
	f.yaml.WriteString(head.yaml + "spec:\n")
	f.json.WriteString("{" + head.json + `,"spec":{`)
	err = rules(f, "egress", p.Spec.Egress, func(r *networkingv1.NetworkPolicyEgressRule) [2]field {
		return [2]field{{"ports", &r.Ports}, {"to", &r.To}}
	})
	errIngress := rules(f, "ingress", p.Spec.Ingress, func(r *networkingv1.NetworkPolicyIngressRule) [2]field {
		return [2]field{{"from", &r.From}, {"ports", &r.Ports}}
	})
	f.yaml.WriteString(rest.yaml)
	f.json.WriteString(rest.json + "}}")
	return errors.Join(err, errIngress)
}

// field is one of a rule.
type field struct {
	name string
	list any // a pointer to it
}

// rules writes those of a policy: fields of the specification that stand before all others. fieldsOf are the fields of a
// rule in the order of their names.
func rules[R any](f *file, name string, rules []R, fieldsOf func(*R) [2]field) error {
	if len(rules) == 0 {
		return nil
	}
	f.yaml.WriteString("  " + name + ":\n")
	f.json.WriteString(`"` + name + `":[`)
	for i := range rules {
		if i > 0 {
			f.json.WriteByte(',')
		}
		if err := f.rule(fieldsOf(&rules[i])); err != nil {
			return err
		}
	}
	f.json.WriteString("],")
	return nil
}

func (f *file) rule(of [2]field) error {
	dash, brace := "  - ", "{"
	for _, field := range of {
		list, err := f.list(field)
		if err != nil {
			return err
		}
		if list == (written{}) {
			continue
		}
		f.yaml.WriteString(dash)
		f.yaml.WriteString(list.yaml[len(dash):])
		f.json.WriteString(brace)
		f.json.WriteString(list.json)
		dash, brace = "    ", ","
	}
	if brace == "{" { // there is none
		f.yaml.WriteString("  - {}\n")
		f.json.WriteString("{")
	}
	f.json.WriteString("}")
	return nil
}

// list is a field as it is written; empty: it is left out.
func (f *file) list(of field) (written, error) {
	f.key.Reset()
	err := json.NewEncoder(&f.key).Encode(of.list)
	text := bytes.TrimSuffix(f.key.Bytes(), []byte("\n"))
	switch {
	case err != nil:
		return written{}, err
	case string(text) == "null" || string(text) == "[]":
		return written{}, nil
	case !isPlain(text):
		return written{}, errNotPlain
	}
	f.key.WriteString(of.name)
	f.lock.Lock()
	defer f.lock.Unlock()
	if known, is := f.lists[string(f.key.Bytes())]; is {
		return known, nil
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return written{}, err
	}
	list, err := fields(map[string]any{of.name: value}, 4)
	if err == nil {
		f.remember(f.key.String(), list)
	}
	return list, err
}

// remember forgets all others when they are too many: those that are used are soon back.
func (w *Writer) remember(key string, list written) {
	size := len(key) + len(list.yaml) + len(list.json)
	if w.size += size; w.lists == nil || w.size > maxRemembered {
		w.lists, w.size = map[string]written{}, size
	}
	w.lists[key] = list
}

// fields are how the libraries write the fields of an object.
func fields(object map[string]any, indentation int) (written, error) {
	text, err := yamlv2.Marshal(object)
	if err != nil {
		return written{}, err
	}
	doc, err := json.Marshal(object)
	if err != nil {
		return written{}, err
	}
	var out strings.Builder
	for line := range bytes.Lines(text) {
		out.WriteString(strings.Repeat(" ", indentation))
		out.Write(line)
	}
	return written{out.String(), string(doc[1 : len(doc)-1])}, nil
}

// errNotPlain is about a policy that has to be written at once.
var errNotPlain = errors.New("words that lines may be broken at")

// isPlain reports whether YAML that says what compact JSON says can be indented by adding spaces to its lines: no word
// has spaces or line breaks, at which it could be broken.
func isPlain(compact []byte) bool {
	return !bytes.ContainsFunc(compact, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' })
}
