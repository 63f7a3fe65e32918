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

// oracle is a second evaluator, written from the API references and the package documentation. It has
// no index: each question is answered from the objects, by looking at all of them. It is slow and
// plain on purpose, and shares no code with the package under test.
type oracle struct {
	netpol.Objects
	policies []*networkingv1.NetworkPolicy // in order of name, without those whose name was given before
	tiers    [2][]clusterRule              // of the Admin and of the Baseline tier, in order of precedence
	faults   []fault                       // of ClusterNetworkPolicies
	sound    bool                          // no policy has a fault

	// What the text of an object says is read once.
	podAddresses    map[*corev1.Pod][]net.IP
	nodeAddresses   map[*corev1.Node][]net.IP
	namespaceLabels map[string]map[string]string
	remembered      map[any]bool
}

// party is one end of a connection.
type party struct {
	ip  net.IP      // nil: none that is known
	pod *corev1.Pod // nil: nobody that policies speak of
}

// opinion is what the oracle says of a connection.
type opinion struct {
	egress, ingress sideOpinion
	service         types.NamespacedName // zero: To was no Service
	port            uint16               // at the backend
	backend         types.NamespacedName // zero: nobody behind the Service
	source          netip.Addr           // of the node in the place of the client
	path            string               // by which a Service is reached, for the tally
}

type sideOpinion struct {
	reason netpol.Reason
	by     []*networkingv1.NetworkPolicy // the policies that isolate the pod
	rule   author                        // of the decision
	passed author                        // the last that left the decision to the next tier
	match  string                        // what of a tier's rule matched last, for the tally
}

// author is a rule; the zero author is none.
type author struct {
	kind, namespace, name string
	direction             networkingv1.PolicyType
	index                 int
	title                 string // its own name
	tier                  string // Admin or Baseline; empty for the one between
}

func newOracle(objs netpol.Objects) *oracle {
	o := &oracle{
		Objects: objs, sound: true, remembered: map[any]bool{}, namespaceLabels: map[string]map[string]string{},
		podAddresses: map[*corev1.Pod][]net.IP{}, nodeAddresses: map[*corev1.Node][]net.IP{},
	}
	for _, pod := range objs.Pods {
		o.podAddresses[pod] = addressesOf(pod)
	}
	for _, n := range objs.Nodes {
		o.nodeAddresses[n] = nodeAddresses(n)
	}
	seen := map[types.NamespacedName]bool{}
	for _, np := range objs.Policies {
		if np.Annotations["bulkhead.dev/staged"] == "true" {
			continue
		}
		name := types.NamespacedName{Namespace: np.Namespace, Name: np.Name}
		o.sound = o.sound && !seen[name] && soundPolicy(np)
		if !seen[name] {
			seen[name] = true
			o.policies = append(o.policies, np)
		}
	}
	slices.SortStableFunc(o.policies, func(a, b *networkingv1.NetworkPolicy) int { return strings.Compare(a.Name, b.Name) })
	o.readTiers()
	return o
}

func (s *sideOpinion) allowed() bool {
	switch s.reason {
	case netpol.NoRule, netpol.RuleDenied, netpol.UnknownPod, netpol.UnknownBackend:
		return false
	}
	return true
}

func (v *opinion) allowed() bool { return v.egress.allowed() && v.ingress.allowed() }

func both(r netpol.Reason) opinion {
	return opinion{egress: sideOpinion{reason: r}, ingress: sideOpinion{reason: r}}
}

// flow is what policies look at beside the two ends.
type flow struct {
	protocol corev1.Protocol
	port     uint16
}

func (o *oracle) judge(c netpol.Connection) opinion {
	f := flow{protocolOf(c.Protocol), c.Port}
	if s, ok := o.serviceFor(c.To, f); ok {
		return o.judgeService(&s, c.From, f)
	}
	from, to := o.parties(c.From, c.To)
	return o.judgeParties(from, to, f)
}

func (o *oracle) judgeParties(from, to *party, f flow) opinion {
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
	return opinion{egress: o.egressTo(from, to, f), ingress: o.ingressFrom(from, to, f)}
}

func (o *oracle) egressTo(from, to *party, f flow) sideOpinion {
	return o.side(networkingv1.PolicyTypeEgress, from, to, to, f)
}

func (o *oracle) ingressFrom(from, to *party, f flow) sideOpinion {
	s := o.side(networkingv1.PolicyTypeIngress, to, from, to, f)
	if from.pod == nil && to.pod != nil && to.pod.Spec.NodeName != "" && o.nodeAt(from.ip) == to.pod.Spec.NodeName {
		return sideOpinion{reason: netpol.OwnNode, by: s.by}
	}
	return s
}

// side asks the tiers in their order: self is whose policies are asked, other is its peer, and to is
// the one of them that has the port.
func (o *oracle) side(d networkingv1.PolicyType, self, other, to *party, f flow) sideOpinion {
	if self.pod == nil {
		return sideOpinion{reason: netpol.NotAPod}
	}
	s := sideOpinion{reason: netpol.NotIsolated, by: o.isolatedBy(self.pod, d)}
	if o.tierDecides(0, d, &s, self, other, to, f) || o.policiesDecide(d, &s, other, to, f) {
		return s
	}
	o.tierDecides(1, d, &s, self, other, to, f)
	return s
}

func (o *oracle) policiesDecide(d networkingv1.PolicyType, s *sideOpinion, other, to *party, f flow) bool {
	for _, np := range s.by {
		for i, r := range policyRules(np, d) {
			if o.peersInclude(np, r.peers, other) && o.portsInclude(r.ports, f, to) {
				s.reason, s.rule = netpol.RuleMatched, author{kind: "NetworkPolicy", namespace: np.Namespace, name: np.Name, direction: d, index: i}
				return true
			}
		}
	}
	if s.by != nil {
		s.reason = netpol.NoRule
	}
	return s.by != nil
}

func (o *oracle) isolatedBy(pod *corev1.Pod, d networkingv1.PolicyType) (by []*networkingv1.NetworkPolicy) {
	for _, np := range o.policies {
		if np.Namespace == pod.Namespace && isolates(np, d) && o.labelsMatch(&np.Spec.PodSelector, pod.Labels) {
			by = append(by, np)
		}
	}
	return by
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
