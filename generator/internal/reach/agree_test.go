// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// truth answers by Evaluate, pod by pod and address by address. The nil truth is that nothing may pass.
type truth struct {
	snapshot *netpol.Snapshot
	members  map[string][]someone // of workloads and witnesses, by their words
}

// someone is a pod, or an address.
type someone struct {
	pod     *corev1.Pod
	addr    netip.Addr
	witness bool
}

// newTruth has all pods of the input, and the witnesses as pods. Each is there twice: the other one is
// to talk to.
func newTruth(t *testing.T, in Input, witnesses []*witness) *truth {
	t.Helper()
	tr := &truth{members: map[string][]someone{}}
	objects := in.Objects
	add := func(end string, p *corev1.Pod, witness bool) {
		other := p.DeepCopy()
		other.Name += "-other"
		objects.Pods = append(objects.Pods, p, other)
		tr.members[end] = append(tr.members[end], someone{pod: p, witness: witness})
	}
	exists := map[string]labels.Set{}
	for _, p := range objects.Policies {
		exists[p.Namespace] = labels.Set{}
	}
	for _, w := range in.Workloads {
		exists[w.Namespace] = labels.Set{}
		for _, p := range w.Pods {
			add(End{Kind: w.Kind, Namespace: w.Namespace, Name: w.Name}.String(), p, false)
		}
	}
	for _, n := range objects.Namespaces {
		exists[n.Name] = n.Labels
	}
	for i, w := range witnesses {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: fmt.Sprint("witness-", i), Labels: w.pod}}
		if w.namespace == "" {
			p.Namespace = fmt.Sprint("space-", i)
		}
		space, ok := exists[p.Namespace]
		if !ok {
			objects.Namespaces = append(objects.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.Namespace, Labels: w.space}})
		}
		space = labels.Merge(space, labels.Set{corev1.LabelMetadataName: w.namespace})
		if !ok || w.peer == nil || w.peer.Namespaces == nil || w.peer.Namespaces.Matches(space) {
			add(w.end.String(), p, true)
		}
	}
	var err error
	if tr.snapshot, err = netpol.Compile(objects); err != nil {
		t.Fatal(err)
	}
	return tr
}

// of are the members of an end, or the address that stands for one that is no pods.
func (tr *truth) of(end string, addr netip.Addr) []someone {
	if addr.IsValid() {
		return []someone{{addr: addr}}
	}
	return tr.members[end]
}

func (tr *truth) allowed(from, to []someone, protocol corev1.Protocol, port uint16) bool {
	for _, p := range from {
		for _, q := range to {
			if tr.isAsked(p, q) && tr.may(p, q, protocol, port) {
				return true
			}
		}
	}
	return false
}

// isAsked leaves out what no policy decides, and pods that do not exist yet with ends that are no pods.
func (tr *truth) isAsked(p, q someone) bool {
	isPod := func(s someone) bool { return s.pod != nil && !s.pod.Spec.HostNetwork }
	return isPod(p) && isPod(q) || isPod(p) && !p.witness || isPod(q) && !q.witness
}

// may asks for each pair of addresses of one family that the two have.
func (tr *truth) may(p, q someone, protocol corev1.Protocol, port uint16) bool {
	for _, from := range p.peers("") {
		for _, to := range q.peers("-other") {
			if from.Addr.IsValid() && to.Addr.IsValid() && from.Addr.Is4() != to.Addr.Is4() {
				continue
			}
			if tr.snapshot.Evaluate(netpol.Connection{From: from, To: to, Protocol: protocol, Port: port}).Allowed {
				return true
			}
		}
	}
	return false
}

func (s someone) peers(suffix string) (all []netpol.Peer) {
	if s.pod == nil {
		return []netpol.Peer{{Addr: s.addr}}
	}
	name := types.NamespacedName{Namespace: s.pod.Namespace, Name: s.pod.Name + suffix}
	for _, addr := range addresses(s.pod) {
		all = append(all, netpol.Peer{Pod: name, Addr: addr})
	}
	if all == nil {
		all = []netpol.Peer{{Pod: name}}
	}
	return all
}

// edges are the first and the last address of each range, but those that pods have.
func (s *scope) edges(clusters ...*Cluster) (all []netip.Addr) {
	for _, p := range s.division {
		last := p.Addr().AsSlice()
		for i := p.Bits(); i < len(last)*8; i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		end, _ := netip.AddrFromSlice(last)
		for _, addr := range []netip.Addr{p.Addr(), end} {
			free := true
			for _, c := range clusters {
				free = free && !c.owned[addr]
			}
			if free {
				all = append(all, addr)
			}
		}
	}
	return all
}

// judge compares changes with the truth on both sides.
type judge struct {
	*testing.T
	seed     uint64
	changes  []Change
	old, new *truth
	differ   bool // something is not what it was
}

var samples = []netpol.PortRange{
	{Protocol: "TCP", From: 1},
	{Protocol: "TCP", From: 80},
	{Protocol: "TCP", From: 81},
	{Protocol: "TCP", From: 1000},
	{Protocol: "TCP", From: 1500},
	{Protocol: "TCP", From: 2000},
	{Protocol: "TCP", From: 2001},
	{Protocol: "UDP", From: 80},
	{Protocol: "UDP", From: 1500},
	{Protocol: "SCTP", From: 80},
	{Protocol: "ICMP"},
}

