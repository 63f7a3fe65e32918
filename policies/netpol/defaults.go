// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// SetDefaults fills in what the API server does, so that a spec from YAML can be compared with a live one:
// https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/
// What is compiled need not be defaulted before.
func SetDefaults(spec *networkingv1.NetworkPolicySpec) {
	if len(spec.PolicyTypes) == 0 {
		spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(spec.Egress) > 0 {
			spec.PolicyTypes = append(spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
	for i := range spec.Ingress {
		setProtocols(spec.Ingress[i].Ports)
	}
	for i := range spec.Egress {
		setProtocols(spec.Egress[i].Ports)
	}
}

func setProtocols(ports []networkingv1.NetworkPolicyPort) {
	for i := range ports {
		if ports[i].Protocol == nil {
			tcp := corev1.ProtocolTCP
			ports[i].Protocol = &tcp
		}
	}
}
