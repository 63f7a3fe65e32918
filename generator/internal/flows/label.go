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

// labelList reads a list of labels. The same labels are the same list, as far as there is room: nobody may change it.
func (d *decoder) labelList(v *fastjson.Value) []string {
	items := v.GetArray()
	if len(items) == 0 {
		return nil
	}
	d.list = d.list[:0]
	for _, item := range items {
		d.list = append(append(d.list, item.GetStringBytes()...), 0)
	}
	if known, ok := d.lists[string(d.list)]; ok {
		return known
	}
	return d.keep(d.texts(v))
}

// wireLabels does for messages of the Observer API what labelList does for JSON.
func (d *decoder) wireLabels(items [][]byte) []string {
	if len(items) == 0 {
		return nil
	}
	d.list = d.list[:0]
	for _, item := range items {
		d.list = append(append(d.list, item...), 0)
	}
	if known, ok := d.lists[string(d.list)]; ok {
		return known
	}
	return d.keep(d.strings(items))
}

// keep remembers a list by the bytes that were just made of it.
func (d *decoder) keep(list []string) []string {
	if len(d.lists) < maxLists && len(d.list) <= maxList {
		d.lists[string(d.list)] = list
	}
	return list
}
