// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"fmt"
	"strings"
)

// Tier is a step of the decision. The tiers are asked in order, and the first that decides is right; where
// none does, the connection is allowed.
type Tier uint8

// The tiers, in order.
const (
	// Admin holds ClusterNetworkPolicies that nobody can override.
	Admin Tier = iota
	// NetworkPolicies always decide for the pods that they isolate, and never for others.
	NetworkPolicies
	// Baseline holds ClusterNetworkPolicies for what no NetworkPolicy isolates.
	Baseline
)

// Action is what a rule does with a connection that it matches.
type Action uint8

// The actions. Rules of NetworkPolicies only allow.
const (
	Allow Action = iota
	Deny
	// Pass skips the rest of the tier and leaves the decision to the next.
	Pass
)

// String is the word that a ClusterNetworkPolicy uses.
func (a Action) String() string {
	switch a {
	case Deny:
		return "Deny"
	case Pass:
		return "Pass"
	}
	return "Accept"
}

// RuleSet is all that governs one pod in one direction.
type RuleSet struct {
	// Isolated: some NetworkPolicy selects the pod in this direction, so what none of their rules allows
	// is denied.
	Isolated bool
	// By are the NetworkPolicies that isolate it, ordered by name.
	By []*Origin
	// Tiers are the rules of each Tier in order of precedence: by priority, name of the policy and index.
	// In the tier of NetworkPolicies the order only decides which of several rules is named as the reason.
	Tiers [Baseline + 1][]*Rule
}

// Key is the same for two rule sets made of the same policies in the same order.
func (s *RuleSet) Key() string {
	var b strings.Builder
	for _, o := range s.By {
		fmt.Fprintf(&b, "%q/%q;", o.Namespace, o.Name) // quoted: a name with a fault may hold anything
	}
	for _, tier := range []Tier{Admin, Baseline} {
		for _, r := range s.Tiers[tier] {
			fmt.Fprintf(&b, "%d %q %d;", tier, r.Origin.Name, r.Origin.Index)
		}
	}
	return b.String()
}

// decide asks the tiers in order about a connection of the pod that the rules govern.
func (s *RuleSet) decide(peer Endpoint, c *Connection, destination Endpoint) Decision {
	d := Decision{Isolated: s.Isolated}
	for tier := range s.Tiers {
		if r := s.first(Tier(tier), peer, c, destination); r != nil {
			if r.Action == Pass {
				d.Passed = &r.Origin
			} else {
				d.Rule, d.Allowed, d.Reason = &r.Origin, r.Action == Allow, RuleMatched
				if !d.Allowed {
					d.Reason = RuleDenied
				}
				return d
			}
		}
		if Tier(tier) == NetworkPolicies && s.Isolated {
			d.Reason, d.By = NoRule, s.By
			return d
		}
	}
	d.Allowed, d.Reason = true, NotIsolated
	return d
}

// first is the first rule of a tier that matches; nil when none does.
func (s *RuleSet) first(t Tier, peer Endpoint, c *Connection, destination Endpoint) *Rule {
	for _, r := range s.Tiers[t] {
		if r.MatchesPeer(peer) && r.MatchesPort(c.Protocol, c.Port, destination) {
			return r
		}
	}
	return nil
}
