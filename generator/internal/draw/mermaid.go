// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"fmt"
	"strings"
)

// mermaidShapes are the brackets around a label.
var mermaidShapes = map[form][2]string{
	workloads: {"[", "]"},
	outside:   {"([", "])"},
	future:    {"{{", "}}"},
}

func mermaid(p *picture, bundles []bundle) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for _, note := range p.notes {
		fmt.Fprintf(&b, "  %%%% %s\n", mermaidText(note, noteWidth))
	}
	if p.summary { // the one note that a reader of the picture must see
		fmt.Fprintf(&b, "  note[\"%s\"]\n", mermaidText(p.notes[0], noteWidth))
	}
	for i, g := range p.groups {
		indent := "  "
		if p.boxed(g) {
			fmt.Fprintf(&b, "  subgraph g%d[\"%s\"]\n", i, mermaidLines(p.titles(i, bundles)))
			indent = "    "
		}
		for n := g.first; n <= g.last; n++ {
			shape := mermaidShapes[g.form]
			fmt.Fprintf(&b, "%sn%d%s\"%s\"%s\n", indent, n, shape[0], mermaidLabel(p.nodes[n]), shape[1])
		}
		if p.boxed(g) {
			b.WriteString("  end\n")
		}
	}
	for _, edge := range bundles {
		if !edge.within() {
			fmt.Fprintf(&b, "  %s -->|\"%s\"| %s\n", mermaidSide(edge.from), mermaidText(p.passes(edge.cell), portsWidth), mermaidSide(edge.to))
		}
	}
	return b.String()
}

func mermaidText(text string, width int) string { return escapeMermaid(shorten(text, width)) }

func mermaidLabel(n node) string {
	label := mermaidText(n.name, nameWidth)
	if n.kind != "" {
		label += "<br/><small>" + mermaidText(n.kind, nameWidth) + "</small>"
	}
	return label
}

func mermaidLines(lines []string) string {
	for i, line := range lines {
		lines[i] = escapeMermaid(line)
	}
	return strings.Join(lines, "<br/>")
}

func mermaidSide(s side) string {
	if s.group >= 0 {
		return fmt.Sprintf("g%d", s.group)
	}
	return fmt.Sprintf("n%d", s.first)
}
