// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"bufio"
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// classes is how many classes there are.
const classes = everything + 1

func (c class) String() string {
	return [...]string{narrow: "narrow", broad: "broad", everything: "everything"}[c]
}

// signs are the letters of sets of ports, from the most frequent one on; all ports are allSign, and sets
// after the last letter restSign.
const (
	signs    = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	allSign  = "✱"
	restSign = "+"
)

// codes are the letters of sets of ports.
type codes struct {
	bySet map[int]string
	order []int // sets with letters, in the order of the letters
	rest  int   // sets without a letter of their own
}

func encode(p *picture) codes {
	used := make([]int, len(p.sets))
	c := codes{bySet: map[int]string{}}
	for _, cell := range p.cells {
		used[cell.sets[0]]++
	}
	for i := range p.sets {
		if used[i] > 0 {
			c.order = append(c.order, i)
		}
	}
	slices.SortFunc(c.order, func(a, b int) int {
		all := cmp.Compare(p.sets[b].class/everything, p.sets[a].class/everything)
		return cmp.Or(all, used[b]-used[a], cmp.Compare(p.sets[a].text, p.sets[b].text))
	})
	letters := 0
	for n, i := range c.order {
		switch {
		case p.sets[i].class == everything:
			c.bySet[i] = allSign
		case letters < len(signs):
			c.bySet[i] = signs[letters : letters+1]
			letters++
		default:
			c.rest = len(c.order) - n
			c.order = c.order[:n]
			return c
		}
	}
	return c
}

// says is the text of a cell: the sign of a set of ports or, in a summary, a count.
func (l *layout) says(c cell) string {
	if l.summary {
		return count(c.pairs) + [...]string{narrow: "", broad: restSign, everything: allSign}[c.class]
	}
	return cmp.Or(l.codes.bySet[c.sets[0]], restSign)
}

// count is a number in at most three digits or so: the tooltip has it in full.
func count(n int) string {
	switch {
	case n >= 1_000_000:
		return strconv.Itoa(n/1_000_000) + "M"
	case n >= 1000:
		return strconv.Itoa(n/1000) + "k"
	}
	return strconv.Itoa(n)
}

// entry is a line of the legend.
type entry struct {
	class class
	sign  string
	text  string
}

// legend says what colours and letters mean.
func (l *layout) legend() []entry {
	if l.summary {
		return []entry{
			{everything, "n" + allSign, "connections between the two, at least one of them on all ports"},
			{broad, "n" + restSign, "connections, at least one of them on every port of a protocol"},
			{narrow, "n", "connections, each on some ports"},
		}
	}
	var entries []entry
	for _, i := range l.codes.order {
		text := l.sets[i].text
		if l.sets[i].class == everything {
			text = "all ports and protocols"
		}
		entries = append(entries, entry{l.sets[i].class, l.codes.bySet[i], shorten(text, 80)})
	}
	if l.codes.rest > 0 {
		entries = append(entries, entry{narrow, restSign, plural(l.codes.rest, "more set") + " of ports: see the cell's tooltip"})
	}
	return entries
}

// entryWidth is how wide an entry of the legend is.
func entryWidth(entries []entry) float64 {
	widest := 0
	for _, e := range entries {
		widest = max(widest, columns([]rune(e.text)))
	}
	return 30 + float64(widest)*letter + margin
}

// legendColumns is how many entries stand side by side.
func (l *layout) legendColumns() int {
	return max(1, int((l.width-margin)/entryWidth(l.legend())))
}

// legendRows is how many lines the legend takes.
func (l *layout) legendRows() int {
	return (len(l.legend()) + l.legendColumns() - 1) / l.legendColumns()
}

// key draws the legend. The first line's letters stand on y.
func (l *layout) key(out *bufio.Writer, y float64) {
	entries, rows := l.legend(), l.legendRows()
	for i, e := range entries {
		e.draw(out, margin+float64(i/rows)*entryWidth(entries), y+float64(i%rows)*lineHigh)
	}
}

func (e entry) draw(out *bufio.Writer, x, y float64) {
	fmt.Fprintf(out, `<rect class="%s" x="%g" y="%g" width="22" height="16"/>`, e.class, x, y-12)
	fmt.Fprintf(out, `<g class="codes"><text class="%s" x="%g" y="%g">%s</text></g>`, e.class, x+11, y, e.sign)
	fmt.Fprintf(out, `<text x="%g" y="%g">%s</text>`+"\n", x+30, y, escapeXML(e.text))
}
