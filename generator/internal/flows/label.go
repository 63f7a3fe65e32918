// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"strings"

	"github.com/valyala/fastjson"
)

// Option changes what is read of flows.
type Option func(*decoder)

// WithLabels reads the labels of all pods; without it only those of pods whose workload the flow does not name, or of a kind that may be made for one run.
func WithLabels() Option { return func(d *decoder) { d.labels = true } }

// Bounds of the lists of labels that are kept, so that the same list is one in memory.
const (
	maxLists = 1 << 12
	maxList  = 1 << 12 // bytes of each
)

// labels are those of an end, and what they say of it.
type labels struct {
	list   []string // nobody may change it
	entity string   // that they name, each as a label of its own source; empty: none
	host   bool     // the observer's own node is among them
	pod    bool     // it is of a pod's kind
}

// EntityPod is the entity of an address that the observer knows to be a pod's, and not which one's.
const EntityPod = "pod"

// readLabels reads what labels say.
func readLabels(list []string) labels {
	all := labels{list: list}
	for _, l := range list {
		name, ok := strings.CutPrefix(l, "reserved:")
		if name == "world-ipv4" || name == "world-ipv6" { // what clusters of both families call it
			name = "world"
		}
		all.host = all.host || ok && name == "host"
		all.pod = all.pod || !ok && strings.HasPrefix(l, "k8s:io.kubernetes.pod.namespace=")
		if ok && precedence(name) > precedence(all.entity) && isName(name, 63, false) {
			all.entity = name
		}
	}
	return all
}

// precedence orders the entities of one address: the API server is on a node, and any node may be called a remote one.
func precedence(entity string) int {
	switch entity {
	case "":
		return 0
	case "world", EntityPod:
		return 1
	case "remote-node":
		return 2
	case "kube-apiserver":
		return 4
	}
	return 3
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
	l := readLabels(list)
	if len(d.lists) < maxLists && len(bytes) <= maxList {
		d.lists[string(bytes)] = l
	}
	return l
}
