// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// Report is an explanation as it is printed.
type Report struct {
	Allowed bool `json:"allowed"`
	// Answer in one sentence.
	Answer   string `json:"answer"`
	From     string `json:"from"`
	To       string `json:"to"`
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port"`
	// Notes say what was assumed, such as which pod stands for a workload.
	Notes   []string `json:"notes,omitempty"`
	Egress  Side     `json:"egress"`
	Ingress Side     `json:"ingress"`
	// Suggestion is nil when the connection is allowed.
	Suggestion *Suggestion `json:"suggestion,omitempty"`
	// Faults of policies that govern either side.
	Faults []string `json:"faults,omitempty"`
}

// Side is one side of the connection.
type Side struct {
	Allowed bool          `json:"allowed"`
	Reason  netpol.Reason `json:"reason"`
	// Because is the reason in words.
	Because string `json:"because"`
	// Isolated: a NetworkPolicy selects the pod in this direction.
	Isolated bool        `json:"isolated"`
	Self     wording.End `json:"self"`
	Peer     wording.End `json:"peer"`
	// Port is protocol and port as this side sees them, after the translation of a Service.
	Port string `json:"port"`
	// Rule that decided; nil when none did.
	Rule *wording.Place `json:"rule,omitempty"`
	// Passed is the rule that left the decision to the next tier; nil when none did.
	Passed *wording.Place `json:"passed,omitempty"`
	// Policies that govern this side.
	Policies []wording.Place `json:"policies,omitempty"`
	// Considered are the rules that were asked, nearest to a match first.
	Considered []Rule `json:"considered,omitempty"`
	// Omitted counts more of them.
	Omitted int `json:"omitted,omitempty"`
}

// Rule is one that was asked.
type Rule struct {
	wording.Place
	Action      string `json:"action"`
	PeerMatched bool   `json:"peerMatched"`
	PortMatched bool   `json:"portMatched"`
	// Misses are the entries that did not match, of peers and then of ports.
	Misses []Miss `json:"misses,omitempty"`

	distance int
}

// Miss is an entry of a rule that did not match.
type Miss struct {
	Path string    `json:"path"`
	At   string    `json:"at,omitempty"`
	Why  []Failure `json:"why"`
}

// Failure is one reason why.
type Failure struct {
	Cause netpol.Cause `json:"cause"`
	// Text is the reason in words.
	Text      string   `json:"text"`
	Wanted    string   `json:"wanted"`
	Actual    *string  `json:"actual"`
	Key       string   `json:"key,omitempty"`
	Operator  string   `json:"operator,omitempty"`
	Values    []string `json:"values,omitempty"`
	Elsewhere string   `json:"elsewhere,omitempty"`
}

// Explain answers a question about the world: whether one end may connect to the other, at a port that is
// the Service's where the other is a Service.
func (w *World) Explain(from, to Named, protocol corev1.Protocol, port uint16) *Report {
	w.apart(&from, &to)
	c := netpol.Connection{From: from.Peer, To: to.Peer, Protocol: protocol, Port: port}
	e := w.Snapshot.Explain(c)
	r := &Report{
		Allowed: e.Verdict.Allowed, From: from.Given, To: to.Given,
		Protocol: string(e.Connection.Protocol), Port: c.Port, Notes: w.notes(&e, from, to),
		Egress: w.side(&e.Egress), Ingress: w.side(&e.Ingress), Faults: w.faultsOf(&e),
	}
	r.Answer = w.answer(&e, from, to)
	if !r.Allowed {
		s := w.Suggest(e)
		for i := range s.Steps {
			step := &s.Steps[i]
			if step.Verb != AddPolicy {
				step.At = w.at(netpol.Key{Kind: step.Kind, Namespace: step.Namespace, Name: step.Name}, step.path())
			}
		}
		r.Suggestion = &s
	}
	return r
}

// path is where the fragment goes: the list, or the entry that it is put before.
func (s *Step) path() string {
	if s.Index == nil {
		return s.Path
	}
	return fmt.Sprintf("%s[%d]", s.Path, *s.Index)
}

func (w *World) at(o netpol.Key, path string) string {
	if w.Locate == nil {
		return ""
	}
	return w.Locate(o, path)
}

func (w *World) side(s *netpol.Side) Side {
	side := Side{
		Allowed: s.Decision.Allowed, Reason: s.Decision.Reason, Because: w.because(s), Isolated: s.Decision.Isolated,
		Self: w.end(&s.Self), Peer: w.end(&s.Peer), Port: portText(s.Protocol, s.Port), Omitted: s.Omitted,
	}
	for _, g := range s.Policies {
		side.Policies = append(side.Policies, w.place(&g.Origin, g.Tier))
	}
	for i := range s.Trials {
		t := &s.Trials[i]
		rule := Rule{
			Place: w.place(&t.Origin, t.Tier), Action: t.Action.String(), PeerMatched: t.PeerMatched, PortMatched: t.PortMatched,
			Misses: w.misses(t), distance: t.Distance,
		}
		switch o := t.Origin; {
		case s.Decision.Rule != nil && o == *s.Decision.Rule:
			side.Rule = &rule.Place
		case s.Decision.Passed != nil && o == *s.Decision.Passed:
			side.Passed = &rule.Place
		}
		side.Considered = append(side.Considered, rule)
	}
	return side
}

