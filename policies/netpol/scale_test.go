// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// The large cluster of the benchmarks: 25,000 namespaces with three policies and four pods each.
const (
	largeNamespaces = 25_000
	podsEach        = 4
	policiesEach    = 3
)

// large makes the large cluster, or a part of it. Of the policies of a namespace one isolates all pods in
// both directions, one lets its second app reach its first, and one lets the namespace before it in and
// the first app out to a range.
func large(namespaces int) netpol.Objects {
	var objs netpol.Objects
	for n := range namespaces {
		ns := fmt.Sprintf("ns-%d", n)
		objs.Namespaces = append(objs.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: ns, Labels: map[string]string{corev1.LabelMetadataName: ns, "team": fmt.Sprintf("team-%d", n%100)},
		}})
		for i := range podsEach {
			objs.Pods = append(objs.Pods, largePod(ns, n*podsEach+i, fmt.Sprintf("app-%d", i%2)))
		}
		before := fmt.Sprintf("ns-%d", (n+namespaces-1)%namespaces)
		objs.Policies = append(objs.Policies, largePolicies(ns, before)...)
	}
	return objs
}

func largePod(ns string, i int, app string) *corev1.Pod {
	addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("%s-5d4f7c9b8-%05d", app, i), Labels: map[string]string{
			"app": app, "pod-template-hash": "5d4f7c9b8",
		}},
		Spec: corev1.PodSpec{NodeName: fmt.Sprintf("node-%d", i%1000), Containers: []corev1.Container{{
			Name: "c", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
		}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: addr, PodIPs: []corev1.PodIP{{IP: addr}}},
	}
}

func largePolicies(ns, before string) []*networkingv1.NetworkPolicy {
	app := func(name string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	}
	policy := func(name string, spec networkingv1.NetworkPolicySpec) *networkingv1.NetworkPolicy {
		return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: spec}
	}
	ports := func(numbers ...int32) (list []networkingv1.NetworkPolicyPort) {
		for _, n := range numbers {
			list = append(list, networkingv1.NetworkPolicyPort{Port: new(intstr.FromInt32(n)), Protocol: new(corev1.ProtocolTCP)})
		}
		return list
	}
	both := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	return []*networkingv1.NetworkPolicy{
		policy("default-deny", networkingv1.NetworkPolicySpec{PolicyTypes: both}),
		policy("inside", networkingv1.NetworkPolicySpec{
			PodSelector: *app("app-0"), PolicyTypes: both[:1],
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From: []networkingv1.NetworkPolicyPeer{{PodSelector: app("app-1")}}, Ports: ports(8080, 8443),
			}},
		}),
		policy("edges", networkingv1.NetworkPolicySpec{
			PodSelector: *app("app-0"), PolicyTypes: both,
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From: []networkingv1.NetworkPolicyPeer{{
					NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: before}}, PodSelector: app("app-0"),
				}}, Ports: ports(9090),
			}},
			Egress: []networkingv1.NetworkPolicyEgressRule{{
				To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.255.0.0/16"}}}}, Ports: ports(9090, 443),
			}},
		}),
	}
}

// BenchmarkCompileLarge reports the memory that a snapshot keeps, beside the time.
func BenchmarkCompileLarge(b *testing.B) {
	objs := large(largeNamespaces)
	before := heap()
	var s *netpol.Snapshot
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if s, err = netpol.Compile(objs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(heap()-before)/(1<<20), "MB-snapshot")
	b.ReportMetric(float64(before)/(1<<20), "MB-objects")
	runtime.KeepAlive(s)
	runtime.KeepAlive(objs)
}

