// SPDX-License-Identifier: Apache-2.0

package page

import (
	"cmp"
	"slices"
)

// Measures of the picture, in its own units: pixels where it is not scaled.
const (
	boxWidth  = 180.0
	boxHeight = 44.0
	// Columns are as far apart as the window lets them, in these bounds.
	window    = 1180.0
	nearest   = 64.0
	widest    = 130.0
	apart     = 16.0 // boxes
	bendSpace = 10.0
	margin    = 12.0
	heading   = 26.0

	sweeps = 8 // over the columns, to untangle arcs
	// maxDepth is how many columns the namespace's own workloads take; what is deeper stands in the last.
	maxDepth = 6
)

// plane is a sketch whose boxes have their places: columns from left to right.
type plane struct {
	*sketch
	columns [][]*box
	between float64 // columns
}

// layOut puts sources left, the namespace's workloads behind who connects to them, destinations right.
func (s *sketch) layOut() *plane {
	s.orient()
	s.rank()
	p := &plane{sketch: s}
	p.stack()
	for i := range sweeps {
		p.untangle(i%2 == 0)
	}
	p.level()
	return p
}

// orient turns the arcs that close a circle, so that all others lead to the right.
func (s *sketch) orient() {
	for _, a := range s.arcs {
		a.from.outs = append(a.from.outs, a)
		a.to.ins = append(a.to.ins, a)
	}
	const visiting, done = 1, 2
	state := map[*box]int{}
	var visit func(b *box)
	visit = func(b *box) {
		state[b] = visiting
		for _, a := range b.outs {
			switch state[a.to] {
			case visiting:
				a.back = true
			case 0:
				visit(a.to)
			}
		}
		state[b] = done
	}
	roots := slices.Clone(s.boxes)
	slices.SortStableFunc(roots, func(a, b *box) int { return cmp.Compare(min(len(a.ins), 1), min(len(b.ins), 1)) })
	for _, b := range roots {
		if state[b] == 0 {
			visit(b)
		}
	}
}

// rank gives each box its column: one more than the rightmost that connects to it.
func (s *sketch) rank() {
	deepest := 1
	for range maxDepth {
		for _, a := range s.arcs {
			if from, to := a.ends(); from.place == own && to.place == own && from != to {
				to.layer = min(max(to.layer, from.layer+1), maxDepth-1)
			}
		}
	}
	for _, b := range s.boxes {
		if b.place == own {
			b.layer++
			deepest = max(deepest, b.layer)
		}
	}
	for _, b := range s.boxes {
		if b.place == destination {
			b.layer = deepest + 1
		}
	}
}

// ends are the arc's ends from left to right.
func (a *arc) ends() (left, right *box) {
	if a.back {
		return a.to, a.from
	}
	return a.from, a.to
}

// stack fills the columns, with bends for the arcs that pass them. Columns with nothing in them go.
func (p *plane) stack() {
	p.columns = make([][]*box, maxDepth+2)
	for _, b := range p.boxes {
		b.height = boxHeight
		p.columns[b.layer] = append(p.columns[b.layer], b)
	}
	for _, a := range p.arcs {
		left, right := a.ends()
		for layer := left.layer + 1; layer < right.layer; layer++ {
			if len(p.columns[layer]) > 0 {
				bend := &box{layer: layer, drop: true, height: bendSpace}
				a.bends = append(a.bends, bend)
				p.columns[layer] = append(p.columns[layer], bend)
			}
		}
	}
	p.columns = slices.DeleteFunc(p.columns, func(c []*box) bool { return len(c) == 0 })
	for layer, column := range p.columns {
		for i, b := range column {
			b.layer, b.order = layer, i
		}
	}
}

// chain is what an arc passes from left to right, its ends included.
func (a *arc) chain() []*box {
	left, right := a.ends()
	return append(append([]*box{left}, a.bends...), right)
}

// neighbours are the boxes and bends that arcs lead to from each, in the columns left or right of it.
func (p *plane) neighbours(left bool) map[*box][]*box {
	near := map[*box][]*box{}
	for _, a := range p.arcs {
		chain := a.chain()
		for i := 1; i < len(chain); i++ {
			if left {
				near[chain[i]] = append(near[chain[i]], chain[i-1])
			} else {
				near[chain[i-1]] = append(near[chain[i-1]], chain[i])
			}
		}
	}
	return near
}

// untangle orders each column by the middle of what it is connected to on one side.
func (p *plane) untangle(left bool) {
	near := p.neighbours(left)
	for i := range p.columns {
		column := p.columns[i]
		if !left {
			column = p.columns[len(p.columns)-1-i]
		}
		middle := map[*box]float64{}
		for _, b := range column {
			middle[b] = float64(b.order)
			if len(near[b]) > 0 {
				middle[b] = mean(near[b], func(n *box) float64 { return float64(n.order) })
			}
		}
		slices.SortStableFunc(column, func(a, b *box) int { return cmp.Compare(middle[a], middle[b]) })
		for n, b := range column {
			b.order = n
		}
	}
}

func mean(boxes []*box, of func(*box) float64) float64 {
	sum := 0.0
	for _, b := range boxes {
		sum += of(b)
	}
	return sum / float64(len(boxes))
}

// level gives the boxes their heights: near to what they are connected to, and apart from each other.
func (p *plane) level() {
	for _, column := range p.columns {
		at := 0.0
		for _, b := range column {
			b.at = at + b.height/2
			at += b.height + apart
		}
		for _, b := range column {
			b.at -= at / 2
		}
	}
	for i := range 2 * sweeps {
		near := p.neighbours(i%2 == 0)
		for n := range p.columns {
			column := p.columns[n]
			if i%2 == 1 {
				column = p.columns[len(p.columns)-1-n]
			}
			settle(column, near)
		}
	}
	count := float64(len(p.columns))
	p.between = min(max((window-2*margin-count*boxWidth)/max(count-1, 1), nearest), widest)
	top := p.columns[0][0].at
	for _, column := range p.columns {
		top = min(top, column[0].at-column[0].height/2)
	}
	for _, column := range p.columns {
		for _, b := range column {
			b.at += margin + heading - top
			b.left = margin + float64(b.layer)*(boxWidth+p.between)
		}
	}
}

// settle moves a column's boxes to where they want to be, and keeps their order and distance: halfway between pushing
// down from the top and pushing up from the bottom.
func settle(column []*box, near map[*box][]*box) {
	down, up := make([]float64, len(column)), make([]float64, len(column))
	for i, b := range column {
		down[i] = b.at
		if len(near[b]) > 0 {
			down[i] = mean(near[b], func(n *box) float64 { return n.at })
		}
	}
	copy(up, down)
	for i := 1; i < len(column); i++ {
		down[i] = max(down[i], down[i-1]+distance(column[i-1], column[i]))
	}
	for i := len(column) - 2; i >= 0; i-- {
		up[i] = min(up[i], up[i+1]-distance(column[i], column[i+1]))
	}
	for i, b := range column {
		b.at = (down[i] + up[i]) / 2
	}
}

func distance(a, b *box) float64 { return a.height/2 + apart + b.height/2 }
