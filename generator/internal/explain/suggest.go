// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Suggestion is the smallest change found that allows a connection. It was applied to a copy of the objects,
// and the connection was allowed.
type Suggestion struct {
	// Steps are all needed, in this order; nil when there is no way.
	Steps []Step `json:"steps,omitempty"`
	// None says why there is no way, and what to do instead; empty when there are Steps.
	None string `json:"none,omitempty"`
}

// maxSteps bounds a suggestion: each side may be denied in two tiers, on several ways to a Service.
const maxSteps = 8

// Suggest finds a change that allows the connection that was explained; the zero Suggestion when it is allowed.
func (w *World) Suggest(e netpol.Explanation) Suggestion {
	objs, s := w.Objects, w.Snapshot
	var found Suggestion
	for !e.Verdict.Allowed {
		if len(found.Steps) == maxSteps {
			return Suggestion{None: fmt.Sprintf("It would take more than %d changes; begin with what denies it", maxSteps)}
		}
		side := e.Denied()[0]
		best := w.best(&objs, s, &e, side)
		if best == nil {
			return Suggestion{None: w.whyNone(&e, side)}
		}
		found.Steps = append(found.Steps, best.Step)
		objs, s = best.objs, best.snapshot
		e = s.Explain(e.Connection)
	}
	return found
}

// proven is a candidate that was tried.
type proven struct {
	candidate
	snapshot *netpol.Snapshot
	objs     netpol.Objects
	settles  bool // the side allows now; otherwise only the next tier is asked
	// repairs: the peer that is replaced matches nobody, so what it was meant for is plain.
	repairs bool
}

// best is the candidate that opens least, of equals the one with the shortest text; nil when none works.
func (w *World) best(objs *netpol.Objects, s *netpol.Snapshot, e *netpol.Explanation, side *netpol.Side) *proven {
	var best *proven
	for _, c := range w.candidates(objs, side) {
		p := w.try(objs, s, e, side, c)
		if p != nil && w.measure(s, p, side, best) && (best == nil || compareProven(p, best) < 0) {
			best = p
		}
	}
	return best
}

func compareProven(a, b *proven) int {
	return cmp.Or(first(a.settles, b.settles), first(a.repairs, b.repairs), cmp.Compare(a.Opens.Pairs, b.Opens.Pairs), cmp.Compare(a.width, b.width),
		cmp.Compare(a.Opens.Ports, b.Opens.Ports), cmp.Compare(len(a.Fragment), len(b.Fragment)))
}

// first orders what is so before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// try applies a candidate; nil when it does not help or is not valid.
func (w *World) try(objs *netpol.Objects, s *netpol.Snapshot, e *netpol.Explanation, side *netpol.Side, c candidate) *proven {
	next, err := s.Apply(netpol.Change{Set: c.set})
	if len(netpol.ObjectErrors(err)) > faultsBefore(objs, s, &c) {
		return nil
	}
	p := &proven{candidate: c, snapshot: next, objs: replaced(objs, &c)}
	after := next.Explain(e.Connection)
	now := &after.Ingress
	if side.Direction == netpol.Egress {
		now = &after.Egress
	}
	same := now.Self.Pod == side.Self.Pod && now.Peer.Pod == side.Peer.Pod && now.Peer.Addr == side.Peer.Addr && now.Port == side.Port
	p.settles = after.Verdict.Allowed || !same || now.Decision.Allowed
	passed := now.Decision.Passed
	if !p.settles && (passed == nil || passed.Name != c.Name || passed.Index != c.index) {
		return nil
	}
	if c.Verb == Replace {
		if p.repairs = w.matchesNobody(s, &c, side); !p.repairs {
			return nil
		}
	}
	p.width = c.breadth(next, side)
	return p
}

// faultsBefore counts the faults that the object has already.
func faultsBefore(objs *netpol.Objects, s *netpol.Snapshot, c *candidate) int {
	var old netpol.Objects
	if np := findPolicy(objs, &netpol.Origin{Kind: c.Kind, Namespace: c.Namespace, Name: c.Name}); np != nil {
		old.Policies = append(old.Policies, np)
	}
	if cnp := findClusterPolicy(objs, c.Name); cnp != nil && c.Kind != "NetworkPolicy" {
		old.ClusterPolicies = append(old.ClusterPolicies, cnp)
	}
	_, err := s.Apply(netpol.Change{Set: old})
	return len(netpol.ObjectErrors(err))
}

// replaced are the objects after a candidate.
func replaced(objs *netpol.Objects, c *candidate) netpol.Objects {
	after := *objs
	after.Policies, after.ClusterPolicies = slices.Clone(objs.Policies), slices.Clone(objs.ClusterPolicies)
	for _, np := range c.set.Policies {
		i := slices.IndexFunc(after.Policies, func(o *networkPolicy) bool { return o.Namespace == np.Namespace && o.Name == np.Name })
		if i < 0 {
			after.Policies = append(after.Policies, np)
		} else {
			after.Policies[i] = np
		}
	}
	for _, cnp := range c.set.ClusterPolicies {
		i := slices.IndexFunc(after.ClusterPolicies, func(o *clusterPolicy) bool { return o.Name == cnp.Name })
		after.ClusterPolicies[i] = cnp
	}
	return after
}

// whyNone says why no change of policies helps.
func (w *World) whyNone(e *netpol.Explanation, side *netpol.Side) string {
	switch side.Decision.Reason {
	case netpol.UnknownPod:
		return "Policies are not the reason: an end is not known. Its pod does not exist, has completed, or has another address"
	case netpol.UnknownBackend:
		return w.whyNoBackend(e)
	case netpol.RuleDenied:
		return w.whyNotBefore(side)
	}
	return "No rule that could be added was found to allow it; the policies that isolate the pod have faults"
}

// whyNotBefore says why no rule can be put before one that denies.
func (w *World) whyNotBefore(side *netpol.Side) string {
	rule := side.Decision.Rule
	if fault := w.faultOf(rule); fault != nil {
		return fmt.Sprintf("Correct %s, which denies everything because of a fault: %s: %s", rule, fault.Path, fault.Problem)
	}
	return fmt.Sprintf("Change %s itself: a rule that allows just this cannot be put before it, because the policy is full or no such rule can be written", rule)
}

// faultOf is the first fault of a rule; nil when it has none.
func (w *World) faultOf(rule *netpol.Origin) *netpol.ObjectError {
	for _, f := range w.Faults {
		if f.Object == rule.Kind+" "+rule.Name && (f.Path == rule.Path || strings.HasPrefix(f.Path, rule.Path+".")) {
			return f
		}
	}
	return nil
}

func (w *World) whyNoBackend(e *netpol.Explanation) string {
	name := e.Verdict.Resolved.Service
	svc := w.service(name)
	switch {
	case svc == nil:
		return "Policies are not the reason: Service " + name.String() + " does not exist"
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return "Policies are not the reason: Service " + name.String() + " is only a name for " + svc.Spec.ExternalName + "; ask about an address of that"
	}
	if ports := servicePorts(svc); !slices.Contains(ports, portText(e.Connection.Protocol, e.Connection.Port)) && len(ports) > 0 {
		return "Policies are not the reason: Service " + name.String() + " has no port " + portText(e.Connection.Protocol, e.Connection.Port) + ", only " + strings.Join(ports, ", ")
	}
	return "Policies are not the reason: Service " + name.String() + " leads to no pod: check its selector, and that the pods declare its targetPort"
}
