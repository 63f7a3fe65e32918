// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
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

// trials are the rules that were asked until the decision.
func (q *question) trials(d *Decision) (kept []Trial, omitted int) {
	var all []Trial
	set := q.self.rules(q.direction)
	for tier, rules := range set.Tiers {
		for _, r := range rules {
			t := q.trial(r, Tier(tier))
			all = append(all, t)
			if d.Rule == &r.Origin || r.Action == Pass && t.Matched() {
				break
			}
		}
		if Tier(tier) == NetworkPolicies && set.Isolated || d.Rule != nil && len(all) > 0 && all[len(all)-1].Origin == *d.Rule {
			break
		}
	}
	slices.SortStableFunc(all, func(a, b Trial) int { return cmp.Compare(a.Distance, b.Distance) })
	kept = all[:min(len(all), MaxTrials)]
	return slices.Clone(kept), len(all) - len(kept)
}

func (q *question) trial(r *Rule, tier Tier) Trial {
	t := Trial{Origin: r.Origin, Tier: tier, Action: r.Action}
	var peer, port int
	t.Peers, peer = misses(len(r.Peers), func(i int) Part { return q.peer.miss(&r.Peers[i], r.PeerPath(i)) })
	t.Ports, port = misses(len(r.Ports), func(i int) Part { return q.missedPort(&r.Ports[i], r.PortPath(i)) })
	t.PeerMatched, t.PortMatched, t.Distance = peer == 0, port == 0, peer+port
	return t
}

// misses are the entries of a list that did not match, nearest first, and the distance of the nearest. There
// are none as soon as one entry matches.
func misses(n int, part func(i int) Part) (parts []Part, distance int) {
	for i := range n {
		p := part(i)
		if len(p.Failures) == 0 {
			return nil, 0
		}
		parts = append(parts, p)
	}
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(a.weight(), b.weight()) })
	parts = slices.Clone(parts[:min(n, MaxParts)])
	if n > 0 {
		distance = parts[0].weight()
	}
	return parts, distance
}

func (p *Part) weight() (sum int) {
	for i := range p.Failures {
		sum += p.Failures[i].weight()
	}
	return sum
}

// miss says why a peer does not match the endpoint; no failures: it does.
func (e Endpoint) miss(m *PeerMatch, path string) Part {
	p := Part{Path: path}
	switch {
	case m.Nodes != nil:
		e.missNode(m, &p)
	case m.Pods == nil:
		e.missBlock(m, &p)
	case e.pod == nil:
		p.fail(PeerIsNoPod, path, "pods", address(e.Addr))
	default:
		e.missPod(m, &p)
	}
	return p
}

func (e Endpoint) missNode(m *PeerMatch, p *Part) {
	if e.pod != nil || e.node == nil {
		p.fail(PeerIsNoNode, p.Path, "nodes", address(e.Addr))
		return
	}
	p.failLabels(p.Path+".nodes", m.Nodes, e.node.labels)
}

func (e Endpoint) missPod(m *PeerMatch, p *Part) {
	if m.Namespaces == nil {
		if e.pod.ref.Namespace != m.Namespace {
			p.fail(OtherNamespace, p.Path, m.Namespace, &e.pod.ref.Namespace)
		}
	} else {
		p.failLabels(p.Path+".namespaceSelector", m.Namespaces, e.namespace.labels)
	}
	p.failLabels(p.Path+".podSelector", m.Pods, e.pod.labels)
}

func (e Endpoint) missBlock(m *PeerMatch, p *Part) {
	switch {
	case m.matchesAddr(e.Addr):
	case !e.Addr.IsValid():
		p.fail(NoAddress, p.Path, m.Block.String(), nil)
	case !m.Block.Contains(e.Addr):
		p.fail(OutsideBlock, p.Path, m.Block.String(), address(e.Addr))
	default:
		i := slices.IndexFunc(m.Except, func(x netip.Prefix) bool { return x.Contains(e.Addr) })
		p.fail(InExcept, p.Path, m.Except[i].String(), address(e.Addr))
	}
}

func (q *question) missedPort(m *PortMatch, path string) Part {
	p := Part{Path: path}
	asked := fmt.Sprintf("%s/%d", q.connection.Protocol, q.connection.Port)
	switch {
	case m.Matches(q.connection.Protocol, q.connection.Port, q.destination):
	case m.Protocol != "" && m.Protocol != q.connection.Protocol:
		p.fail(ProtocolDiffers, path, m.String(), &asked)
	case m.Name == "":
		p.fail(PortDiffers, path, m.String(), &asked)
	case q.destination.pod == nil:
		p.fail(NameNeedsPod, path, m.String(), address(q.destination.Addr))
	default:
		q.missedName(m, &p)
	}
	return p
}

func (q *question) missedName(m *PortMatch, p *Part) {
	for _, named := range q.destination.pod.ports {
		if named.name == m.Name {
			is := fmt.Sprintf("%s/%d", named.protocol, named.number)
			p.fail(NameIsOther, p.Path, m.String(), &is)
			return
		}
	}
	p.fail(NameNotDeclared, p.Path, m.String(), nil)
}

func (p *Part) fail(cause Cause, path, wanted string, actual *string) {
	p.Failures = append(p.Failures, Failure{Cause: cause, Path: path, Wanted: wanted, Actual: actual})
}

// failLabels adds the requirements of a selector that a set of labels does not meet.
func (p *Part) failLabels(path string, selector labels.Selector, set labels.Set) {
	requirements, selectable := selector.Requirements()
	if !selectable {
		p.fail(LabelFails, path, "nothing", nil)
	}
	for i := range requirements {
		r := &requirements[i]
		if r.Matches(set) {
			continue
		}
		f := Failure{
			Cause: LabelFails, Path: path, Wanted: r.String(),
			Key: r.Key(), Operator: string(r.Operator()), Values: slices.Sorted(maps.Keys(r.Values())),
		}
		if value, ok := set[f.Key]; ok {
			f.Actual = &value
		}
		f.Elsewhere = elsewhere(set, &f)
		p.Failures = append(p.Failures, f)
	}
}

// elsewhere is another label that has a value which was wanted, the standard one of namespaces first.
func elsewhere(set labels.Set, f *Failure) string {
	if f.Operator != string(selection.Equals) && f.Operator != string(selection.In) {
		return ""
	}
	for _, key := range append([]string{corev1.LabelMetadataName}, slices.Sorted(maps.Keys(set))...) {
		if key != f.Key && slices.Contains(f.Values, set[key]) {
			return key
		}
	}
	return ""
}

// address is an address in words; nil when it is not known.
func address(addr netip.Addr) *string {
	if !addr.IsValid() {
		return nil
	}
	s := addr.String()
	return &s
}
