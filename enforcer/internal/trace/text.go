// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"io"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// Text writes the report for a person.
func (r *Report) Text(out io.Writer, colour bool) error {
	p := &wording.Printer{Out: out, Colour: colour}
	p.Answer(r.Allowed, r.Answer, r.Notes)
	if r.Generation > 0 {
		p.Line(wording.Faint, "  Judged on node %s, by generation %d.", r.Node, r.Generation)
	}
	r.Egress.print(p, "Egress from")
	r.Ingress.print(p, "Ingress to")
	return p.Err()
}

func (s *Side) print(p *wording.Printer, name string) {
	verdict := "denied"
	switch {
	case s.Elsewhere != "":
		verdict = "not judged here"
	case s.Allowed:
		verdict = "allowed"
	case s.Passes:
		verdict = "denied, but passes"
	}
	p.Heading("%s %s: %s, because %s", name, s.Self.Text(), verdict, s.Because)
	word := "denied by"
	switch {
	case s.Allowed:
		word = "allowed by"
	case s.Reason == netpol.NoRule:
		word = "isolated by"
	}
	printPlaces(p, word, s.By)
	if s.Staged != nil {
		word := "staged: denied"
		if s.Staged.Allowed {
			word = "staged: allowed"
		}
		p.Line(wording.Plain, "  %s", word)
		printPlaces(p, "  by", s.Staged.By)
	}
	if s.Outdated {
		p.Line(wording.Plain, "  The objects of this moment say otherwise; they are not enforced yet.")
	}
}

// printPlaces ends each with its path.
func printPlaces(p *wording.Printer, word string, all []wording.Place) {
	for i := range all {
		p.Line(wording.Plain, "  %-12s %s  %s", word, all[i].Text(), all[i].Path)
	}
}
