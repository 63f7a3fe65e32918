// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Result is how policies compare with the truth, for the next pods of each workload: those after one more rollout,
// run or replica. Only what a pod of the application's own namespaces is part of counts; DNS aside. Where a namespace
// has no policy at all, nothing was said of its pods: what is allowed between them is no excess.
type Result struct {
	True    int // edges that were exercised
	Allowed int // triples of two ends, protocol and port that are allowed, whether true or not
	Missing []string
	Excess  []string // what is allowed and not true, even unexercised: "FROM → TO TCP/80,90-99"
	excess  int      // triples
	// NoPolicy are the application's namespaces that have none.
	NoPolicy []string
	// NoDNS are workloads that cannot ask the cluster's DNS.
	NoDNS []string
}

// Recall is the part of the true edges that is allowed, of 1.
func (r Result) Recall() float64 { return 1 - ratio(len(r.Missing), r.True) }

// Precision is the part of what is allowed that is true, of 1.
func (r Result) Precision() float64 { return 1 - ratio(r.excess, r.Allowed) }

func ratio(part, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(part) / float64(of)
}

// String is the result in one line.
func (r Result) String() string {
	return fmt.Sprintf("recall %.3f (%d of %d), precision %.3f (%d of %d)",
		r.Recall(), r.True-len(r.Missing), r.True, r.Precision(), r.Allowed-r.excess, r.Allowed)
}

// Measure judges policies by the pods that they would meet next.
func (t *Trace) Measure(policies []*networkingv1.NetworkPolicy) (Result, error) {
	m := measure{trace: t, possible: map[[2]string]netpol.PortSet{}, own: map[string]bool{}, governed: map[string]bool{}}
	if err := m.compile(policies); err != nil {
		return Result{}, fmt.Errorf("measure: %w", err)
	}
	r := Result{NoPolicy: m.withoutPolicy(policies)}
	for _, e := range t.truth.Exercised {
		m.enter(e)
		if !m.own[e.From] && !m.own[e.To] {
			continue
		}
		r.True++
		if !m.allowed(e.From, e.To).Contains(e.Protocol, e.Port) {
			r.Missing = append(r.Missing, fmt.Sprintf("%s → %s %s/%d", e.From, e.To, e.Protocol, e.Port))
		}
	}
	for _, e := range t.truth.Unexercised {
		m.enter(e)
	}
	for from := range m.ends {
		for to := range m.ends {
			if m.governed[from] || m.governed[to] {
				r.add(from, to, m.allowed(from, to), m.possible[[2]string{from, to}])
			}
		}
	}
	r.NoDNS = m.withoutDNS()
	slices.Sort(r.Missing)
	slices.Sort(r.Excess)
	return r, nil
}

func (r *Result) add(from, to string, allowed, possible netpol.PortSet) {
	excess := allowed.Subtract(possible)
	r.Allowed += size(allowed)
	r.excess += size(excess)
	if !excess.Empty() {
		r.Excess = append(r.Excess, fmt.Sprintf("%s → %s %s", from, to, excess))
	}
}

// size counts protocols without ports as one port.
func size(s netpol.PortSet) (n int) {
	for _, r := range s.Ranges() {
		n += int(r.To) - int(r.From) + 1
	}
	if s.Other() {
		n++
	}
	return n
}

// measure is the state of one Measure.
type measure struct {
	trace    *Trace
	snapshot *netpol.Snapshot
	ends     map[string][2]netpol.Endpoint // a workload's next two pods; an address, twice
	own      map[string]bool               // workloads of the application's namespaces
	governed map[string]bool               // those of them whose namespaces have policies
	possible map[[2]string]netpol.PortSet  // by both ends
}

func (m *measure) enter(e Edge) {
	k := [2]string{e.From, e.To}
	m.possible[k] = m.possible[k].Union(netpol.Ports(netpol.PortRange{Protocol: e.Protocol, From: e.Port, To: e.Port}))
}

