// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// The oracle answers as the definitions say: it takes every part away, compiles what is left, and asks the
// evaluator about every connection.

func (w world) compile(policies []*networkingv1.NetworkPolicy) *netpol.Snapshot {
	s, err := w.sample.Compile(policies)
	if err != nil {
		panic(err)
	}
	return s
}

// allAllow says whether a connection is allowed between all pods that stand for it.
func (w world) allAllow(s *netpol.Snapshot, c evidence.Connection) bool {
	verdicts := w.verdicts(s, c)
	return len(verdicts) > 0 && !slices.ContainsFunc(verdicts, func(v netpol.Verdict) bool { return !v.Allowed })
}

// verdicts are of each pair that stands for the connection; nil where an end is not known.
func (w world) verdicts(s *netpol.Snapshot, c evidence.Connection) (all []netpol.Verdict) {
	pairs, _ := w.sample.Pairs(c.From, c.To)
	for _, p := range pairs {
		all = append(all, s.Evaluate(netpol.Connection{From: p[0], To: p[1], Protocol: c.Protocol, Port: c.Port}))
	}
	return all
}

// allowed are the connections that all policies together allow.
func (w world) allowed() (all []evidence.Connection) {
	s := w.compile(w.policies)
	for _, c := range w.connections {
		if w.allAllow(s, c) {
			all = append(all, c)
		}
	}
	return all
}

// surplus names what can be taken away, one at a time.
func (w world) surplus() []string {
	names, needed := []string{}, w.allowed()
	for i, p := range w.policies {
		for _, c := range cuts(p) {
			less := isolating(p)
			if c.take(less); !isBaseline(p) && w.enough(replaced(w.policies, i, less), needed) {
				names = append(names, fmt.Sprintf("NetworkPolicy %s/%s %s", p.Namespace, p.Name, c.path))
			}
		}
	}
	return names
}

// reduced takes away what it can, last first.
func (w world) reduced() []*networkingv1.NetworkPolicy {
	out, needed := slices.Clone(w.policies), w.allowed()
	for i, p := range slices.Backward(w.policies) {
		for _, c := range slices.Backward(cuts(p)) {
			less := isolating(out[i])
			if c.take(less); !isBaseline(p) && w.enough(replaced(out, i, less), needed) {
				out[i] = less
			}
		}
	}
	return out
}

func (w world) enough(policies []*networkingv1.NetworkPolicy, needed []evidence.Connection) bool {
	s := w.compile(policies)
	return !slices.ContainsFunc(needed, func(c evidence.Connection) bool { return !w.allAllow(s, c) })
}

// allowsUnseen says whether the rules but the baseline's allow a connection between any pods, one of which is
// isolated, or between a pod and an address that one of its rules names alone.
func (w world) allowsUnseen(s *netpol.Snapshot, c evidence.Connection) bool {
	pairs, _ := w.sample.Pairs(c.From, c.To)
	return slices.ContainsFunc(pairs, func(p [2]netpol.Peer) bool {
		v := s.Evaluate(netpol.Connection{From: p[0], To: p[1], Protocol: c.Protocol, Port: c.Port})
		switch {
		case !c.From.IsPod():
			return v.Allowed && names(s.RuleSet(p[1].Pod, netpol.Ingress), c.From.Addr)
		case !c.To.IsPod():
			return v.Allowed && names(s.RuleSet(p[0].Pod, netpol.Egress), c.To.Addr)
		}
		return v.Allowed && (v.Egress.Isolated || v.Ingress.Isolated)
	})
}

func names(set netpol.RuleSet, addr netip.Addr) bool {
	return slices.ContainsFunc(set.Tiers[netpol.NetworkPolicies], func(r *netpol.Rule) bool {
		return slices.ContainsFunc(r.Peers, func(m netpol.PeerMatch) bool { return m.Block.IsSingleIP() && m.Block.Addr() == addr })
	})
}

// withoutBaseline has the same isolation, and none of the baseline's rules.
func (w world) withoutBaseline() (all []*networkingv1.NetworkPolicy) {
	for _, p := range w.policies {
		p = isolating(p)
		if isBaseline(p) {
			p.Spec.Egress = nil
		}
		all = append(all, p)
	}
	return all
}

// isBaseline: the tests give the baseline's names to nothing else.
func isBaseline(p *networkingv1.NetworkPolicy) bool { return len(p.Name) > 3 }

func replaced(policies []*networkingv1.NetworkPolicy, i int, by *networkingv1.NetworkPolicy) []*networkingv1.NetworkPolicy {
	out := slices.Clone(policies)
	out[i] = by
	return out
}

// isolating is a copy that says what it isolates, so that it goes on to when it loses rules.
func isolating(p *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	out := p.DeepCopy()
	out.Spec.PolicyTypes = nil
	for _, t := range netpol.View(p).Isolates {
		out.Spec.PolicyTypes = append(out.Spec.PolicyTypes, networkingv1.PolicyType(t))
	}
	return out
}

// cut is one thing that can be taken away from a policy.
type cut struct {
	path string
	take func(*networkingv1.NetworkPolicy)
}

// cuts are each rule, and after it each of its peers and ports. The last one of a list is the rule itself.
func cuts(p *networkingv1.NetworkPolicy) (all []cut) {
	for i, r := range p.Spec.Ingress {
		path := fmt.Sprintf("spec.ingress[%d]", i)
		all = append(all, cut{path, func(p *networkingv1.NetworkPolicy) { p.Spec.Ingress = slices.Delete(p.Spec.Ingress, i, i+1) }})
		all = append(all, parts(path+".from", len(r.From), func(p *networkingv1.NetworkPolicy) *[]networkingv1.NetworkPolicyPeer { return &p.Spec.Ingress[i].From })...)
		all = append(all, parts(path+".ports", len(r.Ports), func(p *networkingv1.NetworkPolicy) *[]networkingv1.NetworkPolicyPort { return &p.Spec.Ingress[i].Ports })...)
	}
	for i, r := range p.Spec.Egress {
		path := fmt.Sprintf("spec.egress[%d]", i)
		all = append(all, cut{path, func(p *networkingv1.NetworkPolicy) { p.Spec.Egress = slices.Delete(p.Spec.Egress, i, i+1) }})
		all = append(all, parts(path+".to", len(r.To), func(p *networkingv1.NetworkPolicy) *[]networkingv1.NetworkPolicyPeer { return &p.Spec.Egress[i].To })...)
		all = append(all, parts(path+".ports", len(r.Ports), func(p *networkingv1.NetworkPolicy) *[]networkingv1.NetworkPolicyPort { return &p.Spec.Egress[i].Ports })...)
	}
	return all
}

func parts[T any](path string, count int, of func(*networkingv1.NetworkPolicy) *[]T) (all []cut) {
	for i := range count {
		if count == 1 {
			break
		}
		all = append(all, cut{fmt.Sprintf("%s[%d]", path, i), func(p *networkingv1.NetworkPolicy) {
			if list := of(p); len(*list) > 1 {
				*list = slices.Delete(*list, i, i+1)
			}
		}})
	}
	return all
}

// someConnections are some of every kind between two workloads.
func someConnections(c evidence.Connection) (all []evidence.Connection) {
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP} {
		for _, port := range []uint16{1, 52, 53, 54, 79, 80, 81, 107, 108, 8080, 8081, 65535} {
			c.Protocol, c.Port = protocol, port
			all = append(all, c)
		}
	}
	return all
}
