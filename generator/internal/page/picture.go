// SPDX-License-Identifier: Apache-2.0

package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// graph is a picture, ready for the template.
type graph struct {
	Width, Height string
	Sentence      string // the picture for those who do not see it
	Columns       []columnHead
	Boxes         []drawnBox
	Arcs          []drawnArc
	Fates         []fate // that occur
	Baseline      int    // connections that are not drawn because the baseline allows them
	LeftOut       int    // arcs that are not drawn
}

type columnHead struct{ X, Width, Text string }

type drawnBox struct {
	N                                        int
	X, Y, Width, Height                      string
	TextX, TextY, BelowY, Name, Below, Title string
	Place                                    string
}

type drawnArc struct {
	From, To    int
	Path, Arrow string
	Fate        fate
	Title       string
}

// px is a length with one decimal.
func px(x float64) string { return fmt.Sprintf("%.1f", x) }

func (b *box) right() float64 { return b.left + boxWidth }

func (p *plane) draw() *graph {
	g := &graph{Baseline: p.baseline, LeftOut: p.leftOut}
	width, height := 0.0, 0.0
	number := map[*box]int{}
	for _, column := range p.columns {
		for _, b := range column {
			width, height = max(width, b.right()+margin), max(height, b.at+b.height/2+margin)
			if !b.drop {
				number[b] = len(number)
				g.Boxes = append(g.Boxes, b.drawn(number[b]))
			}
		}
	}
	doors := p.doors()
	slices.SortStableFunc(p.arcs, func(a, b *arc) int { return slices.Index(fates, a.fate) - slices.Index(fates, b.fate) })
	for _, a := range p.arcs {
		path, arrow, reach := a.drawn(doors)
		width = max(width, reach+margin)
		title := fmt.Sprintf("%s → %s, %s: %s", a.from.full(), a.to.full(), printable(some(a.ports)), a.fate)
		g.Arcs = append(g.Arcs, drawnArc{number[a.from], number[a.to], path, arrow, a.fate, title})
		if !slices.Contains(g.Fates, a.fate) {
			g.Fates = append(g.Fates, a.fate)
		}
	}
	g.Width, g.Height = px(width), px(height)
	g.Columns = p.heads()
	g.Sentence = fmt.Sprintf("%d ends and %d arrows between them. The tables below say the same in words.", len(g.Boxes), len(g.Arcs))
	return g
}

// heads say what columns have in common.
func (p *plane) heads() (heads []columnHead) {
	for _, part := range []struct {
		place place
		text  string
	}{{source, "comes from"}, {own, "namespace " + p.namespace}, {destination, "goes to"}} {
		for _, column := range p.columns {
			if i := slices.IndexFunc(column, func(b *box) bool { return !b.drop && b.place == part.place }); i >= 0 {
				heads = append(heads, columnHead{px(column[i].left), px(boxWidth), shorten(part.text, maxSubtitle)})
				break
			}
		}
	}
	return heads
}

func (b *box) drawn(n int) drawnBox {
	name, below := b.label()
	top := b.at - b.height/2
	return drawnBox{
		N: n, X: px(b.left), Y: px(top), Width: px(boxWidth), Height: px(b.height),
		TextX: px(b.left + 10), TextY: px(top + 19), BelowY: px(top + 35), Name: name, Below: below, Title: b.full() + servesText(b.serves),
		Place: [...]string{source: "outside", own: "own", destination: "outside"}[b.place],
	}
}

func servesText(ports []string) string {
	if len(ports) == 0 {
		return ""
	}
	return ", at " + some(ports)
}

// door is where an arc touches a box.
type door struct {
	arc   *arc
	right bool // the box's right side
}

// doors spreads the arcs over the sides of their boxes, in the order of where they lead.
func (p *plane) doors() map[door]float64 {
	sides := map[*box]*[2][]door{}
	leads := map[door]float64{}
	for _, a := range p.arcs {
		l, r := a.ends()
		chain := a.chain()
		for _, end := range []struct {
			box  *box
			door door
			next *box
		}{{l, door{a, true}, chain[1]}, {r, door{a, false}, chain[len(chain)-2]}} {
			if sides[end.box] == nil {
				sides[end.box] = &[2][]door{}
			}
			side := &sides[end.box][map[bool]int{false: 0, true: 1}[end.door.right || l.layer == r.layer]]
			*side, leads[end.door] = append(*side, end.door), end.next.at
		}
	}
	at := map[door]float64{}
	for b, both := range sides {
		for _, side := range both {
			slices.SortStableFunc(side, func(x, y door) int { return cmp.Compare(leads[x], leads[y]) })
			for i, d := range side {
				at[d] = b.at - b.height/2 + b.height*float64(i+1)/float64(len(side)+1)
			}
		}
	}
	return at
}

// drawn are the paths of the line and of its head, and how far right it reaches.
func (a *arc) drawn(doors map[door]float64) (path, head string, reach float64) {
	l, r := a.ends()
	from, to := doors[door{a, true}], doors[door{a, false}]
	const tip = 7.0
	if l.layer == r.layer { // also of a box to itself: a bow on the right
		x, bow := l.right(), l.right()+nearest*2/3
		if !a.back {
			return fmt.Sprintf("M%s %sC%s %s %s %s %s %s", px(x), px(from), px(bow), px(from), px(bow), px(to), px(x+tip), px(to)), arrow(x, to, -1), bow
		}
		return fmt.Sprintf("M%s %sC%s %s %s %s %s %s", px(x), px(to), px(bow), px(to), px(bow), px(from), px(x+tip), px(from)), arrow(x, from, -1), bow
	}
	start, end := l.right(), r.left
	if a.back {
		head, start = arrow(start, from, -1), start+tip
	} else {
		head, end = arrow(end, to, 1), end-tip
	}
	var b strings.Builder
	fmt.Fprintf(&b, "M%s %s", px(start), px(from))
	x, y := start, from
	curve := func(nextX, nextY float64) {
		half := (nextX - x) / 2
		fmt.Fprintf(&b, "C%s %s %s %s %s %s", px(x+half), px(y), px(nextX-half), px(nextY), px(nextX), px(nextY))
		x, y = nextX, nextY
	}
	for _, bend := range a.bends {
		curve(bend.left, bend.at)
		x = bend.right()
		fmt.Fprintf(&b, "H%s", px(x))
	}
	curve(end, to)
	return b.String(), head, x
}

// arrow is a head whose tip is at x: to the right for 1, to the left for -1.
func arrow(x, y, direction float64) string {
	const long, wide = 8.0, 4.0
	return fmt.Sprintf("M%s %sl%s %sv%sz", px(x), px(y), px(-direction*long), px(-wide), px(2*wide))
}
