// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// DefaultDeny returns the policy that isolates every pod of the namespace in both directions
// and allows nothing. The pod gate admits pods only where exactly this content exists.
func DefaultDeny(namespace string) *networkingv1.NetworkPolicy {
	return Isolate(namespace, BothDirections())
}

// DNS returns the policy that lets every pod of the namespace ask the cluster's DNS, and
// nothing else: the DNS pods on the ports they listen on, and node-local caches on port 53.
func DNS(namespace string, targets DNSTargets) *networkingv1.NetworkPolicy {
	var rules []networkingv1.NetworkPolicyEgressRule
	for _, pods := range targets.Pods {
		rules = append(rules, toDNSPods(pods))
	}
	if len(targets.NodeLocal) > 0 {
		rules = append(rules, toNodeLocal(targets))
	}
	return managed(namespace, AllowDNSName, networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		Egress:      rules,
	})
}

func managed(namespace, name string, spec networkingv1.NetworkPolicySpec) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		// TypeMeta is filled in so that the value can be printed as YAML or applied as it is.
		TypeMeta: metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      name,
			Labels:    map[string]string{LabelManagedBy: ManagedByOnboarding},
		},
		Spec: spec,
	}
}

func toDNSPods(pods DNSPods) networkingv1.NetworkPolicyEgressRule {
	// Nobody labels kube-system with "name"; kubernetes.io/metadata.name is set by the API
	// server on every namespace and cannot be forged.
	peer := networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: pods.Namespace}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: pods.Selector},
	}
	rule := networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{peer}}
	for _, p := range pods.Ports {
		rule.Ports = append(rule.Ports, policyPort(p.Protocol, p.Port))
	}
	return rule
}

func toNodeLocal(targets DNSTargets) networkingv1.NetworkPolicyEgressRule {
	rule := networkingv1.NetworkPolicyEgressRule{
		Ports: []networkingv1.NetworkPolicyPort{
			policyPort(corev1.ProtocolUDP, intstr.FromInt32(dnsPort)),
			policyPort(corev1.ProtocolTCP, intstr.FromInt32(dnsPort)),
		},
	}
	for _, cidr := range targets.NodeLocal {
		rule.To = append(rule.To, networkingv1.NetworkPolicyPeer{
			IPBlock: &networkingv1.IPBlock{CIDR: cidr.String()},
		})
	}
	return rule
}

func policyPort(protocol corev1.Protocol, port intstr.IntOrString) networkingv1.NetworkPolicyPort {
	return networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &port}
}