// pair judges one pair of ends, of which one may be an address. A pod that does not exist yet need not be
// listed if the same change is, with the same workload and another pod.
func (j *judge) pair(from, to string, fromAddr, toAddr netip.Addr, isWitness bool) {
	change := j.find(from, to, fromAddr, toAddr)
	for _, s := range samples {
		before := j.old != nil && j.old.allowed(j.old.of(from, fromAddr), j.old.of(to, toAddr), s.Protocol, s.From)
		after := j.new.allowed(j.new.of(from, fromAddr), j.new.of(to, toAddr), s.Protocol, s.From)
		j.differ = j.differ || before != after
		if change == nil && isWitness {
			if before != after && !j.isSaid(from, to, s, after) {
				j.Fatalf("seed %d: %s -> %s %v: %t, then %t, which no change says", j.seed, from, to, s, before, after)
			}
			continue
		}
		var c Change
		if change != nil {
			c = *change
		}
		added, removed := c.Added(), c.Removed()
		if added.Contains(s.Protocol, s.From) != (after && !before) || removed.Contains(s.Protocol, s.From) != (before && !after) {
			j.Fatalf("seed %d: %s%v -> %s%v %v: %t, then %t; the change is %s to %s", j.seed, from, fromAddr, to, toAddr, s, before, after, c.Old, c.New)
		}
	}
}

func (j *judge) find(from, to string, fromAddr, toAddr netip.Addr) *Change {
	for i := range j.changes {
		if c := &j.changes[i]; isEnd(c.From, from, fromAddr) && isEnd(c.To, to, toAddr) {
			return c
		}
	}
	return nil
}

func isEnd(e End, text string, addr netip.Addr) bool {
	if e.Outside == nil {
		return e.String() == text
	}
	for _, p := range e.Outside.Prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// isSaid says whether the change is listed for another pod.
func (j *judge) isSaid(from, to string, s netpol.PortRange, added bool) bool {
	for i := range j.changes {
		c := &j.changes[i]
		if c.From.Outside != nil || c.To.Outside != nil || c.From.String() != from && c.To.String() != to {
			continue
		}
		if ports := c.Removed(); added {
			ports = c.Added()
			if ports.Contains(s.Protocol, s.From) {
				return true
			}
		} else if ports.Contains(s.Protocol, s.From) {
			return true
		}
	}
	return false
}

func (j *judge) all(s *scope, clusters ...*Cluster) {
	none := netip.Addr{}
	for _, w := range s.workloads {
		for _, o := range s.workloads {
			j.pair(w.String(), o.String(), none, none, false)
		}
		for _, addr := range s.edges(clusters...) {
			j.pair(w.String(), "", none, addr, false)
			j.pair("", w.String(), addr, none, false)
		}
		for _, o := range s.witnesses {
			j.pair(w.String(), o.end.String(), none, none, true)
			j.pair(o.end.String(), w.String(), none, none, true)
		}
	}
}

// TestAgreesWithEvaluate: on random clusters, Find lists what Evaluate allows, Diff lists what Evaluate judges in
// another way than before, and neither lists anything else. It lists nothing exactly when nothing differs.
func TestAgreesWithEvaluate(t *testing.T) {
	same, different := 0, 0
	for seed := range uint64(1000) {
		r := random{rand.New(rand.NewPCG(seed, 3))}
		before := r.input()
		after := r.changed(before)
		old, new := compiled(t, before), compiled(t, after)

		m, err := Find(new, true)
		if err != nil {
			t.Fatal(err)
		}
		s := scoped(t, new)
		found := judge{T: t, seed: seed, new: newTruth(t, after, s.witnesses)}
		for _, l := range m.Lines {
			found.changes = append(found.changes, Change{From: l.From, To: l.To, New: l.Ports})
		}
		found.all(s, new)

		changes, err := Diff(old, new)
		if err != nil {
			t.Fatal(err)
		}
		s = scoped(t, old, new)
		compared := judge{T: t, seed: seed, changes: changes, old: newTruth(t, before, s.witnesses), new: newTruth(t, after, s.witnesses)}
		compared.all(s, old, new)
		if compared.differ != (changes != nil) {
			t.Fatalf("seed %d: %d changes, and Evaluate differs: %t", seed, len(changes), compared.differ)
		}
		if changes == nil {
			same++
		} else {
			different++
		}
		for _, c := range changes {
			if len(c.Causes) == 0 && len(c.Appeared)+len(c.Gone) == 0 {
				t.Fatalf("seed %d: %s -> %s: nobody is named", seed, c.From, c.To)
			}
		}
	}
	if same < 100 || different < 100 {
		t.Errorf("%d pairs of clusters are the same, %d differ; want at least 100 of each", same, different)
	}
}

func compiled(t *testing.T, in Input) *Cluster {
	t.Helper()
	c, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func scoped(t *testing.T, clusters ...*Cluster) *scope {
	t.Helper()
	s, err := newScope(true, clusters...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
