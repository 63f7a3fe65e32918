// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Verb says what a step does.
type Verb string

// The verbs.
const (
	AddPort   Verb = "AddPort"   // to a rule whose peer matches
	AddPeer   Verb = "AddPeer"   // to a rule whose port matches
	AddRule   Verb = "AddRule"   // to a policy that isolates the pod
	AddPolicy Verb = "AddPolicy" // a new one, for the pod alone
	PutBefore Verb = "PutBefore" // a rule, before the one that denies
	Replace   Verb = "Replace"   // a peer that matches nobody, because it asks for a label by a wrong key
)

// Step is one change of one object.
type Step struct {
	Verb Verb             `json:"verb"`
	Side netpol.Direction `json:"side"`
	// Kind, Namespace and Name of the object.
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Path of the list that the fragment goes into: at its end, for PutBefore at Index, for Replace in the
	// place of the entry there. Empty for AddPolicy, whose fragment is the whole object.
	Path  string `json:"path,omitempty"`
	Index *int   `json:"index,omitempty"`
	// At is where that stands, as file:line; empty when not known.
	At string `json:"at,omitempty"`
	// Fragment is YAML, ready to paste.
	Fragment string  `json:"fragment"`
	Opens    Opening `json:"opens"`
	// FromGit: the object in the cluster is written from the policy repository, and so must be changed there.
	FromGit bool `json:"fromGit,omitempty"`
}

// candidate is a step that is not proven yet.
type candidate struct {
	Step
	set netpol.Objects // the object after the step
	// rule that is new or changed.
	tier  netpol.Tier
	index int
	width int
}

// maxCandidates bounds what is tried for one side. A policy of its own is tried first, because it opens little;
// then the nearest rules.
const maxCandidates = 40

// candidates are the changes that could make one side allow the connection.
func (w *World) candidates(objs *netpol.Objects, side *netpol.Side) []candidate {
	var all []candidate
	switch side.Decision.Reason {
	case netpol.RuleDenied:
		all = w.beforeDeny(objs, side)
		if side.TierOf(side.Decision.Rule) == netpol.Baseline { // NetworkPolicies come first
			all = append(all, w.asPolicy(objs, side)...)
		}
	case netpol.NoRule:
		for _, by := range side.Decision.By {
			if np := findPolicy(objs, by); np != nil && !isBaseline(np) {
				all = append(all, w.asRule(np, side)...)
			}
		}
		all = append(w.asPolicy(objs, side), append(w.inRules(objs, side), all...)...)
		all = all[:min(len(all), maxCandidates)]
	}
	return all
}

// isBaseline: onboarding keeps the policy as it is, and nobody else may change it.
func isBaseline(np *networkingv1.NetworkPolicy) bool {
	return np.Labels[baseline.LabelManagedBy] == baseline.ManagedByOnboarding
}

// inRules complete rules that match in part.
func (w *World) inRules(objs *netpol.Objects, side *netpol.Side) (all []candidate) {
	for i := range side.Trials {
		t := &side.Trials[i]
		np := findPolicy(objs, &t.Origin)
		if t.Tier != netpol.NetworkPolicies || np == nil || isBaseline(np) || t.PeerMatched == t.PortMatched {
			continue
		}
		if c, ok := repaired(np, side, t); ok {
			all = append(all, c)
		}
		if t.PeerMatched {
			all = append(all, withPort(np, side, t)...)
		} else {
			all = append(all, w.withPeer(np, side, t)...)
		}
	}
	return all
}

// withPort adds a port to a rule whose peer matches.
func withPort(np *networkingv1.NetworkPolicy, side *netpol.Side, t *netpol.Trial) []candidate {
	port, ok := policyPort(side)
	if !ok {
		return nil
	}
	next := np.DeepCopy()
	ports := portsOf(next, t.Origin.Direction, t.Origin.Index)
	*ports = append(*ports, port)
	return []candidate{change(AddPort, next, side, t.Origin.Index, t.Origin.Path+".ports", port)}
}

// withPeer adds a peer to a rule whose port matches.
func (w *World) withPeer(np *networkingv1.NetworkPolicy, side *netpol.Side, t *netpol.Trial) (all []candidate) {
	for _, peer := range w.policyPeers(np.Namespace, side) {
		next := np.DeepCopy()
		peers := peersOf(next, t.Origin.Direction, t.Origin.Index)
		*peers = append(*peers, peer)
		all = append(all, change(AddPeer, next, side, t.Origin.Index, t.Origin.Path+"."+peersField(t.Origin.Direction), peer))
	}
	return all
}

