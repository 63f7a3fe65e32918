// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// printer writes reports.
type printer struct{ wording.Printer }

// Text writes the report for a person.
func (r *Report) Text(out io.Writer, colour bool) error {
	p := &printer{wording.Printer{Out: out, Colour: colour}}
	p.Answer(r.Allowed, r.Answer, r.Notes)
	p.side("Egress from", &r.Egress)
	p.side("Ingress to", &r.Ingress)
	for _, side := range []*Side{&r.Egress, &r.Ingress} {
		p.nearest(side)
	}
	if r.Suggestion != nil {
		p.suggestion(r.Suggestion)
	}
	if len(r.Faults) > 0 {
		p.Heading("Faults of policies")
		for _, f := range r.Faults {
			p.Line(wording.Plain, "  %s", f)
		}
	}
	return p.Err()
}

func (p *printer) side(name string, s *Side) {
	verdict := "denied"
	if s.Allowed {
		verdict = "allowed"
	}
	p.Heading("%s %s: %s, because %s", name, s.Self.Text(), verdict, s.Because)
	if s.Self.Pod != "" || s.Self.Workload != "" {
		p.Line(wording.Plain, "  labels       %s", labelText(s.Self.Labels))
	}
	if s.Passed != nil {
		p.place("passed by", s.Passed)
	}
	switch {
	case s.Rule != nil && s.Allowed:
		p.place("allowed by", s.Rule)
	case s.Rule != nil:
		p.place("denied by", s.Rule)
	case s.Reason == netpol.NoRule:
		for i := range s.Policies {
			if s.Policies[i].Kind == "NetworkPolicy" {
				p.place("isolated by", &s.Policies[i])
			}
		}
	}
}

func (p *printer) place(word string, at *wording.Place) {
	p.Line(wording.Plain, "  %-12s %s", word, at.Text()+where(at.At))
}

func where(at string) string {
	if at == "" {
		return ""
	}
	return "  " + at
}

// maxShown bounds the rules of one side that are shown; the others are in JSON.
const maxShown = 3

// nearest shows the rules that nearly allowed what was denied: the nearest, and those as near.
func (p *printer) nearest(s *Side) {
	var shown []*Rule
	for i := range s.Considered {
		r := &s.Considered[i]
		if s.Allowed || s.Rule != nil || r.Action != netpol.Allow.String() || len(shown) == maxShown || len(shown) > 0 && r.distance > shown[0].distance {
			continue
		}
		shown = append(shown, r)
	}
	if len(shown) == 0 {
		return
	}
	p.Heading("Nearest rule, of %d on the %s side", len(s.Considered)+s.Omitted, strings.ToLower(shown[0].Direction))
	for _, r := range shown {
		p.Line(wording.Plain, "  %s", r.Text()+where(r.At))
		p.matched("peer", r.PeerMatched)
		p.matched("port", r.PortMatched)
		p.misses(r)
	}
}

func (p *printer) matched(what string, matched bool) {
	if matched {
		p.Line(wording.Plain, "    %s matches", what)
	}
}

// misses shows the nearest entry of peers and of ports.
func (p *printer) misses(r *Rule) {
	seen := ""
	for _, m := range r.Misses {
		list, _, _ := strings.Cut(strings.TrimPrefix(m.Path, r.Path+"."), "[")
		if list == seen {
			continue
		}
		seen = list
		entry := strings.TrimPrefix(m.Path, r.Path+".")
		for i, why := range m.Why {
			at := ""
			if i == 0 {
				at = where(m.At)
			}
			p.Line(wording.Plain, "    %s %s%s", entry, why.Text, at)
			entry = strings.Repeat(" ", utf8.RuneCountInString(entry))
		}
	}
}

func (p *printer) suggestion(s *Suggestion) {
	p.Heading("To allow it")
	if s.None != "" {
		p.Line(wording.Plain, "  %s.", s.None)
		return
	}
	for i := range s.Steps {
		step, number := &s.Steps[i], ""
		if len(s.Steps) > 1 {
			number = fmt.Sprintf("%d. ", i+1)
		}
		p.Line(wording.Plain, "  %s%s%s", number, step.text(), where(step.At))
		p.Line(wording.Plain, "")
		for line := range strings.Lines(step.Fragment) {
			p.Line(wording.BoldGreen, "    %s", strings.TrimSuffix(line, "\n"))
		}
		p.Line(wording.Plain, "")
		p.Line(wording.Faint, "  It opens %s.%s", step.Opens.text(), step.warning())
		if i+1 < len(s.Steps) {
			p.Line(wording.Plain, "")
		}
	}
	p.Line(wording.Faint, "  Tried on a copy of the objects: then the connection is allowed.")
}

func (s *Step) text() string {
	object := (&wording.Place{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name}).Object()
	switch s.Verb {
	case AddPort:
		return fmt.Sprintf("Add this port to %s of %s:", s.Path, object)
	case AddPeer:
		return fmt.Sprintf("Add this peer to %s of %s:", s.Path, object)
	case AddRule:
		return fmt.Sprintf("Add this rule to %s of %s:", s.Path, object)
	case Replace:
		return fmt.Sprintf("Replace %s of %s, which matches nobody, by:", s.path(), object)
	case PutBefore:
		return fmt.Sprintf("Put this rule before %s of %s, or change that:", s.path(), object)
	}
	return "Add this policy:"
}

// warning says what else a person should know; empty, or it begins with a space.
func (s *Step) warning() string {
	switch {
	case s.FromGit:
		return " Change it in the policy repository, from which it is written."
	case s.Verb == PutBefore && strings.Contains(s.Fragment, "action: Accept"):
		return " No NetworkPolicy is asked about it any more; with Pass they are."
	}
	return ""
}

func (o *Opening) text() string {
	pairs := fmt.Sprintf("%d pairs of pods or addresses", o.Pairs)
	switch {
	case o.AtLeast:
		pairs = "at least " + pairs
	case o.Pairs == 1:
		pairs = "this pair and no other that is known"
	}
	if o.Ports > o.Pairs {
		pairs += fmt.Sprintf(", %d ports of them together", o.Ports)
	}
	return pairs
}
