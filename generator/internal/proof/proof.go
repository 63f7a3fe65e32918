// SPDX-License-Identifier: Apache-2.0

// Package proof judges policies against what was observed. It shares nothing with the code
// that writes policies: it compiles them with policies/netpol and asks.
//
// What is needed is counted in one pass. Every connection, between every two pods that stand for it, makes a
// demand at each side that is isolated: some rule has to allow it. Each rule, peer and port that does is a
// support of the demand. What can be taken away is what is never the only support, so nothing is compiled
// again.
package proof

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Report is what was proven.
type Report struct {
	// Proven: every connection is allowed, and nothing can be taken away.
	Proven bool `json:"proven"`
	// Connections is the number of distinct connections that were judged.
	Connections int `json:"connections"`
	// Policies is the number of policies that were judged, baseline included.
	Policies int      `json:"policies"`
	Broken   []Broken `json:"broken"`  // connections that are not allowed
	Surplus  []string `json:"surplus"` // rules, peers and ports that no connection needs
	// Shadowed are those rules of Surplus that connections do match.
	Shadowed []Shadowed `json:"shadowed"`
	// SelectsNothing are the policies that select no pod of the inventory.
	SelectsNothing []string `json:"selectsNothing"`
	Excess         Excess   `json:"excess"` // what is allowed beyond what was seen
	// Ungoverned are the directions in which the namespaces shall stay open: nothing is said of them.
	Ungoverned []Ungoverned `json:"ungoverned"`
	// Strays are pods that were left out of the proof, because the selector of their own workload does not
	// select them: of the namespaces that were judged, and of those that they talk to.
	Strays []string `json:"strays"`
	// Foreign are the policies that the cluster has in the namespaces that were judged, and Git has not: those that open
	// the most first. Beyond 100, those that look harmless are only counted. See Meet.
	Foreign        []Foreign `json:"foreign"`
	ForeignOmitted int       `json:"foreignOmitted,omitempty"`
	// Blocked are the connections that foreign policies make impossible.
	Blocked        []Blocked `json:"blocked"`
	BlockedOmitted int       `json:"blockedOmitted,omitempty"` // beyond the first 1000
	// Rules are those that allow a connection, but the baseline's, in the order of the policies, ingress before
	// egress, and by index.
	Rules    []Rule                         `json:"-"`
	governed map[string]baseline.Directions // by namespace
}

// Rule is one rule and the connections for which it is the reason.
type Rule struct {
	Policy      string // name
	Path        string // spec.ingress[0]
	Connections []evidence.Connection
}

