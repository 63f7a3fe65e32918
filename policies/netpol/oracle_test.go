// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// oracle is a second evaluator, written from the API reference and the package documentation. It
// compiles nothing: each question is answered from the raw objects, by looking at all of them. It is
// slow and plain on purpose, and shares no code with the package under test.
type oracle struct {
	netpol.Objects
	// policies in order of name, without those whose name was given before.
	policies []*networkingv1.NetworkPolicy
	sound    bool // no policy has a fault
}

// party is one end of a connection.
type party struct {
	ip  net.IP      // nil: none, which only a pod can afford
	pod *corev1.Pod // nil: nobody that policies speak of
}

// opinion is what the oracle says of a connection.
type opinion struct {
	egress, ingress sideOpinion
	service         *corev1.Service // nil: To was no Service
	port            uint16          // at the backend
	backend         *corev1.Pod     // nil: nobody behind the Service
}

type sideOpinion struct {
	reason netpol.Reason
	by     []*networkingv1.NetworkPolicy // the policies that isolate the pod
	rule   *networkingv1.NetworkPolicy   // nil unless one of its rules decided
	index  int                           // of the rule
}

func newOracle(objs netpol.Objects) *oracle {
	o := &oracle{Objects: objs, sound: true}
	seen := map[types.NamespacedName]bool{}
	for _, np := range objs.Policies {
		name := types.NamespacedName{Namespace: np.Namespace, Name: np.Name}
		o.sound = o.sound && !seen[name] && soundPolicy(np)
		if !seen[name] {
			seen[name] = true
			o.policies = append(o.policies, np)
		}
	}
	slices.SortStableFunc(o.policies, func(a, b *networkingv1.NetworkPolicy) int { return strings.Compare(a.Name, b.Name) })
	return o
}

func (s *sideOpinion) allowed() bool {
	switch s.reason {
	case netpol.NoRule, netpol.UnknownPod, netpol.UnknownBackend:
		return false
	}
	return true
}

func (v *opinion) allowed() bool { return v.egress.allowed() && v.ingress.allowed() }

func both(r netpol.Reason) opinion {
	return opinion{egress: sideOpinion{reason: r}, ingress: sideOpinion{reason: r}}
}

func (o *oracle) judge(c netpol.Connection) opinion {
	if c.Protocol == "" {
		c.Protocol = "TCP"
	}
	if c.To.Pod.Name == "" && c.To.Addr.IsValid() {
		if svc := o.serviceAt(bytesOf(c.To.Addr)); svc != nil {
			return o.judgeService(svc, c)
		}
	}
	from, to := o.parties(c.From, c.To)
	switch {
	case from == nil && to == nil:
		return both(netpol.UnknownPod)
	case from == nil:
		return opinion{egress: sideOpinion{reason: netpol.UnknownPod}, ingress: sideOpinion{reason: netpol.NotAPod}}
	case to == nil:
		return opinion{egress: sideOpinion{reason: netpol.NotAPod}, ingress: sideOpinion{reason: netpol.UnknownPod}}
	case from.pod != nil && from.pod == to.pod:
		return both(netpol.SamePod)
	}
	v := opinion{egress: o.egressOf(from, to, c), ingress: o.ingressOf(from, to, c)}
	if from.pod == nil && to.pod != nil && o.isNodeOf(from.ip, to.pod) {
		v.ingress = sideOpinion{reason: netpol.OwnNode, by: v.ingress.by}
	}
	return v
}

// judgeService: the caller does not choose the pod, so every pod behind the Service must be allowed.
func (o *oracle) judgeService(svc *corev1.Service, c netpol.Connection) opinion {
	var chosen *opinion
	for _, pod := range o.behind(svc) {
		port := portBehind(svc, pod, c)
		at := slices.IndexFunc(addressesOf(pod), func(ip net.IP) bool { return len(ip) == len(bytesOf(c.To.Addr)) })
		if port == 0 || at < 0 {
			continue
		}
		addr, _ := netip.AddrFromSlice(addressesOf(pod)[at])
		v := o.judge(netpol.Connection{From: c.From, To: netpol.Peer{Pod: nameOf(pod), Addr: addr}, Protocol: c.Protocol, Port: port})
		v.service, v.port, v.backend = svc, port, pod
		if chosen == nil || chosen.allowed() && !v.allowed() {
			chosen = &v
		}
	}
	if chosen == nil {
		none := both(netpol.UnknownBackend)
		none.service = svc
		return none
	}
	return *chosen
}

func (o *oracle) egressOf(from, to *party, c netpol.Connection) sideOpinion {
	side := o.isolation(from, networkingv1.PolicyTypeEgress)
	for _, np := range side.by {
		for i, r := range np.Spec.Egress {
			if o.peersInclude(np, r.To, to) && portsInclude(r.Ports, c, to) {
				return sideOpinion{reason: netpol.RuleMatched, by: side.by, rule: np, index: i}
			}
		}
	}
	return side
}

func (o *oracle) ingressOf(from, to *party, c netpol.Connection) sideOpinion {
	side := o.isolation(to, networkingv1.PolicyTypeIngress)
	for _, np := range side.by {
		for i, r := range np.Spec.Ingress {
			if o.peersInclude(np, r.From, from) && portsInclude(r.Ports, c, to) {
				return sideOpinion{reason: netpol.RuleMatched, by: side.by, rule: np, index: i}
			}
		}
	}
	return side
}

// isolation is the answer as long as no rule matches.
func (o *oracle) isolation(p *party, direction networkingv1.PolicyType) sideOpinion {
	if p.pod == nil {
		return sideOpinion{reason: netpol.NotAPod}
	}
	var by []*networkingv1.NetworkPolicy
	for _, np := range o.policies {
		if np.Namespace == p.pod.Namespace && isolates(np, direction) && labelsMatch(&np.Spec.PodSelector, p.pod.Labels) {
			by = append(by, np)
		}
	}
	if by == nil {
		return sideOpinion{reason: netpol.NotIsolated}
	}
	return sideOpinion{reason: netpol.NoRule, by: by}
}

func isolates(np *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) bool {
	given := np.Spec.PolicyTypes
	if len(given) == 0 {
		return direction == networkingv1.PolicyTypeIngress || len(np.Spec.Egress) != 0
	}
	for _, t := range given {
		if t == direction || t != networkingv1.PolicyTypeIngress && t != networkingv1.PolicyTypeEgress {
			return true
		}
	}
	return false
}