// heap is what is in use after a collection, in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkApplyLarge changes one object of the large cluster.
func BenchmarkApplyLarge(b *testing.B) {
	s, err := netpol.Compile(large(largeNamespaces))
	if err != nil {
		b.Fatal(err)
	}
	fresh := largePolicies("ns-7", "ns-70")[2]
	cnp := &policyv1alpha2.ClusterNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "one-team"}, Spec: policyv1alpha2.ClusterNetworkPolicySpec{
		Tier: policyv1alpha2.AdminTier, Subject: policyv1alpha2.ClusterNetworkPolicySubject{Namespaces: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "team-7"}}},
		Ingress: []policyv1alpha2.ClusterNetworkPolicyIngressRule{{
			Action: policyv1alpha2.ClusterNetworkPolicyRuleActionDeny,
			From:   []policyv1alpha2.ClusterNetworkPolicyIngressPeer{{Namespaces: &metav1.LabelSelector{}}},
		}},
	}}
	all := cnp.DeepCopy()
	all.Spec.Subject.Namespaces = &metav1.LabelSelector{}
	for _, tc := range []struct {
		name   string
		change netpol.Change
	}{
		{"pod added", netpol.Change{Set: netpol.Objects{Pods: []*corev1.Pod{largePod("ns-7", 1<<23, "app-1")}}}},
		{"pod deleted", netpol.Change{Deleted: []netpol.Key{{Kind: "Pod", Namespace: "ns-7", Name: "app-0-5d4f7c9b8-00028"}}}},
		{"policy changed", netpol.Change{Set: netpol.Objects{Policies: []*networkingv1.NetworkPolicy{fresh}}}},
		{"namespace relabelled", netpol.Change{Set: netpol.Objects{Namespaces: []*corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "ns-7"}}}}}},
		{"cluster policy of 250 namespaces", netpol.Change{Set: netpol.Objects{ClusterPolicies: []*policyv1alpha2.ClusterNetworkPolicy{cnp}}}},
		{"cluster policy of all namespaces", netpol.Change{Set: netpol.Objects{ClusterPolicies: []*policyv1alpha2.ClusterNetworkPolicy{all}}}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Apply(tc.change); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkApplyCrowded changes one object of a namespace with ten thousand pods.
func BenchmarkApplyCrowded(b *testing.B) {
	objs := netpol.Objects{Policies: largePolicies("crowd", "crowd")}
	for i := range 10_000 {
		objs.Pods = append(objs.Pods, largePod("crowd", i, fmt.Sprintf("app-%d", i%100)))
	}
	s, err := netpol.Compile(objs)
	if err != nil {
		b.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change netpol.Change
	}{
		{"pod added", netpol.Change{Set: netpol.Objects{Pods: []*corev1.Pod{largePod("crowd", 1<<23, "app-1")}}}},
		{"policy changed", netpol.Change{Set: netpol.Objects{Policies: objs.Policies[2:]}}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Apply(tc.change); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEvaluateLarge(b *testing.B) {
	objs := large(largeNamespaces)
	s, err := netpol.Compile(objs)
	if err != nil {
		b.Fatal(err)
	}
	peer := func(i int) netpol.Peer {
		p := objs.Pods[i%len(objs.Pods)]
		return netpol.Peer{Pod: types.NamespacedName{Namespace: p.Namespace, Name: p.Name}}
	}
	address := func(i int) netpol.Peer {
		return netpol.Peer{Addr: netip.MustParseAddr(objs.Pods[i%len(objs.Pods)].Status.PodIP)}
	}
	connections := map[string][]netpol.Connection{}
	for i := range 4096 {
		from, to := i*97*podsEach, i*97*podsEach+podsEach // the first app of a namespace, and of the next
		connections["by name"] = append(connections["by name"], netpol.Connection{From: peer(from), To: peer(to), Port: 9090})
		connections["by address"] = append(connections["by address"], netpol.Connection{From: address(from), To: address(to), Port: 9090})
	}
	for name, list := range connections {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if v := s.Evaluate(list[i%len(list)]); !v.Allowed {
					b.Fatalf("%+v", v)
				}
				i++
			}
		})
	}
}
