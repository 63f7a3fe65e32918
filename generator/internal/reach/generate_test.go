// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"fmt"
	"maps"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// random makes small clusters of few words, so that what it makes meets.
type random struct{ *rand.Rand }

func pick[T any](r random, all ...T) T { return all[r.IntN(len(all))] }

func several[T any](r random, least, most int, one func() T) (all []T) {
	for range least + r.IntN(most-least+1) {
		all = append(all, one())
	}
	return all
}

var spaces = []string{"red", "blue"}

func (r random) labels() map[string]string {
	return pick(r, map[string]string{"app": "a"}, map[string]string{"app": "b"}, map[string]string{"app": "a", "tier": "x"}, nil)
}

func (r random) input() (in Input) {
	for i := range r.IntN(3) {
		in.Objects.Namespaces = append(in.Objects.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: spaces[i%2], Labels: pick(r, map[string]string{"team": "t"}, nil)}})
		if i == 1 {
			break
		}
	}
	for i := range 1 + r.IntN(4) {
		in.Workloads = append(in.Workloads, r.workload(fmt.Sprint("w", i), i))
	}
	for i := range r.IntN(5) {
		in.Objects.Policies = append(in.Objects.Policies, r.policy(fmt.Sprint("p", i)))
	}
	for i := range r.IntN(3) / 2 {
		in.Objects.ClusterPolicies = append(in.Objects.ClusterPolicies, r.clusterPolicy(fmt.Sprint("c", i)))
	}
	if r.IntN(3) == 0 {
		in.Objects.Nodes = []*corev1.Node{{
			ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"app": "a"}},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.1.0.9"}}},
		}}
	}
	return in
}

func (r random) workload(name string, index int) Workload {
	w := Workload{Kind: "Deployment", Namespace: spaces[index%2], Name: name}
	set, known := r.labels(), r.IntN(2) == 0
	for i := range 1 + r.IntN(2) {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: fmt.Sprint(name, "-", i), Labels: set}}
		p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: pick[int32](r, 80, 1500)}}}}
		if r.IntN(6) == 0 {
			p.Labels = maps.Clone(set)
			metav1.SetMetaDataLabel(&p.ObjectMeta, "tier", "canary")
		}
		if known {
			p.Status.PodIP = fmt.Sprintf("10.%d.0.%d", r.IntN(2), 1+index*2+i)
		}
		if p.Status.PodIP != "" && r.IntN(3) == 0 {
			p.Status.PodIPs = []corev1.PodIP{{IP: p.Status.PodIP}, {IP: fmt.Sprintf("fd00::%d", 1+index*2+i)}}
		}
		p.Spec.HostNetwork = p.Status.PodIP != "" && r.IntN(6) == 0
		w.Pods = append(w.Pods, p)
	}
	return w
}

func (r random) selector() metav1.LabelSelector {
	expression := func(key string, o metav1.LabelSelectorOperator, values ...string) metav1.LabelSelector {
		return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: o, Values: values}}}
	}
	return pick(r, metav1.LabelSelector{}, metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}},
		metav1.LabelSelector{MatchLabels: map[string]string{"app": "c"}}, expression("app", metav1.LabelSelectorOpIn, "b", "c"),
		expression("tier", metav1.LabelSelectorOpExists), expression("tier", metav1.LabelSelectorOpNotIn, "x"),
		expression("app", metav1.LabelSelectorOpDoesNotExist))
}

func (r random) spaceSelector() metav1.LabelSelector {
	return pick(r, metav1.LabelSelector{}, metav1.LabelSelector{MatchLabels: map[string]string{"team": "t"}},
		metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "red"}},
		metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpIn, Values: []string{"blue", "new"}}}})
}

func (r random) block() string {
	return pick(r, "0.0.0.0/0", "::/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.0.4/31", "fd00::/8")
}

func (r random) peer() (p networkingv1.NetworkPolicyPeer) {
	pods, spaces := r.selector(), r.spaceSelector()
	switch r.IntN(4) {
	case 0:
		p.PodSelector = &pods
	case 1:
		p.NamespaceSelector = &spaces
	case 2:
		p.PodSelector, p.NamespaceSelector = &pods, &spaces
	default:
		p.IPBlock = &networkingv1.IPBlock{CIDR: r.block()}
		if p.IPBlock.CIDR == "10.0.0.0/8" || p.IPBlock.CIDR == "0.0.0.0/0" {
			p.IPBlock.Except = several(r, 0, 2, func() string { return pick(r, "10.1.0.0/16", "10.0.0.0/9", "10.128.0.0/10") })
		}
	}
	return p
}

