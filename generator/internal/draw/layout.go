// SPDX-License-Identifier: Apache-2.0

package draw

import "fmt"

// Lengths are in pixels.
const (
	margin   = 24
	letter   = 6.6 // about the width of a letter; more than most fonts need
	lineHigh = 18
	indent   = 12 // of a workload under its namespace
	// repeatFrom is the number of nodes from which on the labels are on all four sides.
	repeatFrom = 25
	// widestName is how many letters of a name the matrix shows; the tooltip has all of them.
	widestName = 32
	widestKind = 14
	// widestPhrase is the same of addresses and of pods that do not exist yet.
	widestPhrase = 48
	// narrowest holds the title and the sentences under it.
	narrowest = 640
)

// layout says where the parts of a matrix are.
type layout struct {
	*picture
	cell          float64 // width and height of a cell
	label         float64 // width of the labels of rows, height of those of columns
	head          float64 // height of what is above the labels of columns
	left, top     float64 // where the grid begins
	side          float64 // width and height of the grid
	width, height float64
	codes         codes
	prose         []string // the lines under the title
}

func arrange(p *picture) *layout {
	l := &layout{picture: p, cell: 20, codes: encode(p)}
	if p.summary {
		l.cell = 32
	}
	for _, n := range p.nodes {
		l.label = max(l.label, indent+6+float64(columns([]rune(labelled(n))))*letter)
	}
	for _, g := range p.groups {
		l.label = max(l.label, 6+float64(columns([]rune(shorten(g.name, widestName))))*letter*1.1)
	}
	l.side = float64(len(p.nodes))*l.cell + float64(len(p.groups))*lineHigh
	l.left = margin + l.label
	l.width = l.left + l.side + margin
	if l.repeats() {
		l.width += l.label
	}
	l.width = max(l.width, narrowest)
	for _, text := range append([]string{l.sentence(), l.manual()}, l.notes...) {
		l.prose = append(l.prose, wrap(shorten(text, noteWidth), int((l.width-2*margin)/letter))...)
	}
	l.head = float64(margin + lineHigh*(2+len(l.prose)+l.legendRows()))
	l.top = l.head + l.label
	l.height = l.top + l.side + margin
	if l.repeats() {
		l.height += l.label
	}
	return l
}

func (l *layout) repeats() bool { return len(l.nodes) >= repeatFrom }

// at is where a node's row or column begins, from the first row or column on. Each group has a heading before it.
func (l *layout) at(n int) float64 {
	return float64(n)*l.cell + float64(l.nodes[n].group+1)*lineHigh
}

// span is where the nodes of a side begin, and how long they are.
func (l *layout) span(s side) (at, length float64) {
	return l.at(s.first), l.at(s.last) + l.cell - l.at(s.first)
}

// shown is the node's name in the matrix.
func (n node) shown() string {
	if n.form != workloads {
		return shorten(n.name, widestPhrase)
	}
	return shorten(n.name, widestName)
}

// labelled is about what a node's label shows, to measure it.
func labelled(n node) string {
	if n.kind == "" {
		return n.shown()
	}
	return n.shown() + " " + shorten(n.kind, widestKind)
}

// sentence is the picture for those who do not see it.
func (l *layout) sentence() string {
	what := map[form]int{}
	for _, n := range l.nodes {
		what[n.form]++
	}
	ends := plural(what[workloads], "workload")
	if l.summary {
		ends = plural(what[workloads], "namespace")
	}
	if n := what[outside]; n > 0 && !l.summary {
		ends += ", " + plural(n, "range") + " of addresses outside"
	}
	if n := what[future]; n > 0 && !l.summary {
		ends += ", " + plural(n, "kind") + " of pods that do not exist yet"
	}
	pairs := 0
	for _, c := range l.cells {
		pairs += c.pairs
	}
	return fmt.Sprintf("%s: %s.", ends, plural(pairs, "connection"))
}

// manual says how to read the picture.
func (l *layout) manual() string {
	text := "A row connects to a column. Nothing may pass where a cell is empty."
	if !l.summary {
		text += " A darker cell is an end and itself: one of its pods to another."
	}
	return text
}
