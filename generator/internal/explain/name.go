// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Named is one end of a connection as a person named it.
type Named struct {
	// Given is the text.
	Given string
	Peer  netpol.Peer
	// Workload that the end stands for; nil when it is none, or was given as one of its pods.
	Workload *inventory.Workload
	// Of is how many pods the workload has, of which Peer is one; 0: Peer is made of its template.
	Of int
	// Node whose address Peer is; empty when it was not given by its name.
	Node string
}

// kinds are the words for the kinds of ends.
var kinds = map[string]string{
	"pod": "Pod", "pods": "Pod", "po": "Pod",
	"service": "Service", "services": "Service", "svc": "Service",
	"deployment": "Deployment", "deployments": "Deployment", "deploy": "Deployment",
	"statefulset": "StatefulSet", "statefulsets": "StatefulSet", "sts": "StatefulSet",
	"daemonset": "DaemonSet", "daemonsets": "DaemonSet", "ds": "DaemonSet",
	"replicaset": "ReplicaSet", "replicasets": "ReplicaSet", "rs": "ReplicaSet",
	"replicationcontroller": "ReplicationController", "replicationcontrollers": "ReplicationController", "rc": "ReplicationController",
	"job": "Job", "jobs": "Job",
	"cronjob": "CronJob", "cronjobs": "CronJob", "cj": "CronJob",
}

// From finds who opens a connection: an address, node/NAME, NAMESPACE/NAME or NAMESPACE/KIND/NAME.
func (w *World) From(text string) (Named, error) { return w.find(text, false) }

// To finds to whom a connection goes: what From takes, and Services.
func (w *World) To(text string) (Named, error) { return w.find(text, true) }

func (w *World) find(text string, services bool) (Named, error) {
	n := Named{Given: text}
	if addr, err := netip.ParseAddr(text); err == nil {
		n.Peer.Addr = addr.Unmap()
		return n, nil
	}
	parts := strings.Split(text, "/")
	if slices.Contains(parts, "") {
		parts = nil
	}
	kind := ""
	switch len(parts) {
	case 2:
		if parts[0] == "node" {
			return w.findNode(n, parts[1])
		}
	case 3:
		kind, parts = splitKind(parts)
	default:
		return n, fmt.Errorf("%q: give NAMESPACE/NAME, NAMESPACE/KIND/NAME, node/NAME or an address%s", text, w.didYouMean(text, services))
	}
	if kind == "Service" && !services {
		return n, fmt.Errorf("%q: a Service opens no connections; name a pod or workload behind it", text)
	}
	return w.findNamed(n, types.NamespacedName{Namespace: parts[0], Name: parts[1]}, kind, services)
}

// splitKind takes NAMESPACE/KIND/NAME, and KIND/NAMESPACE/NAME where the second word is no kind.
func splitKind(parts []string) (kind string, name []string) {
	if kind, ok := kinds[strings.ToLower(parts[1])]; ok {
		return kind, []string{parts[0], parts[2]}
	}
	if kind, ok := kinds[strings.ToLower(parts[0])]; ok {
		return kind, parts[1:]
	}
	return parts[1], []string{parts[0], parts[2]} // a kind that only this cluster has
}

// findNamed takes a pod before a workload, and a workload before a Service.
func (w *World) findNamed(n Named, name types.NamespacedName, kind string, services bool) (Named, error) {
	if p := w.pod(name); p != nil && (kind == "" || kind == "Pod") {
		if completed(p) {
			return n, fmt.Errorf("%q: pod %s has completed", n.Given, name)
		}
		n.Peer.Pod = name
		return n, nil
	}
	switch found := w.named(name, kind); {
	case kind == "Service":
	case len(found) == 1:
		pod, err := w.representative(found[0])
		n.Peer.Pod, n.Workload, n.Of = pod, found[0], len(live(found[0]))
		return n, err
	case len(found) > 1:
		var choices []string
		for _, f := range found {
			choices = append(choices, name.Namespace+"/"+strings.ToLower(f.Kind)+"/"+name.Name)
		}
		return n, fmt.Errorf("%q can be several: give %s", n.Given, strings.Join(choices, " or "))
	}
	if services && (kind == "" || kind == "Service") && w.service(name) != nil {
		n.Peer.Service = name
		return n, nil
	}
	return n, fmt.Errorf("%q: no %s of that name%s", n.Given, what(kind, services), w.didYouMean(name.String(), services))
}

func what(kind string, services bool) string {
	switch {
	case kind != "":
		return kind
	case services:
		return "pod, workload or Service"
	}
	return "pod or workload"
}

// findNode takes the first address of a node, its internal ones first.
func (w *World) findNode(n Named, name string) (Named, error) {
	node := w.node(name)
	if node == nil {
		var names []string
		for _, other := range w.Objects.Nodes {
			names = append(names, "node/"+other.Name)
		}
		return n, fmt.Errorf("%q: no node of that name%s", n.Given, nearest(n.Given, names))
	}
	n.Node = name
	addresses := slices.Clone(node.Status.Addresses)
	slices.SortStableFunc(addresses, func(a, b corev1.NodeAddress) int { return cmp.Compare(rank(a), rank(b)) })
	for _, a := range addresses {
		if addr, err := netip.ParseAddr(a.Address); err == nil {
			n.Peer.Addr = addr.Unmap()
			return n, nil
		}
	}
	return n, fmt.Errorf("%q: the node has no address in status.addresses; give the address instead", n.Given)
}

func rank(a corev1.NodeAddress) int {
	if a.Type == corev1.NodeInternalIP {
		return 0
	}
	return 1
}

// didYouMean are the names nearest to what was given.
func (w *World) didYouMean(text string, services bool) string {
	var names []string
	for _, workload := range w.workloads {
		names = append(names, workload.Namespace+"/"+workload.Name)
	}
	for _, p := range w.Objects.Pods {
		if !w.madeUp[nameOf(p)] {
			names = append(names, nameOf(p).String())
		}
	}
	if services {
		for _, svc := range w.Objects.Services {
			names = append(names, nameOf(svc).String())
		}
	}
	return nearest(text, names)
}

// maxNear bounds the names that are suggested.
const maxNear = 3

// nearest are the names that differ by few letters, or only in the namespace.
func nearest(text string, names []string) string {
	slices.Sort(names)
	var near []string
	for _, name := range slices.Compact(names) {
		if _, last, _ := strings.Cut(name, "/"); last == text || strings.HasSuffix(text, "/"+last) || edits(text, name) <= 2 {
			near = append(near, name)
		}
	}
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(edits(text, a), edits(text, b)) })
	switch {
	case len(near) > 0:
		return "; did you mean " + strings.Join(near[:min(len(near), maxNear)], " or ") + "?"
	case len(names) == 0:
		return ": there are none at all"
	}
	return ""
}

// edits is how many letters must be changed, added or taken away to make b of a: Levenshtein's distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