func (r random) port() networkingv1.NetworkPolicyPort {
	end, protocol := int32(2000), pick(r, corev1.ProtocolTCP, corev1.ProtocolUDP)
	named, number, first := intstr.FromString("http"), intstr.FromInt32(80), intstr.FromInt32(1000)
	return pick(r, networkingv1.NetworkPolicyPort{Port: &named}, networkingv1.NetworkPolicyPort{Port: &number, Protocol: &protocol},
		networkingv1.NetworkPolicyPort{Port: &first, EndPort: &end}, networkingv1.NetworkPolicyPort{Protocol: &protocol})
}

func (r random) policy(name string) *networkingv1.NetworkPolicy {
	np := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: pick(r, spaces...), Name: name}}
	np.Spec.PodSelector = r.selector()
	np.Spec.PolicyTypes = pick(r, []networkingv1.PolicyType{"Ingress"}, []networkingv1.PolicyType{"Egress"}, []networkingv1.PolicyType{"Ingress", "Egress"})
	np.Spec.Ingress = several(r, 0, 2, func() networkingv1.NetworkPolicyIngressRule {
		return networkingv1.NetworkPolicyIngressRule{From: several(r, 0, 2, r.peer), Ports: several(r, 0, 2, r.port)}
	})
	np.Spec.Egress = several(r, 0, 2, func() networkingv1.NetworkPolicyEgressRule {
		return networkingv1.NetworkPolicyEgressRule{To: several(r, 0, 2, r.peer), Ports: several(r, 0, 2, r.port)}
	})
	return np
}

func (r random) clusterPolicy(name string) *policyv1alpha2.ClusterNetworkPolicy {
	cnp := &policyv1alpha2.ClusterNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	subject := r.spaceSelector()
	cnp.Spec = policyv1alpha2.ClusterNetworkPolicySpec{
		Tier: pick(r, policyv1alpha2.AdminTier, policyv1alpha2.BaselineTier), Priority: int32(r.IntN(3)),
		Subject: policyv1alpha2.ClusterNetworkPolicySubject{Namespaces: &subject},
	}
	action := func() policyv1alpha2.ClusterNetworkPolicyRuleAction {
		return pick[policyv1alpha2.ClusterNetworkPolicyRuleAction](r, "Accept", "Deny", "Pass")
	}
	protocols := func() []policyv1alpha2.ClusterNetworkPolicyProtocol {
		return pick(r, nil, []policyv1alpha2.ClusterNetworkPolicyProtocol{{TCP: &policyv1alpha2.ClusterNetworkPolicyProtocolTCP{DestinationPort: &policyv1alpha2.Port{Number: 80}}}})
	}
	cnp.Spec.Ingress = several(r, 0, 2, func() policyv1alpha2.ClusterNetworkPolicyIngressRule {
		from := policyv1alpha2.NamespacedPod{NamespaceSelector: r.spaceSelector(), PodSelector: r.selector()}
		named := policyv1alpha2.ClusterNetworkPolicyProtocol{DestinationNamedPort: "http"}
		return policyv1alpha2.ClusterNetworkPolicyIngressRule{
			Action: action(), From: []policyv1alpha2.ClusterNetworkPolicyIngressPeer{{Pods: &from}},
			Protocols: pick(r, protocols(), []policyv1alpha2.ClusterNetworkPolicyProtocol{named}),
		}
	})
	cnp.Spec.Egress = several(r, 0, 2, func() policyv1alpha2.ClusterNetworkPolicyEgressRule {
		to, nodes := r.spaceSelector(), metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}
		return policyv1alpha2.ClusterNetworkPolicyEgressRule{Action: action(), Protocols: protocols(), To: []policyv1alpha2.ClusterNetworkPolicyEgressPeer{pick(r,
			policyv1alpha2.ClusterNetworkPolicyEgressPeer{Namespaces: &to}, policyv1alpha2.ClusterNetworkPolicyEgressPeer{Nodes: &nodes},
			policyv1alpha2.ClusterNetworkPolicyEgressPeer{Networks: []policyv1alpha2.CIDR{policyv1alpha2.CIDR(r.block())}})}}
	})
	return cnp
}

// changed is the input with few changes; mostly one, sometimes none that means anything.
func (r random) changed(in Input) Input {
	objects := &in.Objects
	objects.Policies = append([]*networkingv1.NetworkPolicy(nil), objects.Policies...)
	switch n := len(objects.Policies); {
	case r.IntN(4) == 0:
		in.Workloads = append([]Workload{r.workload("w9", 9)}, in.Workloads[1:]...)
	case r.IntN(4) == 0:
		objects.ClusterPolicies = append(objects.ClusterPolicies[:0:0], r.clusterPolicy("c0"))
	case n > 0 && r.IntN(2) == 0:
		objects.Policies = objects.Policies[:n-1]
	default:
		objects.Policies = append(objects.Policies, r.policy("p9"))
	}
	return in
}
