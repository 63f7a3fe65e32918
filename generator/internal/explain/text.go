// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// style is an escape sequence of a terminal.
type style string

const (
	plain style = ""
	bold  style = "\x1b[1m"
	red   style = "\x1b[1;31m"
	green style = "\x1b[1;32m"
	faint style = "\x1b[2m"
	reset       = "\x1b[0m"
)

// printer writes lines. What is in them cannot steer a terminal.
type printer struct {
	out    io.Writer
	colour bool
	err    error
}

func (p *printer) line(s style, format string, args ...any) {
	text := strings.TrimRight(strings.Map(printable, fmt.Sprintf(format, args...)), " ")
	if p.colour && s != plain && text != "" {
		text = string(s) + text + reset
	}
	if _, err := fmt.Fprintln(p.out, text); err != nil && p.err == nil {
		p.err = err
	}
}

func printable(r rune) rune {
	if !strconv.IsPrint(r) {
		return '?'
	}
	return r
}

// Text writes the report for a person.
func (r *Report) Text(out io.Writer, colour bool) error {
	p := &printer{out: out, colour: colour}
	headline := red
	if r.Allowed {
		headline = green
	}
	p.line(headline, "%s", r.Answer)
	for _, note := range r.Notes {
		p.line(faint, "  %s", note)
	}
	p.side("Egress", "from", &r.Egress)
	p.side("Ingress", "to", &r.Ingress)
	for _, side := range []*Side{&r.Egress, &r.Ingress} {
		p.nearest(side)
	}
	if r.Suggestion != nil {
		p.suggestion(r.Suggestion)
	}
	if len(r.Faults) > 0 {
		p.heading("Faults of policies")
		for _, f := range r.Faults {
			p.line(plain, "  %s", f)
		}
	}
	return p.err
}

func (p *printer) heading(format string, args ...any) {
	p.line(plain, "")
	p.line(bold, format, args...)
}

func (p *printer) side(name, preposition string, s *Side) {
	verdict := "denied"
	if s.Allowed {
		verdict = "allowed"
	}
	p.heading("%s %s: %s, because %s", name, preposition+" "+s.Self.text(), verdict, s.Because)
	if s.Self.Pod != "" || s.Self.Workload != "" {
		p.line(plain, "  labels       %s", labelText(s.Self.Labels))
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

// text names an end in a heading.
func (e *End) text() string {
	switch {
	case e.Pod != "":
		return "Pod " + e.Pod
	case e.Workload != "":
		return e.Workload
	case e.HostNetwork != "":
		return "Pod " + e.HostNetwork
	case e.Address != "":
		return e.Address
	}
	return "an unknown end"
}

func (p *printer) place(word string, at *Place) {
	p.line(plain, "  %-12s %s", word, at.text())
}

// text is the place in one phrase, with file:line at its end.
func (at *Place) text() string {
	text := at.object()
	if at.Index >= 0 {
		text += fmt.Sprintf(", %s rule %d", strings.ToLower(at.Direction.String()), at.Index)
	}
	if at.Rule != "" {
		text += fmt.Sprintf(" %q", at.Rule)
	}
	if at.Commit != "" {
		text += ", approved by " + at.Commit
	}
	return text + where(at.At)
}

func (at *Place) object() string {
	if at.Namespace == "" {
		return at.Kind + " " + at.Name
	}
	return at.Kind + " " + at.Namespace + "/" + at.Name
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
	p.heading("Nearest rule, of %d on the %s side", len(s.Considered)+s.Omitted, strings.ToLower(shown[0].Direction.String()))
	for _, r := range shown {
		p.line(plain, "  %s", r.Place.text())
		p.matched("peer", r.PeerMatched)
		p.matched("port", r.PortMatched)
		p.misses(r)
	}
}

func (p *printer) matched(what string, matched bool) {
	if matched {
		p.line(plain, "    %s matches", what)
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
			p.line(plain, "    %s %s%s", entry, why.Text, at)
			entry = strings.Repeat(" ", utf8.RuneCountInString(entry))
		}
	}
}

func (p *printer) suggestion(s *Suggestion) {
	p.heading("To allow it")
	if s.None != "" {
		p.line(plain, "  %s.", s.None)
		return
	}
	for i := range s.Steps {
		step, number := &s.Steps[i], ""
		if len(s.Steps) > 1 {
			number = fmt.Sprintf("%d. ", i+1)
		}
		p.line(plain, "  %s%s%s", number, step.text(), where(step.At))
		p.line(plain, "")
		for line := range strings.Lines(step.Fragment) {
			p.line(green, "    %s", strings.TrimSuffix(line, "\n"))
		}
		p.line(plain, "")
		p.line(faint, "  It opens %s.%s", step.Opens.text(), step.warning())
		if i+1 < len(s.Steps) {
			p.line(plain, "")
		}
	}
	p.line(faint, "  Tried on a copy of the objects: then the connection is allowed.")
}

func (s *Step) text() string {
	object := (&Place{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name}).object()
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
