// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	stdjson "encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
)

// contents is what is in one file, or in one kustomization.
type contents struct {
	objects []Object
	skipped map[schema.GroupKind]int
	foreign []source // documents that are no objects of Kubernetes
	ignored []error  // fields that are not known, of kinds in which they change no policy
	lists   int      // that were taken apart
}

// read adds what a document holds.
func (c *contents) read(d *document, how Reading) error {
	data, err := d.toJSON()
	if err != nil {
		return err
	}
	return c.decode(source{document: d}, data, schema.GroupVersionKind{}, how)
}

// head is as much of an object as decides what to do with it. Its values are of any type: it may
// be no object of Kubernetes at all.
type head struct {
	APIVersion any                `json:"apiVersion"`
	Kind       any                `json:"kind"`
	Metadata   stdjson.RawMessage `json:"metadata"`
}

// decode adds the object or the list in data. inherited is the kind that the items of a list such as
// PodList need not repeat.
func (c *contents) decode(at source, data []byte, inherited schema.GroupVersionKind, how Reading) error {
	if string(data) == "null" {
		return nil
	}
	var h head
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &h); err != nil && data[0] == '{' {
		return at.fault("", "%s", oneLine(err))
	}
	gvk, err := h.gvk(inherited)
	switch {
	case err != nil:
		return at.fault("apiVersion", "%w", err)
	case gvk.Kind == "" && how == Strict && (h.APIVersion != nil || h.Metadata != nil):
		return at.fault("", "no Kubernetes object: kind is missing")
	case gvk.Kind == "":
		c.foreign = append(c.foreign, at)
		return nil
	case strings.HasSuffix(gvk.Kind, "List"):
		if items, rest := cutItems(data); rest != nil {
			return c.decodeItems(at, items, gvk, how)
		}
	}
	known, err := reads(gvk)
	switch {
	case err != nil:
		return at.fault("apiVersion", "%s: %w", h.name(gvk.Kind), err)
	case !known:
		c.skip(gvk.GroupKind())
		return nil
	}
	object, unknown, err := at.decode(data, gvk, h.name(gvk.Kind), how)
	if err == nil && isPolicy(gvk.GroupKind()) {
		err = errors.Join(unknown...)
	}
	if err != nil {
		return err
	}
	c.ignored = append(c.ignored, unknown...)
	c.objects = append(c.objects, Object{object, at})
	return nil
}

func (c *contents) skip(gk schema.GroupKind) {
	if c.skipped == nil {
		c.skipped = map[schema.GroupKind]int{}
	}
	c.skipped[gk]++
}

func (c *contents) decodeItems(at source, items [][]byte, list schema.GroupVersionKind, how Reading) error {
	c.lists++
	list.Kind = strings.TrimSuffix(list.Kind, "List")
	if list.Kind == "" {
		list = schema.GroupVersionKind{}
	}
	for i, item := range items {
		if err := c.decode(at.item(i), item, list, how); err != nil {
			return err
		}
	}
	return nil
}

func (h *head) gvk(inherited schema.GroupVersionKind) (schema.GroupVersionKind, error) {
	kind, _ := h.Kind.(string)
	version, _ := h.APIVersion.(string)
	switch {
	case kind == "" && version == "":
		return inherited, nil
	case kind == "":
		return schema.GroupVersionKind{}, nil
	case version == "" && kind == inherited.Kind:
		return inherited, nil
	case version == "" && kinds[kind].Empty():
		return schema.GroupVersionKind{}, nil
	case version == "":
		return schema.GroupVersionKind{}, errors.New("apiVersion of " + kind + " is missing; use " + kinds[kind].String())
	}
	gv, err := schema.ParseGroupVersion(version)
	return gv.WithKind(kind), err
}

// name is what messages call the object.
func (h *head) name(kind string) string {
	var m struct {
		Namespace    string `json:"namespace"`
		Name         string `json:"name"`
		GenerateName string `json:"generateName"`
	}
	if kjson.UnmarshalCaseSensitivePreserveInts(h.Metadata, &m) != nil || m.Name+m.GenerateName == "" {
		return kind
	}
	return called(kind, m.Namespace, m.Name+m.GenerateName)
}

func called(kind, namespace, name string) string {
	if namespace != "" {
		name = namespace + "/" + name
	}
	return kind + " " + bare(name)
}

var (
	unknownField = regexp.MustCompile(`^(unknown|duplicate) field "(.*)"$`)
	wrongType    = regexp.MustCompile(`^json: cannot unmarshal (.+) into Go (?:struct field [^ .]+\.([^ ]+)|value) of type (.+)$`)
)

// decode decodes one object of a kind that is read. unknown are its fields that are not known, in order of
// line; nil where nobody asks.
func (s source) decode(data []byte, gvk schema.GroupVersionKind, name string, how Reading) (object runtime.Object, unknown []error, err error) {
	if object, err = scheme.New(gvk); err != nil {
		return nil, nil, s.word(name, err)
	}
	if how == Strict {
		unknown, err = kjson.UnmarshalStrict(data, object)
	} else {
		err = kjson.UnmarshalCaseSensitivePreserveInts(data, object)
	}
	if err != nil {
		return nil, nil, s.word(name, err)
	}
	slices.SortStableFunc(unknown, func(a, b error) int { return cmp.Compare(s.at(fieldOf(a)).Line, s.at(fieldOf(b)).Line) })
	for i, f := range unknown {
		unknown[i] = s.word(name, f)
	}
	object.GetObjectKind().SetGroupVersionKind(gvk) // items of lists do not repeat it
	return object, unknown, nil
}

// fieldOf is the path that a decoder's error names; empty: none.
func fieldOf(err error) string {
	text := oneLine(err)
	if m := unknownField.FindStringSubmatch(text); m != nil {
		return m[2]
	}
	if m := wrongType.FindStringSubmatch(text); m != nil {
		return m[2]
	}
	return ""
}

// word says in the words of manifests what a decoder says in those of Go.
func (s source) word(name string, err error) error {
	text, field := oneLine(err), fieldOf(err)
	if m := unknownField.FindStringSubmatch(text); m != nil {
		text = m[1] + " field " + bare(field)
	} else if m := wrongType.FindStringSubmatch(text); m != nil {
		text = strings.TrimPrefix(bare(field)+": ", ": ") + "a value of type " + bare(m[1]) + " does not fit"
	}
	return s.fault(field, "%s: %s", name, text)
}