// allowed is what may pass from one end's pod to the other's: another pod, if they are of one workload.
func (m *measure) allowed(from, to string) netpol.PortSet {
	all := m.snapshot.Allowed(m.ends[from][0], m.ends[to][1])
	if to == m.dns().String() {
		return all.Subtract(m.questions())
	}
	return all
}

func (m *measure) dns() *workload {
	w, _ := m.trace.cluster.app.workload(dnsWorkload) // the system has it
	return w
}

func (m *measure) questions() netpol.PortSet {
	p := m.trace.cluster.DNSPort
	return netpol.Ports(netpol.PortRange{Protocol: corev1.ProtocolUDP, From: p, To: p}, netpol.PortRange{Protocol: corev1.ProtocolTCP, From: p, To: p})
}

func (m *measure) withoutDNS() (words []string) {
	server := m.ends[m.dns().String()][1]
	for _, word := range sortedKeys(m.governed) {
		if m.governed[word] && !m.questions().Subtract(m.snapshot.Allowed(m.ends[word][0], server)).Empty() {
			words = append(words, word)
		}
	}
	return words
}

// withoutPolicy are the application's namespaces with a workload and without a policy.
func (m *measure) withoutPolicy(policies []*networkingv1.NetworkPolicy) (names []string) {
	for _, w := range m.trace.cluster.app.workloads {
		if !w.isSystem() && !w.hostNetwork() && !hasPolicy(policies, w.namespace) {
			names = append(names, w.namespace)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func hasPolicy(policies []*networkingv1.NetworkPolicy, namespace string) bool {
	return slices.ContainsFunc(policies, func(p *networkingv1.NetworkPolicy) bool { return p.Namespace == namespace })
}

func (m *measure) compile(policies []*networkingv1.NetworkPolicy) (err error) {
	c := m.trace.cluster
	objects := netpol.Objects{Namespaces: c.app.namespaces, Policies: policies}
	for _, n := range c.nodes {
		objects.Nodes = append(objects.Nodes, n.object())
	}
	names := map[string][2]types.NamespacedName{}
	for _, w := range c.app.workloads {
		if w.hostNetwork() {
			continue
		}
		var pair [2]types.NamespacedName
		for i := range pair {
			p := w.next(i, c.address(240, 0, byte(len(objects.Pods)>>8), byte(len(objects.Pods)))) // used by no network
			objects.Pods = append(objects.Pods, p)
			pair[i] = types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
		}
		names[w.String()] = pair
		m.own[w.String()] = !w.isSystem()
		m.governed[w.String()] = !w.isSystem() && hasPolicy(policies, w.namespace)
	}
	if m.snapshot, err = netpol.Compile(objects); err != nil {
		return err
	}
	m.ends = map[string][2]netpol.Endpoint{}
	for word, pair := range names {
		m.ends[word] = [2]netpol.Endpoint{m.snapshot.Endpoint(pair[0]), m.snapshot.Endpoint(pair[1])}
	}
	for _, a := range m.trace.addresses() {
		e := m.snapshot.EndpointAt(a)
		m.ends[a.String()] = [2]netpol.Endpoint{e, e}
	}
	return nil
}

// next is a pod that the workload may get, on no node that is known.
func (w *workload) next(index int, addr netip.Addr) *corev1.Pod {
	revision := suffix(Options{}.stream("next", w.String()), 10)
	name := fmt.Sprintf("%s-%d", w.name, w.replicas+index)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: w.labels(name, revision)},
		Spec:       w.template.Spec,
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: addr.String(),
		},
	}
}

// addresses are those that policies might allow: of nodes, Services and everything outside that was seen or is in the
// truth, and the neighbours of each.
func (t *Trace) addresses() (all []netip.Addr) {
	c := t.cluster
	for _, n := range c.nodes {
		all = append(all, n.addr, n.addr.Next(), n.inner)
	}
	for _, s := range c.app.services {
		if s.addr.IsValid() {
			all = append(all, s.addr)
		}
	}
	for _, x := range c.app.externals {
		for _, a := range x.Addresses {
			all = append(all, a, a.Next(), a.Prev())
		}
	}
	for i := range t.sights {
		if from := t.sights[i].from; from.node == nil {
			all = append(all, from.addr)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}
