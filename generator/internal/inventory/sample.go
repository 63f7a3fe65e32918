// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Sample stands in for the cluster when policies are judged: for each workload one pod for every
// set of labels that its pods differ in, and a twin of each, because a workload that talks
// to itself talks to another pod.
type Sample struct {
	Namespaces []*corev1.Namespace
	Pods       []*corev1.Pod
	members    map[edge.Endpoint][]types.NamespacedName
}

// twin is appended to a pod's name for the other pod of the same labels. It is no valid name, so
// it cannot meet a real one.
const twin = "+twin"

// Sample returns the pods that stand for the inventory's workloads.
func (inv *Inventory) Sample() *Sample {
	s := &Sample{Namespaces: inv.namespaces, members: map[edge.Endpoint][]types.NamespacedName{}}
	for _, w := range inv.Workloads() {
		if w.HostNetwork() {
			continue
		}
		seen := map[string]bool{}
		for _, p := range w.Pods {
			s.add(w, p.Name, p.Labels, p.Spec, seen)
		}
		if len(w.Pods) == 0 {
			s.add(w, w.Kind+"+"+w.Name, w.Template.Labels, w.Template.Spec, seen)
		}
	}
	return s
}

func (s *Sample) add(w *Workload, name string, podLabels map[string]string, spec corev1.PodSpec, seen map[string]bool) {
	key := labels.FormatLabels(StableLabels(podLabels))
	if seen[key] {
		return
	}
	seen[key] = true
	for _, n := range []string{name, name + twin} {
		s.Pods = append(s.Pods, s.pod(w.Namespace, n, podLabels, spec))
	}
	s.members[w.Endpoint()] = append(s.members[w.Endpoint()], types.NamespacedName{Namespace: w.Namespace, Name: name})
}

// pod has addresses of both families from ranges that are not in use on any network (240.0.0.0/4
// and 0100::/64), so that no ipBlock meant for something else matches it.
func (s *Sample) pod(namespace, name string, podLabels map[string]string, spec corev1.PodSpec) *corev1.Pod {
	n := uint32(len(s.Pods) + 1)
	v4, v6 := [4]byte{}, [16]byte{0x01}
	binary.BigEndian.PutUint32(v4[:], 240<<24|n)
	binary.BigEndian.PutUint32(v6[12:], n)
	a4, a6 := netip.AddrFrom4(v4).String(), netip.AddrFrom16(v6).String()
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: maps.Clone(podLabels)},
		Spec:       corev1.PodSpec{Containers: spec.Containers, InitContainers: spec.InitContainers},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: a4, PodIPs: []corev1.PodIP{{IP: a4}, {IP: a6}}},
	}
}

// Compile compiles policies over the sample. The error lists their faults.
func (s *Sample) Compile(policies []*networkingv1.NetworkPolicy) (*netpol.Snapshot, error) {
	return netpol.Compile(netpol.Objects{Namespaces: s.Namespaces, Pods: s.Pods, Policies: policies})
}

// Only is the part of the sample that these ends need.
func (s *Sample) Only(ends iter.Seq[edge.Endpoint]) *Sample {
	part := &Sample{Namespaces: s.Namespaces, members: map[edge.Endpoint][]types.NamespacedName{}}
	wanted := map[types.NamespacedName]bool{}
	for e := range ends {
		part.members[e] = s.members[e]
		for _, m := range s.members[e] {
			wanted[m] = true
			wanted[types.NamespacedName{Namespace: m.Namespace, Name: m.Name + twin}] = true
		}
	}
	for _, p := range s.Pods {
		if wanted[nameOf(p)] {
			part.Pods = append(part.Pods, p)
		}
	}
	return part
}

// Workloads are the ends that the sample has pods for, in order.
func (s *Sample) Workloads() []edge.Endpoint {
	return slices.SortedFunc(maps.Keys(s.members), edge.Endpoint.Compare)
}

// Pairs are the peers that stand for a connection between two ends. It is an error when a
// workload has no pod in the sample: it is unknown, or its pods have no identity.
func (s *Sample) Pairs(from, to edge.Endpoint) ([][2]netpol.Peer, error) {
	sources, err := s.peers(from, "")
	if err != nil {
		return nil, err
	}
	suffix := ""
	if from == to {
		suffix = twin
	}
	destinations, err := s.peers(to, suffix)
	if err != nil {
		return nil, err
	}
	var pairs [][2]netpol.Peer
	for _, src := range sources {
		for _, dst := range destinations {
			pairs = append(pairs, [2]netpol.Peer{src, dst})
		}
	}
	return pairs, nil
}

func (s *Sample) peers(e edge.Endpoint, suffix string) ([]netpol.Peer, error) {
	if !e.IsPod() {
		return []netpol.Peer{{Addr: e.Addr}}, nil
	}
	var peers []netpol.Peer
	for _, m := range s.members[e] {
		m.Name += suffix
		peers = append(peers, netpol.Peer{Pod: m})
	}
	if len(peers) == 0 {
		return nil, fmt.Errorf("%s is not in the inventory, or its pods are on their nodes' network", e)
	}
	return peers, nil
}
