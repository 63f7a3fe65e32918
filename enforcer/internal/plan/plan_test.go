// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// decide reads the maps as the datapath does.
func (w *World) decide(ifindex uint32, d netpol.Direction, peer netip.Addr, protocol corev1.Protocol, port uint16) (allowed bool, rule int) {
	set := w.Endpoints[ifindex].Set
	class := w.classOf(peer)
	p := protocolOf(protocol)
	peers := w.Peers[PeerKey{set, class, d}]
	ports := w.Ports[PortKey{set, w.PortClasses[p][port], d, p}]
	for i := range peers {
		if common := peers[i] & ports[i]; common != 0 {
			return true, 64*i + bits.TrailingZeros64(common)
		}
	}
	return !w.Sets[set].Isolated[d], -1
}

// classOf looks an address up as the datapath does: 16 bytes, pods first, then the longest prefix.
func (w *World) classOf(addr netip.Addr) uint32 {
	if id, ok := w.Identities[addr]; ok {
		return id.Class
	}
	best, class := -1, uint32(0)
	for prefix, c := range w.CIDRs {
		length := prefix.Bits()
		if prefix.Addr().Is4() {
			length += 96
		}
		wide := netip.PrefixFrom(netip.AddrFrom16(prefix.Addr().As16()), length)
		if length > best && wide.Contains(netip.AddrFrom16(addr.As16())) {
			best, class = length, c
		}
	}
	return class
}

// ports that some policy of the corpus could treat differently from its neighbours.
var probes = []uint16{1, 52, 53, 80, 81, 443, 3000, 5353, 5432, 8080, 8081, 8443, 9090, 32000, 32768, 65535}

// TestAgreesWithEvaluator lowers every case file of the corpus, and compares every pod × every
// address × every port with the evaluator, side by side.
func TestAgreesWithEvaluator(t *testing.T) {
	files, err := corpus.Load("../../../policies/netpol/testdata/corpus")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, f := range files {
		snap, err := netpol.Compile(f.Objects)
		if err != nil && len(f.Faults) == 0 {
			t.Fatalf("%s: %v", f.Path, err)
		}
		compared += compare(t, f, snap)
	}
	if compared < 10_000 {
		t.Errorf("only %d decisions compared: the corpus has become too small for this test", compared)
	}
	t.Logf("%d decisions compared", compared)
}

func compare(t *testing.T, f *corpus.File, snap *netpol.Snapshot) (compared int) {
	t.Helper()
	var in Input
	var addrs []netip.Addr
	byIfindex := make(map[uint32]netpol.Endpoint)
	for e := range snap.Endpoints() {
		addrs = append(addrs, e.Addr)
		ifindex := uint32(len(in.Endpoints) + 1)
		in.Endpoints = append(in.Endpoints, EndpointInput{Pod: e.Pod(), Ifindex: ifindex, Mode: Enforce})
		byIfindex[ifindex] = e
	}
	for _, c := range f.Connections {
		for _, a := range []netip.Addr{c.From.Addr, c.To.Addr} {
			if a.IsValid() {
				addrs = append(addrs, a)
			}
		}
	}
	w, err := Build(snap, in)
	if err != nil {
		t.Fatalf("%s: %v", f.Path, err)
	}
	for ifindex, self := range byIfindex {
		for _, addr := range addrs {
			for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP} {
				for _, port := range probes {
					compared += comparePair(t, f, snap, w, ifindex, self, addr, protocol, port)
				}
			}
		}
	}
	return compared
}

func comparePair(t *testing.T, f *corpus.File, snap *netpol.Snapshot, w *World, ifindex uint32, self netpol.Endpoint,
	addr netip.Addr, protocol corev1.Protocol, port uint16,
) (compared int) {
	t.Helper()
	me, other := netpol.Peer{Pod: self.Pod(), Addr: self.Addr}, netpol.Peer{Addr: addr}
	for d, c := range map[netpol.Direction]netpol.Connection{
		netpol.Ingress: {From: other, To: me, Protocol: protocol, Port: port},
		netpol.Egress:  {From: me, To: other, Protocol: protocol, Port: port},
	} {
		v := snap.Evaluate(c)
		want := v.Ingress
		if d == netpol.Egress {
			want = v.Egress
		}
		// The datapath knows its own node by Identity.Node, sees no pod talk to itself, and judges
		// a Service after translation.
		if want.Reason == netpol.OwnNode || want.Reason == netpol.SamePod || v.Resolved != nil {
			continue
		}
		compared++
		allowed, rule := w.decide(ifindex, d, addr, protocol, port)
		if allowed != want.Allowed {
			t.Errorf("%s: %s of %s with %s %s/%d: maps say %v, evaluator %+v", f.Path, d, self.Pod(), addr, protocol, port, allowed, want)
			continue
		}
		got := w.Rule(w.Endpoints[ifindex].Set, d, rule)
		if (got == nil) != (want.Rule == nil) || got != nil && *got != *want.Rule {
			t.Errorf("%s: %s of %s with %s %s/%d: maps name %v, evaluator %v", f.Path, d, self.Pod(), addr, protocol, port, got, want.Rule)
		}
		if !want.Allowed && !slices.Equal(w.Isolation(w.Endpoints[ifindex].Set, d), want.By) {
			t.Errorf("%s: %s of %s: maps are isolated by %v, evaluator %v", f.Path, d, self.Pod(),
				w.Isolation(w.Endpoints[ifindex].Set, d), want.By)
		}
	}
	return compared
}

