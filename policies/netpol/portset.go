// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// PortSet is a set of protocols and ports: what may pass between two endpoints. It is immutable; the
// zero PortSet is empty.
type PortSet struct {
	spans [len(portProtocols)]spans
	other bool
}

// PortRange is some ports of one protocol.
type PortRange struct {
	Protocol corev1.Protocol `json:"protocol"`
	// From and To bound the ports, both included; 0 and 65535: every port.
	From uint16 `json:"from"`
	To   uint16 `json:"to"`
}

// portProtocols are the protocols that have ports, in the order in which they are listed.
var portProtocols = [...]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}

// AllPorts is everything: every port of every protocol, and the protocols that have none.
func AllPorts() PortSet {
	all := PortSet{other: true}
	for i := range all.spans {
		all.spans[i] = spans{{0, 65535}}
	}
	return all
}

// Ports is the set of the given ranges. Ranges of protocols without ports are left out.
func Ports(ranges ...PortRange) PortSet {
	var s PortSet
	for _, r := range ranges {
		if i := slices.Index(portProtocols[:], r.Protocol); i >= 0 && r.From <= r.To {
			s.spans[i] = s.spans[i].union(spans{{r.From, r.To}})
		}
	}
	return s
}

// Ranges are the ranges of the set, ordered by protocol (TCP, UDP, SCTP) and port, as few as there can
// be. Protocols without ports are not among them: see Other.
func (s PortSet) Ranges() []PortRange {
	var all []PortRange
	for i, list := range s.spans {
		for _, r := range list {
			all = append(all, PortRange{portProtocols[i], r.from, r.to})
		}
	}
	return all
}

// Other says whether the protocols without ports, such as ICMP, are in the set. They are where a rule
// names no port, or where no rule is asked.
func (s PortSet) Other() bool { return s.other }

// Empty says whether nothing is in the set.
func (s PortSet) Empty() bool { return s.Equal(PortSet{}) }

// All says whether everything is in the set.
func (s PortSet) All() bool { return s.Equal(AllPorts()) }

// Contains says whether a port of a protocol is in the set. The port of a protocol without ports means nothing.
func (s PortSet) Contains(protocol corev1.Protocol, port uint16) bool {
	i := slices.Index(portProtocols[:], protocol)
	if i < 0 {
		return s.other
	}
	return slices.ContainsFunc(s.spans[i], func(r span) bool { return r.from <= port && port <= r.to })
}

// Equal says whether both sets have the same members.
func (s PortSet) Equal(t PortSet) bool {
	for i := range s.spans {
		if !slices.Equal(s.spans[i], t.spans[i]) {
			return false
		}
	}
	return s.other == t.other
}

// Union is what is in either set.
func (s PortSet) Union(t PortSet) PortSet {
	return s.merge(t, spans.union, s.other || t.other)
}

// Intersect is what is in both sets.
func (s PortSet) Intersect(t PortSet) PortSet {
	return s.merge(t, spans.intersect, s.other && t.other)
}

// Subtract is what is in s and not in t.
func (s PortSet) Subtract(t PortSet) PortSet {
	return s.merge(t, spans.subtract, s.other && !t.other)
}

func (s PortSet) merge(t PortSet, each func(a, b spans) spans, other bool) PortSet {
	merged := PortSet{other: other}
	for i := range merged.spans {
		merged.spans[i] = each(s.spans[i], t.spans[i])
	}
	return merged
}

// String is the set as people write it: "TCP/80,443-450 UDP/53", "all" or "none".
func (s PortSet) String() string {
	switch {
	case s.All():
		return "all"
	case s.Empty():
		return "none"
	}
	var parts []string
	for i, list := range s.spans {
		if len(list) > 0 {
			parts = append(parts, string(portProtocols[i])+"/"+list.String())
		}
	}
	if s.other {
		parts = append(parts, "other")
	}
	return strings.Join(parts, " ")
}

type span struct{ from, to uint16 }

// spans are in order, and neither meet nor overlap.
type spans []span

// String is "80,443-450", or "*" for every port.
func (s spans) String() string {
	var parts []string
	for _, r := range s {
		switch {
		case r == span{0, 65535}:
			parts = append(parts, "*")
		case r.from == r.to:
			parts = append(parts, fmt.Sprint(r.from))
		default:
			parts = append(parts, fmt.Sprintf("%d-%d", r.from, r.to))
		}
	}
	return strings.Join(parts, ",")
}

func (s spans) union(t spans) spans {
	switch {
	case len(s) == 0:
		return t
	case len(t) == 0:
		return s
	}
	all := slices.Concat(s, t)
	slices.SortFunc(all, func(a, b span) int { return int(a.from) - int(b.from) })
	merged := all[:1]
	for _, r := range all[1:] {
		if last := &merged[len(merged)-1]; int(r.from) <= int(last.to)+1 {
			last.to = max(last.to, r.to)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}

func (s spans) intersect(t spans) spans {
	var both spans
	for i, j := 0, 0; i < len(s) && j < len(t); {
		if from, to := max(s[i].from, t[j].from), min(s[i].to, t[j].to); from <= to {
			both = append(both, span{from, to})
		}
		if s[i].to < t[j].to {
			i++
		} else {
			j++
		}
	}
	return both
}

func (s spans) subtract(t spans) spans {
	var gaps spans // what is not in t
	next := 0
	for _, r := range t {
		if int(r.from) > next {
			gaps = append(gaps, span{uint16(next), r.from - 1})
		}
		next = int(r.to) + 1
	}
	if next <= 65535 {
		gaps = append(gaps, span{uint16(next), 65535})
	}
	return s.intersect(gaps)
}
