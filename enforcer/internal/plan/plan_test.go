// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

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

func TestTooManyRulesAreSaidToBe(t *testing.T) {
	for _, tt := range []struct {
		name     string
		policies []*networkingv1.NetworkPolicy
		cluster  *policyv1alpha2.ClusterNetworkPolicy
		want     string // of the pod's policies; empty: they fit
	}{
		{name: "all that fit", policies: rulesFor("api", MaxRules)},
		{name: "one more", policies: rulesFor("api", MaxRules+1), want: "pod shop/api: Ingress has 1025 rules, more than the 1024 that fit"},
		{name: "Admin counts", policies: rulesFor("api", MaxRules), cluster: denyAll(policyv1alpha2.AdminTier, 2), want: "Ingress has 1026 rules"},
		{name: "Baseline is not asked", policies: rulesFor("api", MaxRules), cluster: denyAll(policyv1alpha2.BaselineTier, 2)},
		{name: "all of Baseline", cluster: denyAll(policyv1alpha2.BaselineTier, MaxRules)},
		{name: "too much of Baseline", cluster: denyAll(policyv1alpha2.BaselineTier, MaxRules+1), want: "Ingress has 1025 rules"},
	} {
		objs := netpol.Objects{Pods: []*corev1.Pod{pod("api", map[string]string{"app": "api"}, "10.0.0.1")}, Policies: tt.policies}
		if tt.cluster != nil {
			objs.ClusterPolicies = []*policyv1alpha2.ClusterNetworkPolicy{tt.cluster}
		}
		snap, _ := netpol.Compile(objs) // beyond the API's limit of rules, which is evaluated all the same
		w, err := Build(snap, Input{Endpoints: []EndpointInput{{Pod: types.NamespacedName{Namespace: "shop", Name: "api"}, Ifindex: 1}}})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if unfit := errors.Join(w.Unfit...); (unfit == nil) != (tt.want == "") || unfit != nil && !strings.Contains(unfit.Error(), tt.want) {
			t.Errorf("%s: what does not fit is %v, want %q", tt.name, unfit, tt.want)
		}
	}
}

// A pod whose policies do not fit stays under those that did, and is closed if there were none. All others go on.
func TestPodWithTooManyRules(t *testing.T) {
	few, many, others := allowFrom("api", 2), allowFrom("api", MaxRules+1), allowFrom("web", 1)
	compile := func(policies ...*networkingv1.NetworkPolicy) *netpol.Snapshot {
		objs := netpol.Objects{Policies: policies}
		for i, app := range []string{"api", "web", "db"} {
			objs.Pods = append(objs.Pods, pod(app, map[string]string{"app": app}, fmt.Sprintf("10.0.0.%d", i+1)))
		}
		snap, _ := netpol.Compile(objs)
		return snap
	}
	var in Input
	for i, name := range []string{"api", "web", "db"} {
		in.Endpoints = append(in.Endpoints, EndpointInput{Pod: types.NamespacedName{Namespace: "shop", Name: name}, Ifindex: uint32(i + 1)})
	}
	entry := func(p *Planner, w *World, ifindex uint32) SetEntry {
		return p.tables.sets[w.Endpoints[ifindex].Set-p.tables.firstSet].entry
	}
	p := NewPlanner(0)
	first := next(t, p, compile(few), in)
	second := next(t, p, compile(many, others), in)
	if len(second.Unfit) != 1 || second.Endpoints[1].Set != first.Endpoints[1].Set {
		t.Errorf("from %+v to %+v, unfit: %v", first.Endpoints[1], second.Endpoints[1], second.Unfit)
	}
	if e := entry(p, second, 2); !e.Isolated[netpol.Ingress] || e.Rules[netpol.Ingress] != 1 {
		t.Errorf("another pod's new policy: %+v", e)
	}
	p.Forget()
	third := next(t, p, compile(many), in)
	if e := entry(p, third, 1); third.Partial || e.Rules[netpol.Ingress] != 2 {
		t.Errorf("in a complete world: partial %v, %+v", third.Partial, e)
	}
	if e := entry(p, next(t, p, compile(few), in), 1); e.Rules[netpol.Ingress] != 2 || len(p.fitting) != 3 {
		t.Errorf("when they fit again: %+v", e)
	}

	for _, order := range []string{"before", "after"} { // the pods that nothing isolates
		p = NewPlanner(0)
		w := next(t, p, compile(many), in)
		if e := entry(p, w, 1); len(w.Unfit) != 1 || e.Isolated != [2]bool{true, true} || e.Rules != [2]uint16{} {
			t.Errorf("with no policies before, %s others: %+v, unfit: %v", order, e, w.Unfit)
		}
		if e := entry(p, w, 3); e.Isolated != [2]bool{} {
			t.Errorf("a pod without policies, %s: %+v", order, e)
		}
		slices.Reverse(in.Endpoints)
	}
}

func rulesFor(app string, rules int) []*networkingv1.NetworkPolicy {
	return []*networkingv1.NetworkPolicy{allowFrom(app, rules)}
}

// denyAll denies everything from everyone, over and over.
func denyAll(tier policyv1alpha2.Tier, rules int) *policyv1alpha2.ClusterNetworkPolicy {
	p := &policyv1alpha2.ClusterNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "deny"}}
	p.Spec.Tier, p.Spec.Subject.Namespaces = tier, &metav1.LabelSelector{}
	for range rules {
		p.Spec.Ingress = append(p.Spec.Ingress, policyv1alpha2.ClusterNetworkPolicyIngressRule{
			Action: policyv1alpha2.ClusterNetworkPolicyRuleActionDeny,
			From:   []policyv1alpha2.ClusterNetworkPolicyIngressPeer{{Namespaces: &metav1.LabelSelector{}}},
		})
	}
	return p
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