// Broken is an observed connection that the policies deny.
type Broken struct {
	Connection string `json:"connection"`
	Reason     string `json:"reason"`
	// From and To are the first pods between which it is denied, as namespace/name; empty for what is no pod,
	// and where a workload has none.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Ungoverned is a direction in which the pods of a namespace are not isolated, on purpose.
type Ungoverned struct {
	Namespace string           `json:"namespace"`
	Direction netpol.Direction `json:"direction"`
}

// String is the direction in a phrase: "egress of namespace shop".
func (u *Ungoverned) String() string {
	return strings.ToLower(u.Direction.String()) + " of namespace " + u.Namespace
}

// Prove judges the policies of some namespaces, baseline included. Connections that touch none of
// those namespaces, or only where nothing is governed or isolated, are left out. dns is where the cluster's DNS answers: rules that let every pod ask
// it are the baseline's, so they need not be used, and are not in excess. The error says that the
// policies themselves are invalid, which is different from not being proven.
//
// In each namespace those directions are governed that its default-deny isolates, and both where it has none.
func Prove(policies []*networkingv1.NetworkPolicy, connections []evidence.Connection, sample *inventory.Sample, dns baseline.DNSTargets) (*Report, error) {
	return ProveIn(nil, policies, connections, sample, dns)
}

// ProveIn is Prove where it is known which directions are governed; namespaces that are not in the map are as in Prove.
func ProveIn(governed map[string]baseline.Directions, policies []*networkingv1.NetworkPolicy, connections []evidence.Connection, sample *inventory.Sample, dns baseline.DNSTargets) (*Report, error) {
	j, err := newJudge(policies, sample, dns)
	if err != nil {
		return nil, err
	}
	maps.Copy(j.governed, governed)
	return j.report(j.weighAll(connections)), nil
}

// weighAll notes what allows each connection that touches a judged namespace. It returns those, and the ones of them
// that are not allowed.
func (j *judge) weighAll(connections []evidence.Connection) (relevant []*evidence.Connection, broken []Broken) {
	broken = []Broken{}
	for i := range connections {
		c := &connections[i]
		if !j.concerns(c.From, netpol.Egress) && !j.concerns(c.To, netpol.Ingress) {
			continue
		}
		relevant = append(relevant, c)
		if b := j.broken(c); b != nil {
			broken = append(broken, *b)
			continue
		}
		j.weigh(c)
	}
	return relevant, broken
}

// concerns says whether the judged policies are about what enters or leaves an end: its namespace is judged, and the
// direction is governed there, or isolated all the same.
func (j *judge) concerns(e edge.Endpoint, d netpol.Direction) bool {
	if !e.IsPod() || !j.namespaces[e.Namespace] {
		return false
	}
	if j.governed[e.Namespace].Has(d) {
		return true
	}
	found, err := j.end(e)
	return err == nil && slices.ContainsFunc(found.points, func(p point) bool { return p.sides[d] != nil })
}

// report says what was found of the connections that were weighed.
func (j *judge) report(connections []*evidence.Connection, broken []Broken) *Report {
	r := &Report{
		Connections: len(connections), Policies: len(j.policies), Broken: broken,
		Surplus: j.surplus(), Shadowed: j.shadowed(), SelectsNothing: j.idle(),
		Excess: j.excess(connections), Ungoverned: j.ungoverned(), Strays: j.strays(connections), Rules: j.explain(),
		Foreign: []Foreign{}, Blocked: []Blocked{}, governed: j.governed,
	}
	r.Proven = len(r.Broken) == 0 && len(r.Surplus) == 0
	return r
}

// ungoverned lists the directions of judged namespaces that are not governed.
func (j *judge) ungoverned() []Ungoverned {
	all := []Ungoverned{}
	for _, name := range Namespaces(j.policies) {
		for _, d := range j.governed[name].Missing() {
			all = append(all, Ungoverned{name, d})
		}
	}
	return all
}

// explain names the connections for which each rule is the reason: of several the first that is asked.
func (j *judge) explain() []Rule {
	all := make([]Rule, 0, len(j.rules))
	for _, r := range j.rules {
		var reasons []*evidence.Connection
		for _, s := range r.whole.supports {
			c := s.demand.connection
			if n := len(reasons); s.demand.supports[0] == s && (n == 0 || reasons[n-1] != c) {
				reasons = append(reasons, c)
			}
		}
		if len(reasons) == 0 || r.baseline {
			continue
		}
		explained := Rule{Policy: j.policies[r.policy].Name, Path: r.path(), Connections: make([]evidence.Connection, len(reasons))}
		for i, c := range reasons {
			explained.Connections[i] = *c
		}
		all = append(all, explained)
	}
	return all
}

// strays are the pods that do not stand for their workloads, of the namespaces and of the connections' ends.
func (j *judge) strays(connections []*evidence.Connection) []string {
	words := []string{}
	if len(j.sample.Strays) == 0 {
		return words
	}
	concerned := map[edge.Endpoint]bool{}
	for _, c := range connections {
		concerned[c.From], concerned[c.To] = true, true
	}
	for _, s := range j.sample.Strays {
		if concerned[s.Workload] || j.namespaces[s.Workload.Namespace] {
			words = append(words, fmt.Sprintf("Pod %s is of %s, whose selector does not select it", s.Pod, s.Workload))
		}
	}
	return words
}

// Namespaces are those of policies, ordered.
func Namespaces(policies []*networkingv1.NetworkPolicy) []string {
	var names []string
	for _, p := range policies {
		names = append(names, p.Namespace)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Policies picks the NetworkPolicies out of objects, ordered by namespace and name. It is an error
// when there are two of the same name.
func Policies(objects []runtime.Object) ([]*networkingv1.NetworkPolicy, error) {
	var policies []*networkingv1.NetworkPolicy
	for _, o := range objects {
		if p, ok := o.(*networkingv1.NetworkPolicy); ok {
			policies = append(policies, p)
		}
	}
	slices.SortFunc(policies, func(a, b *networkingv1.NetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for i, p := range policies {
		if i > 0 && p.Namespace == policies[i-1].Namespace && p.Name == policies[i-1].Name {
			return nil, fmt.Errorf("NetworkPolicy %s/%s is there twice", p.Namespace, p.Name)
		}
	}
	return policies, nil
}
