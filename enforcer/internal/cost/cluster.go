// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

const (
	// namespace is that of the two pods which talk, and of all policies.
	namespace = "shop"
	// Ports that the last policy lets the two pods talk at.
	firstPort, lastPort = 900, 910
	// localPods are how many pods a kubelet runs by default.
	localPods = 110
	// others are the teams' namespaces, applications the kinds of pods in them.
	others, applications = 20, 100
)

// The pods that talk, by index.
const (
	client   = 0
	server   = 1
	stranger = 5 // whom no rule names at port 80
)

// friend is one of the pods that the last policy lets the two talk with, of so many: each i another one, in turn.
func friend(i, pods int) int { return 4 + 3*(i%((pods-2)/3)) }

// addr of a pod by index; there are up to 2^21 in each family.
func addr(i int, family string) netip.Addr {
	i += 256
	if family == "IPv6" {
		return netip.AddrFrom16([16]byte{0xfd, 0x64, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
	}
	return netip.AddrFrom4([4]byte{10, 64 + byte(i>>16), byte(i >> 8), byte(i)})
}

// outside is a range of each family that the last policy lets the two pods talk with, too.
var outside = map[string]netip.Prefix{"IPv4": netip.MustParsePrefix("172.31.0.0/16"), "IPv6": netip.MustParsePrefix("fd31::/112")}

// outsider is one of the 65,536 addresses there.
func outsider(i int, family string) netip.Addr {
	b := outside[family].Addr().AsSlice()
	b[len(b)-2], b[len(b)-1] = byte(i>>8), byte(i)
	a, _ := netip.AddrFromSlice(b)
	return a
}

// newCluster has the two pods, pods of teams, and policies that all select the two.
func newCluster(pods, policies int) netpol.Objects {
	var objects netpol.Objects
	objects.Namespaces = append(objects.Namespaces, newNamespace(namespace))
	for i := range others {
		objects.Namespaces = append(objects.Namespaces, newNamespace(team(i)))
	}
	for i := range pods {
		objects.Pods = append(objects.Pods, newPod(i))
	}
	for i := range policies - 1 {
		objects.Policies = append(objects.Policies, newPolicy(i))
	}
	objects.Policies = append(objects.Policies, lastPolicy())
	return objects
}

func team(i int) string        { return fmt.Sprintf("team-%d", i%others) }
func application(i int) string { return fmt.Sprintf("app-%d", i%applications) }

func newNamespace(name string) *corev1.Namespace {
	labels := map[string]string{"kubernetes.io/metadata.name": name, "owner": name}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

func podName(i int) types.NamespacedName {
	if i == client || i == server {
		return types.NamespacedName{Namespace: namespace, Name: fmt.Sprintf("web-%d", i)}
	}
	return types.NamespacedName{Namespace: team(i), Name: fmt.Sprintf("%s-%d", application(i), i)}
}

func newPod(i int) *corev1.Pod {
	name := podName(i)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	p.Labels = map[string]string{"app": application(i), "pod-template-hash": fmt.Sprintf("%08x", i/7), "version": fmt.Sprintf("v%d", i%3)}
	if name.Namespace == namespace {
		p.Labels["app"] = "web"
	}
	p.Status.PodIPs = []corev1.PodIP{{IP: addr(i, "IPv4").String()}, {IP: addr(i, "IPv6").String()}}
	p.Status.PodIP = p.Status.PodIPs[0].IP
	return p
}

// newPolicy lets the two pods talk with an application of a team; every tenth is about a range.
func newPolicy(i int) *networkingv1.NetworkPolicy {
	peer := networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"owner": team(i)}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"app": application(i)}},
	}
	if i%10 == 9 {
		peer = networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: fmt.Sprintf("172.%d.%d.0/24", 16+i>>8, i&255)}}
	}
	return policy(fmt.Sprintf("allow-%04d", i), 10_000+i, 0, peer)
}

// lastPolicy decides: its name sorts last. The two pods may talk with each other, with a third of all pods, and with
// what is outside.
func lastPolicy() *networkingv1.NetworkPolicy {
	peers := []networkingv1.NetworkPolicyPeer{
		{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
		{NamespaceSelector: &metav1.LabelSelector{}, PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"version": "v1"}}},
	}
	for _, r := range outside {
		peers = append(peers, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: r.String()}})
	}
	return policy("web", firstPort, lastPort, peers...)
}

// policy has one rule in each direction: TCP and UDP at the ports, of which to may be 0 for one port alone.
func policy(name string, port, to int, peers ...networkingv1.NetworkPolicyPeer) *networkingv1.NetworkPolicy {
	var ports []networkingv1.NetworkPolicyPort
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
		p := networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: new(intstr.FromInt(port))}
		if to > 0 {
			p.EndPort = new(int32(to))
		}
		ports = append(ports, p)
	}
	np := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	np.Spec.PodSelector.MatchLabels = map[string]string{"app": "web"}
	np.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	np.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: peers, Ports: ports}}
	np.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{To: peers, Ports: ports}}
	return np
}

// input is a node that enforces and has the first pods. Those that talk have these interfaces; the others have ones that
// do not exist.
func input(pods int, interfaces [2]uint32) plan.Input {
	in := plan.Input{Gate: true}
	for i := range min(pods, localPods) {
		e := plan.EndpointInput{Pod: podName(i), Ifindex: uint32(1000 + i), Mode: plan.Enforce}
		if i <= server {
			e.Ifindex = interfaces[i]
		}
		in.Endpoints = append(in.Endpoints, e)
	}
	return in
}
