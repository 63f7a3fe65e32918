// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Connections to Services, as the oracle reads them.

// judgeService: the caller does not choose the pod, nor from outside the node, so every one of them
// must be allowed.
func (o *oracle) judgeService(r *reached, client netpol.Peer, f flow) opinion {
	chosen, found := both(netpol.UnknownBackend), false
	chosen.service, chosen.path = r.name, "no such Service"
	if r.service == nil {
		return chosen
	}
	from := o.approach(r, client)
	for _, pod := range o.behind(r, from) {
		target := flow{f.protocol, r.portAt(pod, f)}
		if target.port == 0 && !r.headless() {
			continue
		}
		for _, v := range o.ways(r, from, pod, target, f) {
			v.service, v.port, v.backend = r.name, target.port, nameOf(pod)
			if !found || chosen.allowed() && !v.allowed() {
				chosen, found = v, true
			}
		}
	}
	chosen.path = o.pathName(r, from)
	return chosen
}

// approach is the client, at its address of the family that it asks for. Of a Service given by name, the
// family of the client's first address is asked for where there is one.
func (o *oracle) approach(r *reached, client netpol.Peer) *party {
	first := o.firstAddress(client, 0)
	if own := clusterAddresses(r.service); r.byName && len(own) > 0 {
		r.addr = own[0]
		if ip := firstOf(own, len(first)); ip != nil {
			r.addr = ip
		}
	}
	r.family = len(r.addr)
	from := o.party(client, o.firstAddress(client, r.family))
	if r.addr == nil && from != nil {
		r.family = len(first)
	}
	return from
}

// addressAt is the pod's own, of the family asked for; nil for none.
func (o *oracle) addressAt(r *reached, pod *corev1.Pod) net.IP {
	own := o.podAddresses[pod]
	if r.family == 0 && len(own) > 0 {
		return own[0]
	}
	return firstOf(own, r.family)
}

// behind are the pods that the client may come to, in order of name.
func (o *oracle) behind(r *reached, from *party) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, pod := range o.Pods {
		if pod.Namespace != r.service.Namespace || isGone(pod) || !hasAll(pod.Labels, r.service.Spec.Selector) {
			continue
		}
		if r.node != "" && r.local() && o.nodeOfClient(from) != r.node && pod.Spec.NodeName != r.node {
			continue
		}
		if o.addressAt(r, pod) != nil || r.byName && len(o.podAddresses[pod]) == 0 {
			pods = append(pods, pod)
		}
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods
}

// ways are the connection to one pod, once for each node by which it may come.
func (o *oracle) ways(r *reached, from *party, pod *corev1.Pod, target, asked flow) []opinion {
	to := o.party(netpol.Peer{Pod: nameOf(pod)}, o.addressAt(r, pod))
	if to == nil {
		to = &party{} // on the network of a node that is not known
	}
	v := o.judgeParties(from, to, target)
	if r.node != "" && from != nil && o.nodeOfClient(from) != r.node {
		v.egress = o.egressTo(from, &party{ip: r.addr}, asked)
	}
	if !r.external || r.local() {
		return []opinion{v}
	}
	var all []opinion
	for _, ip := range o.masks(r, from) {
		masked := v
		seen := &party{}
		if ip != nil {
			seen = o.party(netpol.Peer{}, ip)
		}
		if from != nil { // who is nobody comes by no way
			masked.ingress = o.ingressFrom(seen, to, target)
		}
		masked.source, _ = netip.AddrFromSlice(ip)
		all = append(all, masked)
	}
	return all
}

// masks are the addresses that the pod may see in the place of the client's; nil is one not known.
func (o *oracle) masks(r *reached, from *party) (all []net.IP) {
	if r.node != "" {
		return []net.IP{r.addr}
	}
	nodes := slices.SortedFunc(slices.Values(o.Nodes), func(a, b *corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	for _, n := range nodes {
		ip := firstOf(o.nodeAddresses[n], len(r.addr))
		if ip != nil && (o.isOutside(from) || n.Name == o.nodeOfClient(from)) {
			all = append(all, ip)
		}
	}
	if all == nil {
		return []net.IP{nil}
	}
	return all
}

func (o *oracle) isOutside(from *party) bool {
	return from == nil || from.pod == nil && o.nodeAt(from.ip) == ""
}

// nodeOfClient is empty for one that is outside or nobody, and for a pod that no node runs.
func (o *oracle) nodeOfClient(from *party) string {
	switch {
	case from == nil:
		return ""
	case from.pod != nil:
		return from.pod.Spec.NodeName
	}
	return o.nodeAt(from.ip)
}

// pathName is for the tally.
func (o *oracle) pathName(r *reached, from *party) string {
	policy, where := "Cluster", "inside"
	if !r.external && r.byName {
		switch {
		case r.headless():
			return "headless"
		case r.addr == nil:
			return "by name, no address yet"
		}
		return "by name"
	}
	if r.local() {
		policy = "Local"
	}
	switch {
	case !r.external:
		return "cluster address"
	case r.node != "" && o.nodeOfClient(from) == r.node:
		return "NodePort own node " + policy
	case r.node != "":
		return "NodePort other node " + policy
	case o.isOutside(from):
		where = "outside"
	}
	return "external " + where + " " + policy
}
