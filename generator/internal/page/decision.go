// SPDX-License-Identifier: Apache-2.0

package page

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// planHead begins a plan; decisions follow.
const planHead = "apiVersion: bulkhead.dev/v1alpha1\nkind: Plan\ndecisions:\n"

const (
	maxQuestions = 50 // that are asked on a page
	maxPorts     = 40 // ranges of ports in a question
)

// question is what a person is asked to decide: the connections between two ends that were not learned for the same
// reason.
type question struct {
	From, To       string
	Ports          string
	Reason         evidence.Reason
	Detail         string
	Flows          string
	First, Last    stamp
	Accept, Reject string // for the plan; empty: no plan can name its ends
	More           int    // ranges of ports that are left out
}

// ask groups what a plan can decide about.
func ask(listed []evidence.Listed) table[question] {
	type about struct {
		from, to edge.Endpoint
		reason   evidence.Reason
	}
	var order []about
	groups := map[about][]*evidence.Listed{}
	for i := range listed {
		l := &listed[i]
		if !undecided(l) {
			continue
		}
		k := about{l.Edge.From, l.Edge.To, l.Reason}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], l)
	}
	slices.SortStableFunc(order, func(a, b about) int { return slices.Index(reasons, a.reason) - slices.Index(reasons, b.reason) })
	t := table[question]{More: max(0, len(order)-maxQuestions)}
	for _, k := range order[:len(order)-t.More] {
		t.Rows = append(t.Rows, questionOf(groups[k]))
	}
	return t
}

// undecided: a plan would be asked about the connection, and has not said anything. What was dropped and cannot be
// attributed carries the side at which it was seen.
func undecided(l *evidence.Listed) bool {
	return slices.Contains(reasons[:slices.Index(reasons, evidence.Rejected)], l.Reason) && l.Edge.Side == flows.SideUnknown && l.Edge.Port != 0
}

func questionOf(all []*evidence.Listed) question {
	l := all[0]
	q := question{From: printable(l.Edge.From.String()), To: printable(l.Edge.To.String()), Reason: l.Reason, Detail: printable(l.Detail)}
	var (
		seen        []netpol.PortRange
		count       uint64
		about       bool
		first, last time.Time
	)
	for _, l := range all {
		seen = append(seen, netpol.PortRange{Protocol: l.Edge.Protocol, From: l.Edge.Port, To: l.Edge.Port})
		n, estimated := l.Edge.Flows.Value()
		count, about = count+n, about || estimated
		if first.IsZero() || l.Edge.First.Before(first) {
			first = l.Edge.First
		}
		if l.Edge.Last.After(last) {
			last = l.Edge.Last
		}
	}
	q.Flows, q.First, q.Last = flowText(count, about), stamp(first), stamp(last)
	ports := portTexts(seen)
	q.More = max(0, len(ports)-maxPorts)
	ports = ports[:len(ports)-q.More]
	q.Ports = strings.Join(ports, ", ")
	why := fmt.Sprintf("%s, %s flows, last on %s", l.Reason, q.Flows, last.UTC().Format(time.DateOnly))
	q.Accept = decision("accept", l.Edge.Key, ports, why)
	q.Reject = decision("reject", l.Edge.Key, ports, why)
	return q
}

func portTexts(seen []netpol.PortRange) (texts []string) {
	for _, r := range netpol.Ports(seen...).Ranges() {
		text := fmt.Sprintf("%s/%d", r.Protocol, r.From)
		if r.To != r.From {
			text += fmt.Sprintf("-%d", r.To)
		}
		texts = append(texts, text)
	}
	return texts
}

// decision is an item of a plan. It is read back: empty where a plan would not understand it so.
func decision(verb string, k edge.Key, ports []string, why string) string {
	text := fmt.Sprintf("- %s:\n    from: %s\n    to: %s\n    ports: [%s]\n  reason: %s\n", verb, scalar(planEnd(k.From)), scalar(planEnd(k.To)), strings.Join(ports, ", "), scalar(why))
	p, err := plan.Parse([]byte(planHead + text))
	if err != nil {
		return ""
	}
	if d := p.Decide(k.From, k.To, k.Protocol, k.Port); d == nil || d.Accept != (verb == "accept") {
		return ""
	}
	return text
}

// planEnd is an end as plans name it.
func planEnd(e edge.Endpoint) string {
	if e.IsPod() {
		return e.String()
	}
	return e.Addr.String()
}

var plain = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ./,_-]*$`)

// scalar is a text in YAML, in which nothing is hidden: YAML reads what Go quotes.
func scalar(text string) string {
	if plain.MatchString(text) && !strings.HasSuffix(text, " ") {
		return text
	}
	return strconv.Quote(text)
}