func pod(name string, labels map[string]string, ip string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: labels}}
	p.Status.PodIP = ip
	return p
}

func TestPodsOfOneKindShareASetAndAClass(t *testing.T) {
	objs := netpol.Objects{Policies: []*networkingv1.NetworkPolicy{allowFrom("api", 1)}}
	var in Input
	for i := range 50 {
		objs.Pods = append(objs.Pods, pod(fmt.Sprintf("api-%d", i), map[string]string{"app": "api"}, fmt.Sprintf("10.0.0.%d", i+1)))
		in.Endpoints = append(in.Endpoints, EndpointInput{Pod: types.NamespacedName{Namespace: "shop", Name: fmt.Sprintf("api-%d", i)}, Ifindex: uint32(i + 1)})
	}
	w := build(t, objs, in)
	if len(w.Sets) != 1 {
		t.Errorf("50 pods of one workload have %d policy sets, want 1", len(w.Sets))
	}
	classes := make(map[uint32]bool)
	for _, id := range w.Identities {
		classes[id.Class] = true
	}
	if len(classes) != 1 {
		t.Errorf("50 pods of one workload have %d classes, want 1", len(classes))
	}
}

func TestTooManyRulesIsAnErrorThatNamesThePod(t *testing.T) {
	objs := netpol.Objects{
		Pods:     []*corev1.Pod{pod("api", map[string]string{"app": "api"}, "10.0.0.1")},
		Policies: []*networkingv1.NetworkPolicy{allowFrom("api", MaxRules+1)},
	}
	snap, err := netpol.Compile(objs)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Build(snap, Input{Endpoints: []EndpointInput{{Pod: types.NamespacedName{Namespace: "shop", Name: "api"}, Ifindex: 1}}})
	if err == nil || !strings.Contains(err.Error(), "pod shop/api: Ingress has 1025 rules, more than the 1024 that fit") {
		t.Errorf("error is %v", err)
	}
}

func TestNodeAndServiceAddresses(t *testing.T) {
	node, mapped := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("::ffff:10.96.0.1")
	w := build(t, netpol.Objects{}, Input{NodeAddrs: []netip.Addr{node}, ServiceAddrs: []netip.Addr{mapped}})
	if !w.Identities[node].Node {
		t.Errorf("the node's address is %+v, want Node", w.Identities[node])
	}
	if _, ok := w.Services[netip.MustParseAddr("10.96.0.1")]; !ok {
		t.Errorf("services are %v, want the unmapped address", w.Services)
	}
}

func TestOriginsOfWhatDoesNotExist(t *testing.T) {
	w := build(t, netpol.Objects{}, Input{})
	if w.Rule(7, netpol.Egress, 0) != nil || w.Isolation(7, netpol.Egress) != nil {
		t.Error("a set that does not exist has origins")
	}
}

func build(t *testing.T, objs netpol.Objects, in Input) *World {
	t.Helper()
	snap, err := netpol.Compile(objs)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Build(snap, in)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// allowFrom is a policy of shop with rules from app=client to port 1, 2, 3 …
func allowFrom(app string, rules int) *networkingv1.NetworkPolicy {
	np := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "allow-" + app}}
	np.Spec.PodSelector.MatchLabels = map[string]string{"app": app}
	for i := range rules {
		port := intstr.FromInt(i + 1)
		np.Spec.Ingress = append(np.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{
			From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "client"}}}},
			Ports: []networkingv1.NetworkPolicyPort{{Port: &port}},
		})
	}
	return np
}

func BenchmarkBuild(b *testing.B) {
	var objs netpol.Objects
	var in Input
	for i := range 100 {
		objs.Policies = append(objs.Policies, allowFrom(fmt.Sprintf("app-%d", i), 3))
	}
	for i := range 10_000 {
		addr := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		objs.Pods = append(objs.Pods, pod(fmt.Sprintf("pod-%d", i), map[string]string{"app": fmt.Sprintf("app-%d", i%100)}, addr.String()))
		if i < 100 {
			in.Endpoints = append(in.Endpoints, EndpointInput{Pod: types.NamespacedName{Namespace: "shop", Name: fmt.Sprintf("pod-%d", i)}, Ifindex: uint32(i + 1)})
		}
	}
	snap, err := netpol.Compile(objs)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(snap, in); err != nil {
			b.Fatal(err)
		}
	}
}
