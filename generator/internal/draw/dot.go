// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"fmt"
	"strings"
)

// Labels in graphs are cut to so many letters.
const (
	nameWidth  = 60
	portsWidth = 80
	noteWidth  = 300
)

var dotShapes = map[form]string{
	workloads: `shape=box, style="rounded,filled", fillcolor="#ffffff"`,
	outside:   `shape=ellipse, style=filled, fillcolor="#eef1f5"`,
	future:    `shape=box, style=dashed`,
}

func dot(p *picture, bundles []bundle) string {
	var b strings.Builder
	b.WriteString("digraph connections {\n")
	for _, note := range p.notes {
		fmt.Fprintf(&b, "  // %s\n", shorten(note, noteWidth))
	}
	if p.summary { // the one note that a reader of the picture must see
		fmt.Fprintf(&b, "  label=%s;\n  labelloc=t;\n", quoteDOT(p.notes[0]))
	}
	// Without newrank Graphviz fails on many arrows between many boxes: "trouble in init_rank".
	b.WriteString("  graph [compound=true, newrank=true, rankdir=LR, nodesep=0.3, ranksep=1.2, fontname=\"Helvetica\", fontsize=12];\n")
	b.WriteString("  node [fontname=\"Helvetica\", fontsize=11, margin=\"0.12,0.06\"];\n")
	b.WriteString("  edge [fontname=\"Helvetica\", fontsize=9, color=\"#57606a\", arrowsize=0.7];\n")
	for i, g := range p.groups {
		indent := "  "
		if p.boxed(g) {
			fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%s;\n    style=\"rounded,filled\";\n    color=\"#afb8c1\";\n    fillcolor=\"#f6f8fa\";\n",
				i, quoteLines(p.titles(i, bundles)))
			indent = "    "
		}
		for n := g.first; n <= g.last; n++ {
			fmt.Fprintf(&b, "%sn%d [%s, label=%s];\n", indent, n, dotShapes[g.form], dotLabel(p.nodes[n]))
		}
		if p.boxed(g) {
			b.WriteString("  }\n")
		}
	}
	for _, edge := range bundles {
		if !edge.within() {
			fmt.Fprintf(&b, "  n%d -> n%d [label=%s%s];\n", edge.from.first, edge.to.first, quoteDOT(shorten(p.passes(edge.cell), portsWidth)), clusters(edge))
		}
	}
	b.WriteString("}\n")
	return b.String()
}

// boxed says whether the group has a box around it.
func (p *picture) boxed(g group) bool { return g.form == workloads && !p.summary }

// titles are the lines above a namespace: its name, and what is true of all of it.
func (p *picture) titles(g int, bundles []bundle) []string {
	lines := []string{shorten(p.groups[g].name, nameWidth)}
	for _, b := range bundles {
		if b.within() && b.from.group == g {
			lines = append(lines, p.among(b))
		}
	}
	return lines
}

// among says what passes inside a namespace.
func (p *picture) among(b bundle) string {
	ports := shorten(p.passes(b.cell), portsWidth)
	if b.selves {
		return "every pod to every pod here: " + ports
	}
	return "every workload to every other here: " + ports
}

func dotLabel(n node) string {
	name := escapeXML(shorten(n.name, nameWidth))
	if n.kind == "" {
		return "<" + name + ">"
	}
	return fmt.Sprintf(`<%s<br/><font point-size="8" color="#57606a">%s</font>>`, name, escapeXML(shorten(n.kind, nameWidth)))
}

func quoteLines(lines []string) string {
	var parts []string
	for _, line := range lines {
		parts = append(parts, quoted.Replace(clean(line)))
	}
	return `"` + strings.Join(parts, `\n`) + `"`
}

// clusters ends an arrow at the box where it means all that is in it.
func clusters(b bundle) string {
	var ends string
	if b.from.group >= 0 {
		ends += fmt.Sprintf(", ltail=cluster_%d", b.from.group)
	}
	if b.to.group >= 0 {
		ends += fmt.Sprintf(", lhead=cluster_%d", b.to.group)
	}
	return ends
}
