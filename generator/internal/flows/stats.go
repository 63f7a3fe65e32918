// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"cmp"
	"maps"
	"slices"
)

const (
	maxProblems = 20   // malformed lines that are remembered with what is wrong
	maxPairs    = 1000 // pairs of ends with ICMP that are counted each for itself
	maxSources  = 1000 // places where flows were lost, as well
)

// Stats counts what was read. It says how complete the evidence is.
type Stats struct {
	Flows     uint64  `json:"flows"`     // connection records
	Ignored   uint64  `json:"ignored"`   // records that say nothing about policies
	IgnoredAs Reasons `json:"ignoredAs"` // the same by their kind
	Malformed uint64  `json:"malformed"` // lines that could not be read, and were skipped
	Lost      uint64  `json:"lost"`      // flows that the observer says it lost
	// Misdated are flows with times that cannot be right and do not count; whoever folds them knows.
	Misdated uint64 `json:"misdated,omitempty"`
	// Problems are the first malformed lines, as "file:line: what is wrong".
	Problems []string `json:"problems,omitempty"`

	icmp map[Pair]uint64
	lost map[Source]uint64
	seen map[string]uint64 // flows by the node that reported them, but for those of run
	run  struct {          // the last flows, as far back as they are of one node: the next one mostly is, too
		node  string
		flows uint64
	}
}

// Source is where flows were lost. Empty: not known.
type Source struct {
	Node  string `json:"node,omitempty"`
	Queue string `json:"queue,omitempty"` // the observer's word, e.g. PERF_EVENT_RING_BUFFER
}

// SourceLoss is how many flows were lost in one place.
type SourceLoss struct {
	Source
	Lost uint64 `json:"lost"`
}

// LostAt says where flows were lost, the worst place first. The sum is Lost.
func (s *Stats) LostAt() []SourceLoss {
	var out []SourceLoss
	for from, n := range s.lost {
		out = append(out, SourceLoss{from, n})
	}
	slices.SortFunc(out, func(a, b SourceLoss) int {
		return cmp.Or(cmp.Compare(b.Lost, a.Lost), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Queue, b.Queue))
	})
	return out
}

// NodeLoss is how many flows one node reported, and how many it lost.
type NodeLoss struct {
	Node        string
	Flows, Lost uint64
}

// Share is the part of the node's flows that it lost, from 0 to 1.
func (l NodeLoss) Share() float64 { return Share(l.Lost, l.Flows) }

// Share is the part of all flows that is missing, from 0 to 1; 0 where there are none.
func Share(missing, read uint64) float64 {
	return float64(missing) / max(1, float64(missing)+float64(read))
}

// Nodes are the nodes that reported or lost flows, ordered by name. Those beyond 1,000 are counted as one without a name.
func (s *Stats) Nodes() []NodeLoss {
	all := map[string]NodeLoss{s.run.node: {Flows: s.run.flows}}
	for node, n := range s.seen {
		l := all[node]
		l.Flows += n
		all[node] = l
	}
	for from, n := range s.lost {
		l := all[from.Node]
		l.Lost += n
		all[from.Node] = l
	}
	var out []NodeLoss
	for _, node := range slices.Sorted(maps.Keys(all)) {
		out = append(out, NodeLoss{node, all[node].Flows, all[node].Lost})
	}
	return out
}

// WorstNode is WorstOf all nodes.
func (s *Stats) WorstNode() NodeLoss { return WorstOf(s.Nodes()) }

// WorstOf is the node that lost the largest part of its flows, of those that lost enough to tell; zero: there is none. In a
// large cluster a node that is busy can lose most of what it sees, and hardly anything of all.
func WorstOf(nodes []NodeLoss) (worst NodeLoss) {
	const enough = 100
	for _, is := range nodes {
		if is.Node != "" && is.Lost >= enough && is.Share() > worst.Share() {
			worst = is
		}
	}
	return worst
}

// see counts flows of a node.
func (s *Stats) see(node string, n uint64) {
	if node != s.run.node {
		if s.run.flows > 0 {
			countAt(&s.seen, s.run.node, s.run.flows)
		}
		s.run.node, s.run.flows = node, 0
	}
	s.run.flows += n
}

