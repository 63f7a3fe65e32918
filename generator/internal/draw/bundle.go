// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"cmp"
	"maps"
	"slices"
)

// bundle is cells that say the same, from one side to the other.
type bundle struct {
	from, to side
	cell     cell // the first of them
	selves   bool // of a namespace to itself: also from a pod of a workload to another pod of it
}

// side is a node, or all nodes of a group.
type side struct {
	group       int // -1: a node
	first, last int // nodes, both included
}

func one(n int) side { return side{-1, n, n} }

func (b bundle) within() bool { return b.from.group >= 0 && b.from.group == b.to.group }

// minBundle is the size of a namespace from which on one arrow to it says more than one to each workload.
const minBundle = 3

// bundles puts cells together where a whole namespace is at one of their ends.
func (p *picture) bundles() []bundle {
	blocks := map[[2]int][]cell{}
	for _, c := range p.cells {
		key := [2]int{p.nodes[c.from].group, p.nodes[c.to].group}
		blocks[key] = append(blocks[key], c)
	}
	var all []bundle
	for key, cells := range blocks {
		switch {
		case p.summary:
			all = append(all, singly(cells)...)
		case key[0] == key[1]:
			all = append(all, p.inside(key[0], cells)...)
		default:
			all = append(all, p.between(key[0], key[1], cells)...)
		}
	}
	slices.SortFunc(all, func(a, b bundle) int {
		return cmp.Or(a.from.first-b.from.first, a.to.first-b.to.first, b.from.last-a.from.last, b.to.last-a.to.last)
	})
	return all
}

// inside bundles the cells of a group to itself: all of them, or none.
func (p *picture) inside(g int, cells []cell) []bundle {
	var selves, others []cell
	for _, c := range cells {
		if c.from == c.to {
			selves = append(selves, c)
		} else {
			others = append(others, c)
		}
	}
	n := p.groups[g].size()
	if !p.whole(g) || len(others) != n*(n-1) || !uniform(others) {
		return singly(cells)
	}
	b := bundle{from: p.side(g), to: p.side(g), cell: others[0]}
	if len(selves) == n && uniform(append(selves, others[0])) {
		b.selves = true
		return []bundle{b}
	}
	return append(singly(selves), b)
}

// between bundles the cells from one group to another: all in one, or by row, or by column.
func (p *picture) between(from, to int, cells []cell) []bundle {
	if p.whole(from) && p.whole(to) && len(cells) == p.groups[from].size()*p.groups[to].size() && uniform(cells) {
		return []bundle{{from: p.side(from), to: p.side(to), cell: cells[0]}}
	}
	var all []bundle
	if p.whole(to) {
		var rows [][]cell
		rows, cells = split(cells, p.groups[to].size(), func(c cell) int { return c.from })
		for _, row := range rows {
			all = append(all, bundle{from: one(row[0].from), to: p.side(to), cell: row[0]})
		}
	}
	if p.whole(from) {
		var columns [][]cell
		columns, cells = split(cells, p.groups[from].size(), func(c cell) int { return c.to })
		for _, column := range columns {
			all = append(all, bundle{from: p.side(from), to: one(column[0].to), cell: column[0]})
		}
	}
	return append(all, singly(cells)...)
}

// split takes out of the cells those that fill a whole row or column of the size in one way.
func split(cells []cell, size int, key func(cell) int) (whole [][]cell, rest []cell) {
	by := map[int][]cell{}
	for _, c := range cells {
		by[key(c)] = append(by[key(c)], c)
	}
	for _, k := range slices.Sorted(maps.Keys(by)) {
		if len(by[k]) == size && uniform(by[k]) {
			whole = append(whole, by[k])
		} else {
			rest = append(rest, by[k]...)
		}
	}
	return whole, rest
}

// whole says whether one arrow may stand for all of the group.
func (p *picture) whole(g int) bool {
	return p.groups[g].form == workloads && p.groups[g].size() >= minBundle
}

func (p *picture) side(g int) side { return side{g, p.groups[g].first, p.groups[g].last} }

func uniform(cells []cell) bool {
	return !slices.ContainsFunc(cells, func(c cell) bool { return c.sets[0] != cells[0].sets[0] })
}

func singly(cells []cell) []bundle {
	var all []bundle
	for _, c := range cells {
		all = append(all, bundle{from: one(c.from), to: one(c.to), cell: c})
	}
	return all
}
