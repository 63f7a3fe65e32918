// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"encoding/binary"
	"fmt"
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
	// Strays are left out of Pods: their workload's selector does not select them, so they are about to be
	// replaced, or somebody took them aside. Ordered by workload and name.
	Strays    []Stray
	members   map[edge.Endpoint][]types.NamespacedName
	selectors map[edge.Endpoint]labels.Selector
	base      *netpol.Snapshot // without policies
}

// Stray is a pod whose labels are not its workload's.
type Stray struct {
	Workload edge.Endpoint
	Pod      types.NamespacedName
}

// twin is appended to a pod's name for the other pod of the same labels. It is no valid name, so
// it cannot meet a real one.
const twin = "+twin"

// Sample returns the pods that stand for the inventory's workloads.
func (inv *Inventory) Sample() *Sample {
	s := &Sample{Namespaces: inv.namespaces, members: map[edge.Endpoint][]types.NamespacedName{}, selectors: map[edge.Endpoint]labels.Selector{}}
	for _, w := range inv.Workloads() {
		if w.HostNetwork() {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(w.Selector)
		known := err == nil && w.Selector != nil
		if known {
			s.selectors[w.Endpoint()] = selector
		}
		seen := map[string]bool{}
		for _, p := range w.Pods {
			if known && !selector.Matches(labels.Set(p.Labels)) {
				s.Strays = append(s.Strays, Stray{w.Endpoint(), nameOf(p)})
				continue
			}
			s.add(w, p.Name, p.Labels, p.Spec, seen)
		}
		if len(seen) == 0 {
			s.add(w, w.Kind+"+"+w.Name, w.Template.Labels, w.Template.Spec, seen)
		}
	}
	s.base, _ = netpol.Compile(netpol.Objects{Namespaces: s.Namespaces, Pods: s.Pods}) // only policies have faults
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

// Compile compiles policies over the sample, at the cost of their namespaces alone. The error lists their
// faults.
func (s *Sample) Compile(policies []*networkingv1.NetworkPolicy) (*netpol.Snapshot, error) {
	return s.base.Apply(netpol.Change{Set: netpol.Objects{Policies: policies}})
}

// Selector is how a workload's pods are selected; nil when no policy can be written for it.
func (s *Sample) Selector(e edge.Endpoint) labels.Selector { return s.selectors[e] }

// Workloads are the ends that the sample has pods for, in order.
func (s *Sample) Workloads() []edge.Endpoint {
	return slices.SortedFunc(maps.Keys(s.members), edge.Endpoint.Compare)
}

// Pairs are the peers that stand for a connection between two ends. It is an error when a
// workload has no pod in the sample: it is unknown, or its pods have no identity.
func (s *Sample) Pairs(from, to edge.Endpoint) ([][2]netpol.Peer, error) {
	sources, _, err := s.Peers(from)
	if err != nil {
		return nil, err
	}
	destinations, twins, err := s.Peers(to)
	if err != nil {
		return nil, err
	}
	if from == to {
		destinations = twins
	}
	var pairs [][2]netpol.Peer
	for _, src := range sources {
		for _, dst := range destinations {
			pairs = append(pairs, [2]netpol.Peer{src, dst})
		}
	}
	return pairs, nil
}

// Peers are what stands for an end, and what stands for it where the end itself is at the other side: the
// twins of its pods. The error is that of Pairs.
func (s *Sample) Peers(e edge.Endpoint) (peers, twins []netpol.Peer, err error) {
	if !e.IsPod() {
		address := []netpol.Peer{{Addr: e.Addr}}
		return address, address, nil
	}
	for _, m := range s.members[e] {
		peers = append(peers, netpol.Peer{Pod: m})
		m.Name += twin
		twins = append(twins, netpol.Peer{Pod: m})
	}
	if len(peers) == 0 {
		return nil, nil, fmt.Errorf("%s is not in the inventory, or its pods are on their nodes' network", e)
	}
	return peers, twins, nil
}