// countAt adds to the count of a place. Beyond so many places further ones are counted together, as that of none.
func countAt[P comparable](counts *map[P]uint64, place P, n uint64) {
	if _, known := (*counts)[place]; !known && len(*counts) >= maxSources {
		place = *new(P)
	}
	if *counts == nil {
		*counts = map[P]uint64{}
	}
	(*counts)[place] += n
}

// LostPart is the part of all flows that was lost, from 0 to 1; 0 where there are none.
func (s *Stats) LostPart() float64 {
	return Share(s.Lost, s.Flows+s.Ignored)
}

// Reasons are numbers of records that say nothing about policies.
type Reasons struct {
	ICMP        uint64 `json:"icmp,omitempty"`        // NetworkPolicy has no word for it
	Application uint64 `json:"application,omitempty"` // their connections are reported too
	Socket      uint64 `json:"socket,omitempty"`      // traces of sockets
	Other       uint64 `json:"other,omitempty"`       // node status, agent events, other protocols
}

// Pair are two ends by the names that the record has for them.
type Pair struct{ From, To string }

// PairCount is how many ICMP records there were between two ends.
type PairCount struct {
	Pair
	Records uint64
}

// ICMP are the pairs of ends with ICMP between them, those with the most records first. Beyond 1,000
// pairs only the total grows.
func (s *Stats) ICMP() []PairCount {
	var out []PairCount
	for p, n := range s.icmp {
		out = append(out, PairCount{p, n})
	}
	slices.SortFunc(out, func(a, b PairCount) int {
		return cmp.Or(cmp.Compare(b.Records, a.Records), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return out
}

// Add sums two counts; what is bounded is kept up to the bound.
func (s *Stats) Add(o Stats) {
	s.Flows += o.Flows
	s.Ignored += o.Ignored
	s.Malformed += o.Malformed
	s.Lost += o.Lost
	s.Misdated += o.Misdated
	s.IgnoredAs.ICMP += o.IgnoredAs.ICMP
	s.IgnoredAs.Application += o.IgnoredAs.Application
	s.IgnoredAs.Socket += o.IgnoredAs.Socket
	s.IgnoredAs.Other += o.IgnoredAs.Other
	s.Problems = append(s.Problems, o.Problems[:min(len(o.Problems), maxProblems-len(s.Problems))]...)
	for from, n := range o.lost {
		countAt(&s.lost, from, n)
	}
	for node, n := range o.seen {
		s.see(node, n)
	}
	s.see(o.run.node, o.run.flows)
	for p, n := range o.icmp {
		s.count(p, n)
	}
}

// ignore counts a record that says nothing about policies. rec has the ends of one of ICMP.
func (s *Stats) ignore(why ignored, rec *Record) {
	s.Ignored++
	switch why {
	case ignoredICMP:
		s.IgnoredAs.ICMP++
		s.count(Pair{rec.Source.String(), rec.Destination.String()}, 1)
	case ignoredApplication:
		s.IgnoredAs.Application++
	case ignoredSocket:
		s.IgnoredAs.Socket++
	default:
		s.IgnoredAs.Other++
	}
}

func (s *Stats) problem(what string) {
	if len(s.Problems) < maxProblems {
		s.Problems = append(s.Problems, what)
	}
}

func (s *Stats) lose(l *loss) {
	s.Lost += l.flows
	countAt(&s.lost, Source{l.node, l.queue}, l.flows)
}

func (s *Stats) count(p Pair, n uint64) {
	if _, known := s.icmp[p]; !known && len(s.icmp) >= maxPairs {
		return
	}
	if s.icmp == nil {
		s.icmp = map[Pair]uint64{}
	}
	s.icmp[p] += n
}

// String is the end in one phrase: its workload, else its pod, else its address.
func (e *Endpoint) String() string {
	switch {
	case e.Pod != "" && e.Workload != "":
		return e.Kind + " " + e.Namespace + "/" + e.Workload
	case e.Pod != "":
		return "Pod " + e.Namespace + "/" + e.Pod
	}
	return e.Addr.String()
}
