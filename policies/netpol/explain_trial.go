// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
)

// Bounds on what an explanation holds. What is nearest to a match is kept.
const (
	// MaxTrials bounds the rules of a side.
	MaxTrials = 50
	// MaxParts bounds the peers, and the ports, of one rule.
	MaxParts = 10
)

// Trial is a rule that was asked.
type Trial struct {
	Origin Origin
	Tier   Tier
	Action Action
	// PeerMatched and PortMatched; the rule matches when both are true.
	PeerMatched, PortMatched bool
	// Peers and Ports are the entries of the rule that did not match, nearest first and at most MaxParts
	// each; nil where one matched, or the rule names none.
	Peers, Ports []Part
	// Distance from a match; 0 when the rule matches. It orders rules and means nothing else.
	Distance int
}

// Matched says whether the rule matches the connection.
func (t *Trial) Matched() bool { return t.PeerMatched && t.PortMatched }

// Part is an entry of a rule's peers or ports that did not match.
type Part struct {
	Path     string // spec.ingress[0].from[1]
	Failures []Failure
}

// Cause says why an entry of a rule did not match.
type Cause string

// The causes. Wanted and Actual of a Failure are what the comments say.
const (
	LabelFails      Cause = "LabelFails"      // requirement of a selector; the label's value
	OtherNamespace  Cause = "OtherNamespace"  // the policy's namespace, which a podSelector alone means; the pod's
	PeerIsNoPod     Cause = "PeerIsNoPod"     // selectors select pods; the peer's address
	PeerIsNoNode    Cause = "PeerIsNoNode"    // the selector selects nodes; the peer's address
	OutsideBlock    Cause = "OutsideBlock"    // the range; the peer's address
	InExcept        Cause = "InExcept"        // the range that is left out; the peer's address
	NoAddress       Cause = "NoAddress"       // the range; nothing, because the peer has no address yet
	ProtocolDiffers Cause = "ProtocolDiffers" // the entry; protocol/port of the connection
	PortDiffers     Cause = "PortDiffers"     // the entry; protocol/port of the connection
	NameNotDeclared Cause = "NameNotDeclared" // the entry; nothing: no container of the pod has the name
	NameIsOther     Cause = "NameIsOther"     // the entry; the port that the destination gives the name
	NameNeedsPod    Cause = "NameNeedsPod"    // the entry; the destination's address, which names no ports
)

// Failure is one reason why an entry did not match.
type Failure struct {
	Cause  Cause
	Path   string // of the selector, range or entry
	Wanted string
	// Actual is what there is instead; nil: nothing, such as a label that is absent.
	Actual *string
	// Key, Operator and Values of the requirement; empty unless Cause is LabelFails.
	Key, Operator string
	Values        []string
	// Elsewhere is another label that has a wanted value, such as kubernetes.io/metadata.name where the
	// selector asks for name; empty when there is none.
	Elsewhere string
}

// weights: a port is changed more easily than who somebody is, and a peer of another kind is far off.
const (
	weightPort      = 1
	weightElsewhere = 1
	weightLabel     = 2
	weightKind      = 8
)

func (f *Failure) weight() int {
	switch f.Cause {
	case LabelFails:
		if f.Elsewhere != "" {
			return weightElsewhere
		}
		return weightLabel
	case OtherNamespace, InExcept, NoAddress:
		return weightLabel
	case PeerIsNoPod, PeerIsNoNode, OutsideBlock:
		return weightKind
	}
	return weightPort
}

// asked is a rule in its tier, before anything is told about it.
type asked struct {
	rule     *Rule
	tier     Tier
	distance int
}

// trials are the rules that were asked until the decision.
func (q *question) trials(d *Decision) (trials []Trial, omitted int) {
	all := q.asked(d)
	slices.SortStableFunc(all, func(a, b asked) int { return cmp.Compare(a.distance, b.distance) })
	kept := all[:min(len(all), MaxTrials)]
	for _, a := range kept {
		trials = append(trials, q.trial(a))
	}
	return trials, len(all) - len(kept)
}

func (q *question) asked(d *Decision) (all []asked) {
	set := q.self.rules(q.direction)
	for tier, rules := range set.Tiers {
		for _, r := range rules {
			all = append(all, asked{r, Tier(tier), q.distance(r)})
			if d.Rule == &r.Origin {
				return all
			}
			if r.Action == Pass && all[len(all)-1].distance == 0 {
				break // the rest of the tier was not asked
			}
		}
		if Tier(tier) == NetworkPolicies && set.Isolated {
			break
		}
	}
	return all
}

// distance is that of the nearest peer and the nearest port.
func (q *question) distance(r *Rule) int {
	peer, port := 0, 0
	for i := range r.Peers {
		if n := weigh(r.Peers[i].failures(q.peer, nil)); i == 0 || n < peer {
			peer = n
		}
	}
	for i := range r.Ports {
		if n := weigh(r.Ports[i].failures(q, nil)); i == 0 || n < port {
			port = n
		}
	}
	return peer + port
}

func weigh(failures []Failure) (sum int) {
	for i := range failures {
		sum += failures[i].weight()
	}
	return sum
}

func (q *question) trial(a asked) Trial {
	r := a.rule
	t := Trial{
		Origin: r.Origin, Tier: a.tier, Action: a.action(), Distance: a.distance,
		PeerMatched: r.MatchesPeer(q.peer), PortMatched: r.MatchesPort(q.connection.Protocol, q.connection.Port, q.destination),
	}
	if !t.PeerMatched {
		t.Peers = nearest(len(r.Peers), func(i int) Part {
			p := Part{Path: r.PeerPath(i)}
			p.Failures = r.Peers[i].failures(q.peer, &p)
			return p
		})
	}
	if !t.PortMatched {
		t.Ports = nearest(len(r.Ports), func(i int) Part {
			p := Part{Path: r.PortPath(i)}
			p.Failures = r.Ports[i].failures(q, &p)
			return p
		})
	}
	return t
}
