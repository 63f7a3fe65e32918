// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"bufio"
	_ "embed"
	"fmt"
)

//go:embed style.css
var style string

func matrix(out *bufio.Writer, p *picture) {
	l := arrange(p)
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif" font-size="11" role="img" aria-labelledby="bulkhead-title bulkhead-desc">`+"\n",
		l.width, l.height, l.width, l.height)
	fmt.Fprintf(out, "<title id=\"bulkhead-title\">What may connect to what</title>\n<desc id=\"bulkhead-desc\">%s</desc>\n<style>\n%s</style>\n", escapeXML(l.sentence()+" "+l.manual()), style)
	fmt.Fprintf(out, `<rect class="paper" width="%.0f" height="%.0f"/>`+"\n", l.width, l.height)
	l.heading(out)
	l.tiles(out)
	l.cellsOf(out)
	l.lines(out)
	l.letters(out)
	l.labels(out)
	fmt.Fprintln(out, "</svg>")
}

func (l *layout) heading(out *bufio.Writer) {
	y := float64(margin + 12)
	fmt.Fprintf(out, `<text class="h1" x="%d" y="%.1f">What may connect to what</text>`+"\n", margin, y)
	for _, line := range l.prose {
		y += lineHigh
		fmt.Fprintf(out, `<text class="soft" x="%d" y="%.1f">%s</text>`+"\n", margin, y, escapeXML(line))
	}
	l.key(out, y+lineHigh+4)
}

// tiles are the empty cells: one surface for each two groups, with those of an end to itself darker. No
// policy judges what passes between two ends that are not workloads: they have none.
func (l *layout) tiles(out *bufio.Writer) {
	for row, from := range l.groups {
		for column, to := range l.groups {
			if from.form == workloads || to.form == workloads {
				l.rect(out, `class="tile"`, l.picture.side(row), l.picture.side(column), "")
			}
		}
	}
	for n := range l.nodes {
		if l.nodes[n].form == workloads && !l.summary {
			l.rect(out, `class="self"`, one(n), one(n), "")
		}
	}
}

// rect draws a rectangle over the rows and columns. Title is what a pointer on it shows; empty: nothing.
func (l *layout) rect(out *bufio.Writer, attributes string, rows, columns side, title string) {
	y, height := l.span(rows)
	x, width := l.span(columns)
	fmt.Fprintf(out, `<rect %s x="%g" y="%g" width="%g" height="%g"`, attributes, round(l.left+x), round(l.top+y), width, height)
	if title == "" {
		fmt.Fprintln(out, "/>")
		return
	}
	fmt.Fprintf(out, "><title>%s</title></rect>\n", escapeXML(title))
}

func round(x float64) float64 { return float64(int(x*10+0.5)) / 10 }

// cellsOf colours the cells. A bundle comes before the cells that lie in it.
func (l *layout) cellsOf(out *bufio.Writer) {
	fmt.Fprintln(out, `<g class="cells">`)
	covered := map[int]bool{} // cells of an end and itself that a bundle covers without meaning them
	for _, b := range l.bundles() {
		l.rect(out, `class="`+b.cell.class.String()+`"`, b.from, b.to, l.tooltip(b))
		for n := b.from.first; b.within() && n <= b.from.last; n++ {
			covered[n] = !b.selves
		}
		if b.from == b.to {
			covered[b.from.first] = covered[b.from.first] && b.within()
		}
	}
	for n := range l.nodes {
		if covered[n] {
			l.rect(out, `class="self"`, one(n), one(n), "")
		}
	}
	fmt.Fprintln(out, "</g>")
}

// tooltip is the connection in one sentence.
func (l *layout) tooltip(b bundle) string {
	passes := shorten(l.passes(b.cell), noteWidth)
	if b.within() {
		return "In namespace " + clean(l.groups[b.from.group].name) + ", " + l.among(b)
	}
	return clean(l.named(b.from)) + " → " + clean(l.named(b.to)) + ": " + passes
}

func (l *layout) named(s side) string {
	if s.group >= 0 {
		return "every workload of namespace " + l.groups[s.group].name
	}
	return l.nodes[s.first].full
}

// lines divide the tiles into cells.
func (l *layout) lines(out *bufio.Writer) {
	fmt.Fprint(out, `<path class="grid" d="`)
	for n := range l.nodes {
		at := l.at(n)
		fmt.Fprintf(out, "M%g %gh%gM%g %gv%g", round(l.left), round(l.top+at), round(l.side), round(l.left+at), round(l.top), round(l.side))
	}
	fmt.Fprintln(out, `"/>`)
}

// letters are what the cells say.
func (l *layout) letters(out *bufio.Writer) {
	fmt.Fprintln(out, `<g class="codes">`)
	for class := range classes {
		fmt.Fprintf(out, `<g class="%s">`+"\n", class)
		for _, c := range l.cells {
			if c.class == class {
				fmt.Fprintf(out, `<text class="%s" x="%g" y="%g">%s</text>`+"\n", class,
					round(l.left+l.at(c.to)+l.cell/2), round(l.top+l.at(c.from)+l.cell/2+4), l.says(c))
			}
		}
		fmt.Fprintln(out, "</g>")
	}
	fmt.Fprintln(out, "</g>")
}
