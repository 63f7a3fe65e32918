// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"bufio"
	"fmt"
)

// labels names rows and columns: on two sides of the grid, in a large picture on all four.
func (l *layout) labels(out *bufio.Writer) {
	right, bottom := l.left+l.side, l.top+l.side
	fmt.Fprintf(out, `<text class="soft" %s>from ↓ to →</text>`+"\n", l.place(l.left-6, l.top-9, "end", 0))
	l.names(out, func(along float64) string { return l.place(l.left-6, l.top+along, "end", 0) })
	l.names(out, func(along float64) string { return l.place(l.left+along, l.top-2, "start", -90) })
	if l.repeats() {
		l.names(out, func(along float64) string { return l.place(right+6, l.top+along, "start", 0) })
		l.names(out, func(along float64) string { return l.place(l.left+along, bottom+6, "end", -90) })
	}
}

// place is the position of a label, read along a row or, turned, along a column.
func (l *layout) place(x, y float64, anchor string, turn int) string {
	if turn == 0 {
		return fmt.Sprintf(`text-anchor="%s" x="%g" y="%g"`, anchor, round(x), round(y+4))
	}
	return fmt.Sprintf(`text-anchor="%s" transform="translate(%g %g) rotate(%d)"`, anchor, round(x+4), round(y), turn)
}

// names writes a label for each group and each node. At places one whose middle is so far along the grid.
func (l *layout) names(out *bufio.Writer, at func(along float64) string) {
	for _, g := range l.groups {
		fmt.Fprintf(out, `<text class="head %s" %s>%s<title>%s</title></text>`+"\n",
			g.form, at(l.at(g.first)-lineHigh/2), escapeXML(shorten(g.name, widestName)), escapeXML(g.name))
	}
	for i, n := range l.nodes {
		fmt.Fprintf(out, `<text class="%s" %s>%s`, n.form, at(l.at(i)+l.cell/2), escapeXML(n.shown()))
		if n.kind != "" {
			fmt.Fprintf(out, `<tspan class="kind" dx="4">%s</tspan>`, escapeXML(shorten(n.kind, widestKind)))
		}
		fmt.Fprintf(out, "<title>%s</title></text>\n", escapeXML(n.full))
	}
}

func (f form) String() string {
	return [...]string{workloads: "workload", outside: "outside", future: "future"}[f]
}
