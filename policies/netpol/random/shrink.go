// SPDX-License-Identifier: Apache-2.0

package random

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Shrink leaves out objects, then parts of policies, as long as the cluster stays bad.
func Shrink(objs netpol.Objects, bad func(netpol.Objects) bool) netpol.Objects {
	for {
		all := without(objs)
		i := slices.IndexFunc(all, bad)
		if i < 0 {
			return objs
		}
		objs = all[i]
	}
}

// without are the clusters that lack one part of the given one.
func without(objs netpol.Objects) (all []netpol.Objects) {
	try := func(change func(*netpol.Objects)) {
		o := objs
		change(&o)
		all = append(all, o)
	}
	for _, l := range withoutOne(objs.Policies) {
		try(func(o *netpol.Objects) { o.Policies = l })
	}
	for _, l := range withoutOne(objs.ClusterPolicies) {
		try(func(o *netpol.Objects) { o.ClusterPolicies = l })
	}
	for _, l := range withoutOne(objs.Pods) {
		try(func(o *netpol.Objects) { o.Pods = l })
	}
	for _, l := range withoutOne(objs.Services) {
		try(func(o *netpol.Objects) { o.Services = l })
	}
	for _, l := range withoutOne(objs.Nodes) {
		try(func(o *netpol.Objects) { o.Nodes = l })
	}
	for _, l := range withoutOne(objs.Namespaces) {
		try(func(o *netpol.Objects) { o.Namespaces = l })
	}
	for i, np := range objs.Policies {
		for _, smaller := range withoutPart(np) {
			try(func(o *netpol.Objects) {
				o.Policies = slices.Clone(o.Policies)
				o.Policies[i] = smaller
			})
		}
	}
	for i, p := range objs.ClusterPolicies {
		for _, smaller := range withoutClusterPart(p) {
			try(func(o *netpol.Objects) {
				o.ClusterPolicies = slices.Clone(o.ClusterPolicies)
				o.ClusterPolicies[i] = smaller
			})
		}
	}
	for i, s := range objs.Services {
		for _, smaller := range withoutServicePart(s) {
			try(func(o *netpol.Objects) {
				o.Services = slices.Clone(o.Services)
				o.Services[i] = smaller
			})
		}
	}
	return all
}

func withoutOne[T any](list []T) (all [][]T) {
	for i := range list {
		all = append(all, slices.Delete(slices.Clone(list), i, i+1))
	}
	return all
}

// withoutPart are the policies that lack one rule, peer or port.
func withoutPart(np *networkingv1.NetworkPolicy) (all []*networkingv1.NetworkPolicy) {
	try := func(change func(*networkingv1.NetworkPolicySpec)) {
		smaller := np.DeepCopy()
		change(&smaller.Spec)
		all = append(all, smaller)
	}
	for _, l := range withoutOne(np.Spec.Ingress) {
		try(func(s *networkingv1.NetworkPolicySpec) { s.Ingress = l })
	}
	for _, l := range withoutOne(np.Spec.Egress) {
		try(func(s *networkingv1.NetworkPolicySpec) { s.Egress = l })
	}
	for i, r := range np.Spec.Ingress {
		for _, l := range withoutOne(r.From) {
			try(func(s *networkingv1.NetworkPolicySpec) { s.Ingress[i].From = l })
		}
		for _, l := range withoutOne(r.Ports) {
			try(func(s *networkingv1.NetworkPolicySpec) { s.Ingress[i].Ports = l })
		}
	}
	for i, r := range np.Spec.Egress {
		for _, l := range withoutOne(r.To) {
			try(func(s *networkingv1.NetworkPolicySpec) { s.Egress[i].To = l })
		}
		for _, l := range withoutOne(r.Ports) {
			try(func(s *networkingv1.NetworkPolicySpec) { s.Egress[i].Ports = l })
		}
	}
	return all
}

// withoutClusterPart are the policies that lack one rule, peer or protocol.
func withoutClusterPart(p *clusterPolicy) (all []*clusterPolicy) {
	try := func(change func(*policyv1alpha2.ClusterNetworkPolicySpec)) {
		smaller := p.DeepCopy()
		change(&smaller.Spec)
		all = append(all, smaller)
	}
	for _, l := range withoutOne(p.Spec.Ingress) {
		try(func(s *policyv1alpha2.ClusterNetworkPolicySpec) { s.Ingress = l })
	}
	for _, l := range withoutOne(p.Spec.Egress) {
		try(func(s *policyv1alpha2.ClusterNetworkPolicySpec) { s.Egress = l })
	}
	for i, r := range p.Spec.Ingress {
		for _, l := range withoutOne(r.From) {
			try(func(s *policyv1alpha2.ClusterNetworkPolicySpec) { s.Ingress[i].From = l })
		}
		for _, l := range withoutOne(r.Protocols) {
			try(func(s *policyv1alpha2.ClusterNetworkPolicySpec) { s.Ingress[i].Protocols = l })
		}
	}
	for i, r := range p.Spec.Egress {
		for _, l := range withoutOne(r.To) {
			try(func(s *policyv1alpha2.ClusterNetworkPolicySpec) { s.Egress[i].To = l })
		}
		for _, l := range withoutOne(r.Protocols) {
			try(func(s *policyv1alpha2.ClusterNetworkPolicySpec) { s.Egress[i].Protocols = l })
		}
	}
	return all
}

// withoutServicePart are the Services that lack one port or address.
func withoutServicePart(s *corev1.Service) (all []*corev1.Service) {
	try := func(change func(*corev1.Service)) {
		smaller := s.DeepCopy()
		change(smaller)
		all = append(all, smaller)
	}
	for _, l := range withoutOne(s.Spec.Ports) {
		try(func(s *corev1.Service) { s.Spec.Ports = l })
	}
	for _, l := range withoutOne(s.Spec.ClusterIPs) {
		try(func(s *corev1.Service) { s.Spec.ClusterIPs = l })
	}
	for _, l := range withoutOne(s.Spec.ExternalIPs) {
		try(func(s *corev1.Service) { s.Spec.ExternalIPs = l })
	}
	for _, l := range withoutOne(s.Status.LoadBalancer.Ingress) {
		try(func(s *corev1.Service) { s.Status.LoadBalancer.Ingress = l })
	}
	return all
}
