// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// world is a cluster with everybody in it who is asked about.
type world struct {
	snapshot *netpol.Snapshot
	ends     [][]*point // by the numbers of the scope; nil: there is no such end here
	rules    *rules
}

// point stands for pods or addresses that all rules treat alike.
type point struct {
	// source and destination differ where they are pods: in connections of pods that are alike, one of
	// them is not the other.
	source, destination     netpol.Endpoint
	asSource, asDestination netpol.Peer // the same for Evaluate
	identity                bool        // it is a pod, and not on the host network
	isWitness               bool        // it does not exist yet
	sides                   [2]side     // by netpol.Direction; of a point with identity
	matches                 bits        // by the numbers of the rules' peers
	ports                   string      // the same for points whose named ports are the same
}

// twin is appended to a pod's name for the other pod that is like it.
const twin = "+twin"

// world puts the scope's ends into the cluster.
func (c *Cluster) world(s *scope) (*world, error) {
	b := &worldBuilder{Cluster: c, scope: s, ends: make([][]standing, s.size())}
	b.addWorkloads()
	for i, addr := range s.cells {
		b.ends[s.firstCell()+i] = []standing{{addr: addr}}
	}
	for i, w := range s.witnesses {
		p, n := c.witnessPod(i, w)
		if n != nil {
			b.objects.Namespaces = append(b.objects.Namespaces, n)
		}
		b.addPod(s.firstWitness()+i, p, netip.Addr{})
	}
	snapshot, err := c.snapshot.Apply(netpol.Change{Set: b.objects})
	if err != nil {
		return nil, err
	}
	w := &world{snapshot: snapshot, ends: make([][]*point, len(b.ends)), rules: newRules()}
	for i, standings := range b.ends {
		for _, st := range standings {
			w.ends[i] = append(w.ends[i], w.point(st))
		}
	}
	w.settleWitnesses(s)
	w.rules.match(w.ends)
	return w, nil
}

// standing is a pod by name, or an address, that stands for an end. The zero standing is an address
// that is not known.
type standing struct {
	pod  types.NamespacedName
	addr netip.Addr
}

type worldBuilder struct {
	*Cluster
	*scope
	objects netpol.Objects
	ends    [][]standing
}

func (b *worldBuilder) addWorkloads() {
	for _, m := range b.members {
		i, _ := slices.BinarySearchFunc(b.scope.workloads, m.end, End.Compare)
		for _, v := range m.variants {
			firsts := b.division.firstOfCells(v.addrs)
			if len(firsts) == 0 {
				b.addPod(i, v.pod, netip.Addr{})
			}
			for _, addr := range firsts {
				b.addPod(i, v.pod, addr)
			}
		}
		for _, addr := range b.division.firstOfCells(m.nodes) {
			b.ends[i] = append(b.ends[i], standing{addr: addr})
		}
		if m.onNode && len(m.nodes) == 0 {
			b.ends[i] = append(b.ends[i], standing{})
		}
	}
}

// addPod adds a pod and its twin, both at the address: who has it does not matter, because they are asked about
// by name.
func (b *worldBuilder) addPod(end int, like *corev1.Pod, addr netip.Addr) {
	name := like.Name
	if addr.IsValid() {
		name += "+" + addr.String()
	}
	for _, n := range []string{name, name + twin} {
		p := like.DeepCopy()
		p.Name = n
		if addr.IsValid() {
			p.Status.PodIP = addr.String()
		}
		b.objects.Pods = append(b.objects.Pods, p)
	}
	b.ends[end] = append(b.ends[end], standing{types.NamespacedName{Namespace: like.Namespace, Name: name}, addr})
}

// witnessPod is a witness, given by its place, as a pod, and the namespace that it needs; nil: that is there.
func (c *Cluster) witnessPod(i int, w *witness) (*corev1.Pod, *corev1.Namespace) {
	name := w.namespace
	if name == "" {
		name = fmt.Sprintf("+%d", i)
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: fmt.Sprintf("+%d", i), Labels: w.pod}}
	if c.namespaces[name] {
		return p, nil
	}
	return p, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: w.space}}
}

func (w *world) point(st standing) *point {
	if st.pod.Name == "" {
		e := netpol.Endpoint{}
		if st.addr.IsValid() {
			if e = w.snapshot.EndpointAt(st.addr); e.Pod().Name != "" {
				e = netpol.Endpoint{Addr: st.addr} // a pod on the host network is not who else claims its address
			}
		}
		peer := netpol.Peer{Addr: st.addr}
		return &point{source: e, destination: e, asSource: peer, asDestination: peer}
	}
	other := st.pod
	other.Name += twin
	p := &point{source: w.snapshot.Endpoint(st.pod), destination: w.snapshot.Endpoint(other), identity: true}
	p.asSource, p.asDestination = netpol.Peer{Pod: st.pod}, netpol.Peer{Pod: other}
	for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
		set := w.snapshot.RuleSet(st.pod, d)
		p.sides[d] = w.rules.side(&set)
	}
	return p
}

// settleWitnesses leaves out pods that cannot come to be: their selector contradicts itself, or the namespace that
// they need has other labels.
func (w *world) settleWitnesses(s *scope) {
	for i, wit := range s.witnesses {
		at := s.firstWitness() + i
		p := w.ends[at][0]
		p.isWitness = true
		if wit.peer != nil && !wit.peer.Matches(p.source) {
			w.ends[at] = nil
		}
	}
}