// repaired asks for a label of namespaces by the key that has the value, where that is all that is wrong.
func repaired(np *networkingv1.NetworkPolicy, side *netpol.Side, t *netpol.Trial) (candidate, bool) {
	if t.PeerMatched || len(t.Peers[0].Failures) != 1 || t.Peers[0].Failures[0].Elsewhere != corev1.LabelMetadataName {
		return candidate{}, false
	}
	f, next := &t.Peers[0].Failures[0], np.DeepCopy()
	peers := *peersOf(next, t.Origin.Direction, t.Origin.Index)
	for i := range peers {
		path := fmt.Sprintf("%s.%s", t.Origin.Path, peersField(t.Origin.Direction))
		if t.Peers[0].Path != fmt.Sprintf("%s[%d]", path, i) || !strings.HasSuffix(f.Path, ".namespaceSelector") {
			continue
		}
		selector := peers[i].NamespaceSelector.MatchLabels
		if _, ok := selector[f.Key]; !ok {
			return candidate{}, false
		}
		selector[f.Elsewhere] = selector[f.Key]
		delete(selector, f.Key)
		c := change(Replace, next, side, t.Origin.Index, path, peers[i])
		c.Index = &i
		return c, true
	}
	return candidate{}, false
}

// asRule adds a rule of its own to a policy.
func (w *World) asRule(np *networkingv1.NetworkPolicy, side *netpol.Side) (all []candidate) {
	for _, peer := range w.policyPeers(np.Namespace, side) {
		next := np.DeepCopy()
		index, rule := appendRule(next, side, peer)
		all = append(all, change(AddRule, next, side, index, "spec."+strings.ToLower(side.Direction.String()), rule))
	}
	return all
}

// asPolicy makes a policy that selects the pod as narrowly as its lasting labels do.
func (w *World) asPolicy(objs *netpol.Objects, side *netpol.Side) (all []candidate) {
	namespace := side.Self.Pod.Namespace
	name := w.policyName(objs, side)
	for _, selector := range w.selectors(&side.Self) {
		for _, peer := range w.policyPeers(namespace, side) {
			np := &networkingv1.NetworkPolicy{
				TypeMeta:   metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
				Spec: networkingv1.NetworkPolicySpec{
					PodSelector: *selector, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyType(side.Direction.String())},
				},
			}
			appendRule(np, side, peer)
			c := change(AddPolicy, np, side, 0, "", np)
			c.Fragment = toYAML(np)
			all = append(all, c)
		}
	}
	return all
}

func change(verb Verb, next *networkingv1.NetworkPolicy, side *netpol.Side, index int, path string, item any) candidate {
	return candidate{
		Step: Step{
			Verb: verb, Side: side.Direction, Kind: "NetworkPolicy", Namespace: next.Namespace, Name: next.Name,
			Path: path, Fragment: toYAML([]any{item}), FromGit: next.Labels[baseline.LabelManagedBy] == baseline.ManagedByGitOps,
		},
		set:  netpol.Objects{Policies: []*networkingv1.NetworkPolicy{next}},
		tier: netpol.NetworkPolicies, index: index,
	}
}

func toYAML(v any) string {
	text, err := yaml.Marshal(v)
	if err != nil {
		panic(err) // these are plain API types
	}
	return string(text)
}

func appendRule(np *networkingv1.NetworkPolicy, side *netpol.Side, peer networkingv1.NetworkPolicyPeer) (index int, rule any) {
	var ports []networkingv1.NetworkPolicyPort
	if port, ok := policyPort(side); ok {
		ports = append(ports, port)
	}
	peers := []networkingv1.NetworkPolicyPeer{peer}
	if side.Direction == netpol.Egress {
		np.Spec.Egress = append(np.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: peers, Ports: ports})
		index = len(np.Spec.Egress) - 1
		return index, np.Spec.Egress[index]
	}
	np.Spec.Ingress = append(np.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: peers, Ports: ports})
	index = len(np.Spec.Ingress) - 1
	return index, np.Spec.Ingress[index]
}

func portsOf(np *networkingv1.NetworkPolicy, d netpol.Direction, i int) *[]networkingv1.NetworkPolicyPort {
	if d == netpol.Egress {
		return &np.Spec.Egress[i].Ports
	}
	return &np.Spec.Ingress[i].Ports
}

func peersOf(np *networkingv1.NetworkPolicy, d netpol.Direction, i int) *[]networkingv1.NetworkPolicyPeer {
	if d == netpol.Egress {
		return &np.Spec.Egress[i].To
	}
	return &np.Spec.Ingress[i].From
}

func peersField(d netpol.Direction) string {
	if d == netpol.Egress {
		return "to"
	}
	return "from"
}

func findPolicy(objs *netpol.Objects, o *netpol.Origin) *networkingv1.NetworkPolicy {
	for _, np := range objs.Policies {
		if o.Kind == "NetworkPolicy" && np.Namespace == o.Namespace && np.Name == o.Name {
			return np
		}
	}
	return nil
}

func findClusterPolicy(objs *netpol.Objects, name string) *policyv1alpha2.ClusterNetworkPolicy {
	for _, cnp := range objs.ClusterPolicies {
		if cnp.Name == name {
			return cnp
		}
	}
	return nil
}
