// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// rule is a rule as it stands in its object, with all that it is needed for.
type rule struct {
	policy    int // index in judge.policies
	direction netpol.Direction
	index     int
	of        string // NetworkPolicy shop/api
	// baseline: it says what the baseline says to all pods, so it is neither minimal nor in excess.
	baseline bool
	// compiled; nil while no pod that was asked about is governed by it.
	compiled *netpol.Rule
	whole    part
	lists    [2][]part // by list
}

// list is a list of a rule of which one entry has to match.
type list int

const (
	peers list = iota
	ports
)

// part is what can be taken away from a policy: a rule, or one of its peers or ports.
type part struct {
	supports []*support
	gone     bool
}

// support is a rule that allows a demand.
type support struct {
	demand *demand
	rule   *rule
	match  [2][]int // which entries match, by list; empty where the rule has none
	left   [2]int   // how many of them are not taken away; 1 for an empty list
}

// demand is a pair of pods of a connection at one side, which at least one rule has to allow.
type demand struct {
	connection *evidence.Connection
	supports   []*support // in the order in which the rules are asked
	left       int        // how many of them still allow it
}

// rulesOf lists the rules of a policy.
func rulesOf(policy int, p *networkingv1.NetworkPolicy, dns baseline.DNSTargets) (ingress, egress []*rule) {
	of := nameOf(p)
	add := func(all []*rule, d netpol.Direction, peerCount, portCount int) []*rule {
		lists := [2][]part{peers: make([]part, peerCount), ports: make([]part, portCount)}
		return append(all, &rule{policy: policy, direction: d, index: len(all), of: of, lists: lists})
	}
	for i := range p.Spec.Ingress {
		ingress = add(ingress, netpol.Ingress, len(p.Spec.Ingress[i].From), len(p.Spec.Ingress[i].Ports))
	}
	isBaseline := baselineRules(p, dns)
	for i := range p.Spec.Egress {
		egress = add(egress, netpol.Egress, len(p.Spec.Egress[i].To), len(p.Spec.Egress[i].Ports))
		egress[i].baseline = isBaseline(&p.Spec.Egress[i])
	}
	return ingress, egress
}

// path is where the rule stands: spec.ingress[0].
func (r *rule) path() string {
	return fmt.Sprintf("spec.%s[%d]", strings.ToLower(r.direction.String()), r.index)
}

// name is the rule's: NetworkPolicy shop/api spec.ingress[0].
func (r *rule) name() string { return r.of + " " + r.path() }

// entry names an entry of a list: NetworkPolicy shop/api spec.ingress[0].from[1].
func (r *rule) entry(l list, i int) string {
	field := "ports"
	if l == peers {
		field = map[netpol.Direction]string{netpol.Ingress: "from", netpol.Egress: "to"}[r.direction]
	}
	return fmt.Sprintf("%s.%s[%d]", r.name(), field, i)
}

// weigh notes what allows a connection. One that is not allowed needs nothing.
func (j *judge) weigh(c *evidence.Connection) {
	demands, allowed := j.demands(c)
	if !allowed {
		return
	}
	for _, d := range demands {
		d.connection, d.left = c, len(d.supports)
		for _, s := range d.supports {
			s.rule.whole.supports = append(s.rule.whole.supports, s)
			for l, match := range s.match {
				for _, i := range match {
					s.rule.lists[l][i].supports = append(s.rule.lists[l][i].supports, s)
				}
			}
		}
	}
}

// demands are what a connection asks of the rules, and whether they allow it.
func (j *judge) demands(c *evidence.Connection) (demands []*demand, allowed bool) {
	sources, destinations, err := j.between(c)
	if err != nil {
		return nil, false
	}
	for i := range sources {
		for k := range destinations {
			from, to := &sources[i], &destinations[k]
			if side := from.sides[netpol.Egress]; side != nil {
				demands = append(demands, side.demand(to.Endpoint, to.Endpoint, c))
			}
			if side := to.sides[netpol.Ingress]; side != nil {
				demands = append(demands, side.demand(from.Endpoint, to.Endpoint, c))
			}
		}
	}
	return demands, !slices.ContainsFunc(demands, func(d *demand) bool { return len(d.supports) == 0 })
}

func (s *side) demand(peer, destination netpol.Endpoint, c *evidence.Connection) *demand {
	d := &demand{}
	for _, r := range s.about(peer) {
		match, left := [2][]int{}, [2]int{}
		for i := range r.compiled.Peers {
			if m := &r.compiled.Peers[i]; m.Matches(peer) {
				match[peers] = append(match[peers], m.Index)
			}
		}
		for i := range r.compiled.Ports {
			if m := &r.compiled.Ports[i]; m.Matches(c.Protocol, c.Port, destination) {
				match[ports] = append(match[ports], m.Index)
			}
		}
		for l := range match {
			if left[l] = len(match[l]); len(r.lists[l]) == 0 {
				left[l] = 1
			}
		}
		if left[peers] > 0 && left[ports] > 0 {
			d.supports = append(d.supports, &support{d, r, match, left})
		}
	}
	return d
}

func (s *support) holds() bool { return s.left[peers] > 0 && s.left[ports] > 0 }

// isNeeded says whether some demand has nothing but the rule.
func (r *rule) isNeeded() bool {
	for _, s := range r.whole.supports {
		if s.holds() && s.demand.left == 1 {
			return true
		}
	}
	return false
}

// needs says whether some demand has nothing but the entry of a list.
func (r *rule) needs(l list, i int) bool {
	for _, s := range r.lists[l][i].supports {
		if s.holds() && s.demand.left == 1 && s.left[l] == 1 {
			return true
		}
	}
	return false
}

// take takes an entry of a list away.
func (r *rule) take(l list, i int) {
	p := &r.lists[l][i]
	p.gone = true
	for _, s := range p.supports {
		held := s.holds()
		s.left[l]--
		if held && !s.holds() {
			s.demand.left--
		}
	}
}

// takeWhole takes the rule away.
func (r *rule) takeWhole() {
	r.whole.gone = true
	for _, s := range r.whole.supports {
		if s.holds() {
			s.demand.left--
		}
	}
}
