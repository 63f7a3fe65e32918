// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// picture is what is drawn: the ends of a map, or its namespaces if there are too many ends.
type picture struct {
	groups  []group // first and last are of nodes
	nodes   []node
	cells   []cell // in order of from and to
	sets    []set
	summary bool // the nodes are namespaces
	notes   []string
}

type node struct {
	name, kind string // kind is empty where there is none
	full       string // in a sentence
	form       form
	group      int
}

// cell is what may pass from one node to another.
type cell struct {
	from, to int
	sets     []int // one; in a summary the first maxSets of the connections
	pairs    int   // how many connections it stands for; 1 but in a summary
	class    class // the broadest
}

// maxSets is how many sets of ports a summary names for a pair of namespaces.
const maxSets = 3

// detailed is the picture of every end.
func (s *source) detailed() *picture {
	p := &picture{groups: s.groups, sets: s.sets, notes: s.warned()}
	for i, e := range s.ends {
		n := node{name: e.Name, kind: e.Kind, full: e.String(), form: s.groups[s.of[i]].form, group: s.of[i]}
		if !e.IsWorkload() {
			n.name = n.full
		}
		p.nodes = append(p.nodes, n)
	}
	for _, l := range s.lines {
		p.cells = append(p.cells, cell{l.from, l.to, []int{l.set}, 1, s.sets[l.set].class})
	}
	p.sort()
	return p
}

// summary is the picture of the namespaces: of at most limit, and of the rest together.
func (s *source) summary(limit int) *picture {
	p := &picture{sets: s.sets, summary: true}
	place := p.fold(s.groups, limit)
	cells := map[[2]int]*cell{}
	var c *cell
	for _, l := range s.lines {
		key := [2]int{place[s.of[l.from]], place[s.of[l.to]]}
		if c == nil || c.from != key[0] || c.to != key[1] { // neighbours often are of the same namespaces
			c = cells[key]
		}
		if c == nil {
			c = &cell{from: key[0], to: key[1]}
			cells[key] = c
		}
		c.add(l.set, s.sets[l.set].class)
	}
	for _, c := range cells {
		p.cells = append(p.cells, *c)
	}
	p.sort()
	p.notes = append([]string{s.summarised()}, s.warned()...)
	return p
}

// fold makes a node of each group, and gives the node of each.
func (p *picture) fold(groups []group, limit int) (place []int) {
	namespaces := 0
	for _, g := range groups {
		if g.form == workloads {
			namespaces++
		}
	}
	for i, g := range groups {
		switch {
		case g.form != workloads:
			p.append(node{name: g.count(), full: g.count(), form: g.form}, g.name)
		case i < limit:
			p.append(node{name: g.name, kind: g.count(), full: "namespace " + g.name, form: workloads}, "Namespaces")
		case i == limit:
			name := plural(namespaces-limit, "more namespace")
			p.append(node{name: name, full: name, form: workloads}, "Namespaces")
		}
		place = append(place, len(p.nodes)-1)
	}
	return place
}

func (p *picture) append(n node, heading string) {
	if last := len(p.groups) - 1; last < 0 || p.groups[last].form != n.form {
		p.groups = append(p.groups, group{name: heading, form: n.form, first: len(p.nodes)})
	}
	n.group = len(p.groups) - 1
	p.groups[n.group].last = len(p.nodes)
	p.nodes = append(p.nodes, n)
}

func (g group) count() string {
	switch g.form {
	case outside:
		return plural(g.size(), "range") + " of addresses"
	case future:
		return plural(g.size(), "kind") + " of future pods"
	}
	return plural(g.size(), "workload")
}

func (c *cell) add(set int, class class) {
	c.pairs++
	c.class = max(c.class, class)
	if len(c.sets) <= maxSets && !slices.Contains(c.sets, set) {
		c.sets = append(c.sets, set) // one more than is named: it tells that there are more
	}
}

func (p *picture) sort() {
	slices.SortFunc(p.cells, func(a, b cell) int { return cmp.Or(a.from-b.from, a.to-b.to) })
}

// passes is what may pass, in words.
func (p *picture) passes(c cell) string {
	if !p.summary {
		return p.sets[c.sets[0]].text
	}
	var texts []string
	for _, i := range c.sets[:min(len(c.sets), maxSets)] {
		texts = append(texts, shorten(p.sets[i].text, 40))
	}
	if len(c.sets) > maxSets {
		texts = append(texts, "…")
	}
	return plural(c.pairs, "connection") + ": " + strings.Join(texts, "; ")
}

func (s *source) summarised() string {
	return fmt.Sprintf("There is too much to draw every end (%s, %s): this is a summary by namespace.",
		plural(len(s.ends), "end"), plural(len(s.lines), "connection"))
}

func (s *source) warned() []string {
	if more := len(s.warnings) - maxWarnings; more > 0 {
		return append(slices.Clone(s.warnings[:maxWarnings]), plural(more, "more warning")+".")
	}
	return s.warnings
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
