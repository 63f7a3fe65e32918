// SPDX-License-Identifier: Apache-2.0

package page

import (
	"fmt"
	"math"
	"slices"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/readiness"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// reasons in the order in which they are shown: what waits for a person first.
var reasons = []evidence.Reason{
	evidence.Denied, evidence.Scan, evidence.NewPeer, evidence.Outside, evidence.OneOff, evidence.Rejected,
	evidence.DirectionUnknown, evidence.NoWorkload, evidence.NoSelector, evidence.ServiceAddress, evidence.TooMany, evidence.LeftOut, evidence.PodAddress,
	evidence.KnownEnds, evidence.OwnNode, evidence.NoPod,
}

// meaning is what the reasons say, for those who see them the first time.
var meaning = map[evidence.Reason]string{
	evidence.Denied:           "Dropped by a policy that is in place.",
	evidence.Scan:             "One of many ports or targets that were tried and hardly used.",
	evidence.NewPeer:          "From a namespace that had no approved connection before.",
	evidence.Outside:          "From outside of the cluster, to what no Service publishes.",
	evidence.OneOff:           "Hardly seen.",
	evidence.Rejected:         "The plan says no.",
	evidence.DirectionUnknown: "Nobody saw which end opened it.",
	evidence.NoWorkload:       "The workload of an end is not in the inventory.",
	evidence.NoSelector:       "The pods of an end have no lasting labels.",
	evidence.ServiceAddress:   "The pods behind a Service's address cannot be told.",
	evidence.TooMany:          "There are too many of a kind to keep each.",
	evidence.LeftOut:          "The source of the flows left an address or the port out.",
	evidence.PodAddress:       "Pods had the address, or may have had it unseen, and it cannot be told which one.",
	evidence.KnownEnds:        "Observed without a direction; with one, a connection between the same ends was, too.",
	evidence.OwnNode:          "From a pod's own node, which needs no rule.",
	evidence.NoPod:            "Neither end is a pod: policies do not apply.",
}

// namespace is the page of a namespace.
type namespace struct {
	frame
	Name        string
	Ready       bool
	Summary     line
	Why         table[line] // it is not ready
	Numbers     numbers
	First, Last stamp
	Days        int

	PlanFile, PlanHead string
	Questions          table[question]
	Graph              *graph // nil: there is nothing to draw
	Connections        table[row]
	Unseen             table[workload]
	Listed             []reason
	Excess             excess
	Foreign            foreign
	Ungoverned         []line
	Unused             table[line] // decisions of the plan
	Input              input
}

// numbers are what counts.
type numbers struct{ Connections, Policies, Questions, Listed, Excess int }

// workload is how completely a workload was observed.
type workload struct {
	Name             line
	Ready            bool
	Why              []line
	Since, Last      stamp
	Connections, New int
	Coverage, Unseen string
	Share            float64 // coverage, from 0 to 1
	Known            bool    // the coverage says something
}

// reason is what was not learned for one reason.
type reason struct {
	Reason  evidence.Reason
	Meaning string
	Table   table[row]
}

// excess is what is allowed beyond what was seen.
type excess struct {
	Count     int
	Pairs     table[proof.Unseen]
	Ranges    table[proof.Range]
	Future    table[proof.Future]
	Open      table[line]
	Shadowed  table[line]
	Shared    table[line] // workloads whose policies apply to pods of others
	Strays    table[line]
	Idle      table[line]
	LeftOut   int
	Anything  bool
	BeyondTop int // of Count, pairs that are not listed
}

// input says what was read.
type input struct {
	Flows, Lost, Malformed, Ignored, Misdated uint64
	Missing                                   string // percent
	Bad                                       bool   // something is missing
	Places                                    table[line]
	Problems                                  table[line]
	ICMP                                      uint64
	Pairs                                     table[line]
	AssumedDNS                                line
	Learned                                   bool // without an inventory
}

func inputOf(p *proposal.Proposal, s *flows.Stats) input {
	loss := tree.Loss{Flows: s.Flows, Lost: s.Lost, Malformed: s.Malformed}
	return input{
		Flows: s.Flows, Lost: s.Lost, Malformed: s.Malformed, Ignored: s.Ignored, Misdated: s.Misdated,
		Missing: fmt.Sprintf("%.3g %%", 100*loss.Share()), Bad: loss.Share() > 0 || s.Misdated > 0, Problems: lines(s.Problems),
		Places: cut(s.LostAt(), func(l *flows.SourceLoss) line {
			return line(fmt.Sprintf("%d at node %q, queue %q", l.Lost, l.Node, l.Queue))
		}),
		ICMP: s.IgnoredAs.ICMP, Pairs: cut(s.ICMP(), func(c *flows.PairCount) line {
			return line(fmt.Sprintf("%s and %s, %d records", c.From, c.To, c.Records))
		}),
		AssumedDNS: line(p.AssumedDNS), Learned: len(p.Namespaces) > 0 && p.Namespaces[0].Learned != nil,
	}
}

func view(cluster string, n *proposal.Namespace, in input) namespace {
	if !n.Directions.Egress {
		in.AssumedDNS = "" // the baseline is not about it
	}
	v := namespace{
		frame: frameOf("Namespace "+printable(n.Name), cluster), Name: printable(n.Name),
		Ready: n.Readiness.Ready, Summary: line(n.Readiness.Summary()), Why: lines(why(n.Readiness)), Days: n.Readiness.Days,
		PlanFile: printable(tree.Dir(cluster, n.Name) + "/" + plan.File), PlanHead: planHead,
		Questions: ask(n.Listed), Connections: connectionRows(n), Unseen: cut(n.Readiness.Workloads, workloadRow),
		Listed: byReason(n.Listed), Excess: excessOf(n), Foreign: foreignOf(n.Report), Unused: lines(n.Unused), Input: in,
	}
	span := evidence.SpanOfConnections(n.Connections)
	v.First, v.Last = stamp(span.First), stamp(span.Last)
	v.Numbers = numbers{len(n.Connections), len(n.Policies), v.Questions.Total(), len(n.Listed), n.Report.Excess.Count}
	v.Graph = graphOf(n)
	for _, u := range n.Report.Ungoverned {
		v.Ungoverned = append(v.Ungoverned, line(fmt.Sprintf("%s of namespace %s", u.Direction, u.Namespace)))
	}
	return v
}

// why are the reasons against enforcing, the namespace's first.
func why(r *readiness.Report) []string {
	all := slices.Clone(r.Why)
	for _, w := range r.Workloads {
		for _, reason := range w.Why {
			all = append(all, w.Workload+": "+reason)
		}
	}
	return all
}

// wire is a connection without its evidence.
type wire = edge.Key

func wireOf(c *evidence.Connection) wire {
	return wire{From: c.From, To: c.To, Protocol: c.Protocol, Port: c.Port}
}

// rulesOf names the rules that allow each connection. What is not there the baseline allows.
func rulesOf(n *proposal.Namespace) map[wire][]string {
	rules := map[wire][]string{}
	for _, r := range n.Rules {
		for i := range r.Connections {
			k := wireOf(&r.Connections[i])
			rules[k] = append(rules[k], printable(tree.FileOf(r.Policy)+" "+r.Path))
		}
	}
	return rules
}

func connectionRows(n *proposal.Namespace) table[row] {
	rules := rulesOf(n)
	return cut(n.Connections, func(c *evidence.Connection) row {
		r := rowOf(wireOf(c), c.Evidence)
		r.Audited = c.Audited
		if r.Allowed = rules[wireOf(c)]; len(r.Allowed) == 0 {
			r.Allowed = []string{tree.BaselineFile}
		}
		if c.Accepted != nil {
			r.Detail = printable(c.Accepted.Reason)
		}
		return r
	})
}

func workloadRow(w *readiness.Workload) workload {
	out := workload{
		Name: line(w.Workload), Ready: w.Ready, Since: stamp(w.Since), Last: stamp(w.Last), Connections: w.Connections, New: w.New,
		Share: w.Coverage, Coverage: fmt.Sprintf("%.0f %%", 100*w.Coverage), Unseen: fmt.Sprintf("%.0f", math.Abs(w.Unseen)), Known: w.Coverage > 0,
	}
	for _, reason := range w.Why {
		out.Why = append(out.Why, line(reason))
	}
	return out
}

func byReason(listed []evidence.Listed) (groups []reason) {
	by := map[evidence.Reason][]evidence.Listed{}
	for _, l := range listed {
		by[l.Reason] = append(by[l.Reason], l)
	}
	for _, r := range reasons {
		if len(by[r]) > 0 {
			groups = append(groups, reason{r, meaning[r], cut(by[r], listedRow)})
		}
	}
	return groups
}

func excessOf(n *proposal.Namespace) excess {
	r := n.Report
	x := excess{
		Count: r.Excess.Count, LeftOut: r.Excess.Omitted, BeyondTop: max(0, r.Excess.Count-min(len(r.Excess.Pairs), maxRows)),
		Pairs: cut(r.Excess.Pairs, func(u *proof.Unseen) proof.Unseen {
			return proof.Unseen{From: printable(u.From), To: printable(u.To), Protocol: u.Protocol, Ports: printable(u.Ports)}
		}),
		Ranges: cut(r.Excess.Ranges, func(u *proof.Range) proof.Range {
			return proof.Range{Rule: printable(u.Rule), Range: printable(u.Range), Addresses: u.Addresses, Seen: u.Seen}
		}),
		Future: cut(r.Excess.Future, func(u *proof.Future) proof.Future {
			return proof.Future{Rule: printable(u.Rule), Pods: printable(u.Pods), Ports: printable(u.Ports)}
		}),
		Open: cut(r.Excess.Open, func(o *proof.Open) line { return line(fmt.Sprintf("%s, %s", o.Workload, o.Direction)) }),
		Shadowed: cut(r.Shadowed, func(s *proof.Shadowed) line {
			return line(fmt.Sprintf("%s, by %s", s.Rule, some(s.By)))
		}),
		Shared: cut(n.Shared, func(w **inventory.Workload) line {
			return line(fmt.Sprintf("The policy of %s applies to %s, too", (*w).Endpoint(), some((*w).Also)))
		}),
		Strays: lines(r.Strays), Idle: lines(r.SelectsNothing),
	}
	x.Anything = x.Count+x.Ranges.Total()+x.Future.Total()+x.Open.Total()+x.Shadowed.Total()+x.Shared.Total()+x.Strays.Total()+x.Idle.Total() > 0
	return x
}