// Whose an address is decides who may send from it.
func TestAddressesBelongToPods(t *testing.T) {
	objs := netpol.Objects{Pods: []*corev1.Pod{
		pod("listed", nil, "10.0.0.1"), pod("moved", nil, "10.0.0.2"), pod("starting", nil, ""), pod("remote", nil, "10.0.0.4"),
		pod("taken", nil, "10.0.0.5"), pod("claims", nil, "10.9.0.1"),
	}}
	endpoint := func(name string, ifindex uint32, addrs ...string) EndpointInput {
		e := EndpointInput{Pod: types.NamespacedName{Namespace: "shop", Name: name}, Ifindex: ifindex}
		for _, a := range addrs {
			e.Addrs = append(e.Addrs, netip.MustParseAddr(a))
		}
		return e
	}
	w := build(t, objs, Input{NodeAddrs: []netip.Addr{netip.MustParseAddr("10.9.0.1")}, Endpoints: []EndpointInput{
		endpoint("listed", 1), endpoint("moved", 2, "10.0.0.22", "::ffff:10.0.0.23", "fe80::1"), endpoint("moved", 12),
		endpoint("starting", 3, "10.0.0.3", "10.0.0.5"), endpoint("taken", 5, "10.0.0.55"), endpoint("claims", 6),
	}})
	for addr, ifindex := range map[string]uint32{
		"10.0.0.1": 1, "10.0.0.22": 2, "10.0.0.23": 2, "10.0.0.2": 0, "10.0.0.3": 3, "10.0.0.4": 0, "10.0.0.5": 3, "10.0.0.55": 5, "10.9.0.1": 0,
	} {
		if id, found := w.Identities[netip.MustParseAddr(addr)]; id.Ifindex != ifindex || !found {
			t.Errorf("%s: %+v, want interface %d", addr, id, ifindex)
		}
	}
	if id, found := w.Identities[netip.MustParseAddr("fe80::1")]; found {
		t.Errorf("a link-local address is %+v", id)
	}
	for ifindex, main := range map[uint32]uint32{1: 1, 2: 2, 12: 2, 3: 3} {
		if e := w.Endpoints[ifindex]; e.Main != main {
			t.Errorf("the endpoint at interface %d is %+v, want main interface %d", ifindex, e, main)
		}
	}
}

// An address that only the node knows has the identity of its pod, before the API server says so.
func TestLocalAddressesHaveTheirPodsClass(t *testing.T) {
	objs := netpol.Objects{
		Pods:     []*corev1.Pod{pod("api", map[string]string{"app": "api"}, "10.0.0.1"), pod("client", map[string]string{"app": "client"}, "")},
		Policies: rulesFor("api", 1),
	}
	w := build(t, objs, Input{Endpoints: []EndpointInput{
		{Pod: types.NamespacedName{Namespace: "shop", Name: "api"}, Ifindex: 1},
		{Pod: types.NamespacedName{Namespace: "shop", Name: "client"}, Ifindex: 2, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}},
	}})
	if allowed, _ := w.decide(1, netpol.Ingress, netip.MustParseAddr("10.0.0.2"), corev1.ProtocolTCP, 1); !allowed {
		t.Error("the client is not let in")
	}
	if allowed, _ := w.decide(1, netpol.Ingress, netip.MustParseAddr("10.0.0.3"), corev1.ProtocolTCP, 1); allowed {
		t.Error("a stranger is let in")
	}
}

// A pod whose address is also a node's stays what it is to the rules.
func TestPodsWinOverNodes(t *testing.T) {
	objs := netpol.Objects{
		Pods:     []*corev1.Pod{pod("api", map[string]string{"app": "api"}, "10.9.0.1"), pod("client", map[string]string{"app": "client"}, "10.9.0.2")},
		Nodes:    []*corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "n"}}},
		Policies: rulesFor("api", 1),
	}
	objs.Nodes[0].Status.Addresses = []corev1.NodeAddress{{Address: "10.9.0.2"}, {Address: "10.9.0.3"}}
	in := Input{
		Endpoints: []EndpointInput{{Pod: types.NamespacedName{Namespace: "shop", Name: "api"}, Ifindex: 1}},
		NodeAddrs: []netip.Addr{netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("10.9.0.3")},
	}
	w := build(t, objs, in)
	client, node := w.Identities[in.NodeAddrs[0]], w.Identities[in.NodeAddrs[1]]
	if client.Class == node.Class || !client.Node || !node.Node {
		t.Errorf("the client's identity is %+v, the node's %+v: want two classes, and both to be let in", client, node)
	}
}

func TestGate(t *testing.T) {
	w := build(t, netpol.Objects{}, Input{Gate: true, Exempt: []uint32{1, 2}, Bridges: []uint32{2, 3}})
	if want := map[uint32]Device{1: Exempt, 2: Exempt, 3: Shared}; !w.Gate || !maps.Equal(w.Devices, want) {
		t.Errorf("gate %v with %v, want %v", w.Gate, w.Devices, want)
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
	snap, in := crowd(b, 10_000, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(snap, in); err != nil {
			b.Fatal(err)
		}
	}
}
