// SPDX-License-Identifier: Apache-2.0

package flows

import "github.com/valyala/fastjson"

// Option changes what is read of flows.
type Option func(*decoder)

// WithLabels reads the labels of all pods; without it only those of pods whose workload the flow does not name.
func WithLabels() Option { return func(d *decoder) { d.labels = true } }

// Bounds of the lists of labels that are kept, so that the same list is one in memory.
const (
	maxLists = 1 << 12
	maxList  = 1 << 12 // bytes of each
)

// labels are those of an end, and the entity that they name; empty: none.
type labels struct {
	list   []string // nobody may change it
	entity string
}

// labelList reads a list of labels. The same labels are the same list, as far as there is room.
func (d *decoder) labelList(v *fastjson.Value) labels {
	items := v.GetArray()
	if len(items) == 0 {
		return labels{}
	}
	d.list = d.list[:0]
	for _, item := range items {
		d.list = append(append(d.list, item.GetStringBytes()...), 0)
	}
	if known, ok := d.lists[string(d.list)]; ok {
		return known
	}
	return d.keep(d.list, d.texts(v))
}

// wireLabels does so for messages of the Observer API, and for lines as a scanner reads them.
func (d *decoder) wireLabels(w *wireEnd) labels {
	if w.labelText != nil {
		return d.labelText(w.labelText)
	}
	items := w.labels
	if len(items) == 0 {
		return labels{}
	}
	d.list = d.list[:0]
	for _, item := range items {
		d.list = append(append(d.list, item...), 0)
	}
	if known, ok := d.lists[string(d.list)]; ok {
		return known
	}
	return d.keep(d.list, d.strings(items))
}

// labelText does so for a list as it is written, which ends as none of the others does.
func (d *decoder) labelText(text []byte) labels {
	if known, ok := d.lists[string(text)]; ok {
		return known
	}
	s := scanner{in: text}
	return d.keep(text, d.strings(s.texts(nil)))
}

// keep remembers a list by the bytes that stand for it.
func (d *decoder) keep(bytes []byte, list []string) labels {
	l := labels{list, entityOf(list)}
	if len(d.lists) < maxLists && len(bytes) <= maxList {
		d.lists[string(bytes)] = l
	}
	return l
}