func (w *World) end(e *netpol.End) wording.End {
	out := wording.EndOf(e)
	out.Labels = e.Labels
	if w.madeUp[e.Pod] {
		out.Pod = ""
	}
	if workload := w.owner[e.Pod]; workload != nil && workload.Kind != "Pod" {
		out.Workload = workload.Endpoint().String()
	}
	return out
}

func (w *World) place(o *netpol.Origin, tier netpol.Tier) wording.Place {
	place := wording.PlaceOf(o)
	place.Tier = tierNames[tier]
	place.At = w.at(netpol.Key{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}, wholePath(o))
	return place
}

// wholePath is a rule's, or none for the policy as a whole, which begins before its spec.
func wholePath(o *netpol.Origin) string {
	if o.Index < 0 {
		return ""
	}
	return o.Path
}

var tierNames = map[netpol.Tier]string{netpol.Admin: "Admin", netpol.NetworkPolicies: "NetworkPolicy", netpol.Baseline: "Baseline"}

func (w *World) misses(t *netpol.Trial) (all []Miss) {
	object := netpol.Key{Kind: t.Origin.Kind, Namespace: t.Origin.Namespace, Name: t.Origin.Name}
	for _, part := range slices.Concat(t.Peers, t.Ports) {
		m := Miss{Path: part.Path, At: w.at(object, part.Failures[0].Path)}
		for _, f := range part.Failures {
			m.Why = append(m.Why, Failure{
				Cause: f.Cause, Text: failureText(&f), Wanted: f.Wanted, Actual: f.Actual,
				Key: f.Key, Operator: f.Operator, Values: f.Values, Elsewhere: f.Elsewhere,
			})
		}
		all = append(all, m)
	}
	return all
}

// maxFaults bounds the faults that are listed.
const maxFaults = 20

// faultsOf are the faults of policies that could govern either side: ClusterNetworkPolicies, and the
// NetworkPolicies of the pods' namespaces, also those that select nothing because of a fault.
func (w *World) faultsOf(e *netpol.Explanation) (all []string) {
	for _, f := range w.Faults {
		concerned := strings.HasPrefix(f.Object, "ClusterNetworkPolicy ")
		for _, side := range []*netpol.Side{&e.Egress, &e.Ingress} {
			concerned = concerned || side.Self.Pod != none && strings.HasPrefix(f.Object, "NetworkPolicy "+side.Self.Pod.Namespace+"/")
		}
		if concerned && len(all) < maxFaults {
			all = append(all, strings.TrimPrefix(w.at(faultyObject(f), f.Path)+": "+f.Error(), ": "))
		}
	}
	return all
}

// faultyObject is the object of a fault: "NetworkPolicy shop/api".
func faultyObject(f *netpol.ObjectError) netpol.Key {
	kind, name, _ := strings.Cut(f.Object, " ")
	if namespace, last, ok := strings.Cut(name, "/"); ok {
		return netpol.Key{Kind: kind, Namespace: namespace, Name: last}
	}
	return netpol.Key{Kind: kind, Name: name}
}

// notes say what was assumed.
func (w *World) notes(e *netpol.Explanation, from, to Named) (all []string) {
	for _, n := range []Named{from, to} {
		switch {
		case n.Workload != nil && w.madeUp[n.Peer.Pod] && n.Of > 0:
			all = append(all, fmt.Sprintf("%s connects to another pod that is like it.", n.Workload.Endpoint()))
		case n.Workload != nil && n.Of == 0:
			all = append(all, fmt.Sprintf("%s has no pod here; it is judged by its template, at no address.", n.Workload.Endpoint()))
		case n.Workload != nil && n.Of > 1:
			all = append(all, fmt.Sprintf("%s is judged by pod %s, one of %d.", n.Workload.Endpoint(), n.Peer.Pod.Name, n.Of))
		case n.Workload != nil:
			all = append(all, fmt.Sprintf("%s is judged by its pod %s.", n.Workload.Endpoint(), n.Peer.Pod.Name))
		case n.Node != "":
			all = append(all, fmt.Sprintf("Node %s is judged by its address %s.", n.Node, n.Peer.Addr))
		}
	}
	all = append(all, wording.Translation(e.Verdict.Resolved, w.podText)...)
	for _, side := range e.Denied() {
		if name := side.Peer.Pod.Namespace; missesNamespace(side) && !w.declares(name) {
			all = append(all, fmt.Sprintf("Namespace %s is not among the objects, so only its standard label is known.", name))
		}
	}
	return slices.Compact(all)
}

// missesNamespace says whether some rule asks for labels that the peer's namespace does not have.
func missesNamespace(s *netpol.Side) bool {
	for i := range s.Trials {
		for _, part := range s.Trials[i].Peers {
			for _, f := range part.Failures {
				if f.Cause == netpol.LabelFails && f.Key != corev1.LabelMetadataName && strings.HasSuffix(f.Path, ".namespaceSelector") {
					return true
				}
			}
		}
	}
	return false
}

func (w *World) declares(namespace string) bool {
	return slices.ContainsFunc(w.Objects.Namespaces, func(ns *corev1.Namespace) bool { return ns.Name == namespace })
}
