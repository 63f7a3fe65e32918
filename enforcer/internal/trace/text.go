// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"io"
	"strconv"
	"strings"

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
	if r.Generation > 0 {
		p.line(faint, "  Judged on node %s, by generation %d.", r.Node, r.Generation)
	}
	p.side("Egress", "from", &r.Egress)
	p.side("Ingress", "to", &r.Ingress)
	return p.err
}

func (p *printer) side(name, preposition string, s *Side) {
	verdict := "denied"
	switch {
	case s.Elsewhere != "":
		verdict = "not judged here"
	case s.Allowed:
		verdict = "allowed"
	case s.Passes:
		verdict = "denied, but passes"
	}
	p.line(plain, "")
	p.line(bold, "%s %s %s: %s, because %s", name, preposition, s.Self.text(), verdict, s.Because)
	word := "denied by"
	switch {
	case s.Allowed:
		word = "allowed by"
	case s.Reason == netpol.NoRule:
		word = "isolated by"
	}
	p.places(word, s.By)
	if s.Staged != nil {
		word := "staged: denied"
		if s.Staged.Allowed {
			word = "staged: allowed"
		}
		p.line(plain, "  %s", word)
		p.places("  by", s.Staged.By)
	}
	if s.Outdated {
		p.line(plain, "  The objects of this moment say otherwise; they are not enforced yet.")
	}
}

func (p *printer) places(word string, all []Place) {
	for i := range all {
		p.line(plain, "  %-12s %s", word, all[i].text())
	}
}

// text is the place in one phrase, with its path at the end.
func (at *Place) text() string {
	text := at.Kind + " " + strings.TrimPrefix(at.Namespace+"/"+at.Name, "/")
	if at.Index >= 0 {
		text += fmt.Sprintf(", %s rule %d", strings.ToLower(at.Direction), at.Index)
	}
	if at.Rule != "" {
		text += fmt.Sprintf(" %q", at.Rule)
	}
	if at.Commit != "" {
		text += ", approved by " + at.Commit
	}
	return text + "  " + at.Path
}

// text names an end in a heading.
func (e *End) text() string {
	switch {
	case e.Pod != "":
		return "Pod " + e.Pod
	case e.HostNetwork != "":
		return "Pod " + e.HostNetwork
	case e.Address != "":
		return e.Address
	}
	return "an unknown end"
}
