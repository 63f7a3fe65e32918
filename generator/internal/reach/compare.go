// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// maxLines bounds a result: a thousand workloads without policies have a million lines.
const maxLines = 1 << 21

// comparison is two worlds of one scope. Where there is one alone, all that may pass in it is what changes.
type comparison struct {
	*scope
	old, new *world  // old is nil where there is one alone
	asked    []int   // numbers of the witnesses that are asked about
	wider    [][]int // for each of them: the numbers of ends that may speak for it
	found    atomic.Int64
}

// finding is a pair of ends, by number, whose connection changes. Cells that change alike have one.
type finding struct {
	from, to int
	cells    []int // all cells, also the one that is from or to; nil: neither is
	delta
	// fromEnd and toEnd are places in the list of ends that name makes.
	fromEnd, toEnd int
}

// findings are those of one workload.
type findings struct {
	among   []finding // to workloads, in order
	out, in []finding // to and from ends that are no workloads
}

// compare finds all that changes. With old nil, it finds all that may pass in new.
func compare(old, new *Cluster, exposure bool) (*comparison, []findings, error) {
	clusters := []*Cluster{new}
	if old != nil {
		clusters = append(clusters, old)
	}
	s, err := newScope(exposure, clusters...)
	if err != nil {
		return nil, nil, err
	}
	c := &comparison{scope: s}
	if c.new, err = new.world(s); err == nil && old != nil {
		c.old, err = old.world(s)
	}
	if err != nil {
		return nil, nil, err
	}
	c.widen()
	rows := make([]findings, len(c.workloads))
	parallel(len(rows), func() func(int) {
		r := row{comparison: c, before: newAsker(c.old), after: newAsker(c.new)}
		return func(i int) { rows[i] = r.of(i) }
	})
	if c.found.Load() > maxLines {
		return nil, nil, fmt.Errorf("more than %d connections between %d workloads; give fewer manifests", maxLines, len(c.workloads))
	}
	return c, rows, nil
}

// widen finds the ends that speak for a pod that does not exist yet where they change in the same way: any pod,
// a selector that includes its own, and the workloads that carry its labels. Where such a workload is treated
// like it in all, it is not asked about.
func (c *comparison) widen() {
	for i, w := range c.witnesses {
		number := c.firstWitness() + i
		carriers := c.carriers(w)
		if slices.ContainsFunc(carriers, func(n int) bool { return c.speaksFor(n, number) }) {
			continue
		}
		for j := range c.witnesses {
			if j != i && c.includes(j, i) && (j < i || !c.includes(i, j)) { // of two that are the same the first speaks
				carriers = append(carriers, c.firstWitness()+j)
			}
		}
		c.asked, c.wider = append(c.asked, number), append(c.wider, carriers)
	}
}

// carriers are the workloads that a witness's entry matches, if it is about labels in one namespace.
func (c *comparison) carriers(w *witness) (all []int) {
	if w.namespace == "" || len(w.pod) == 0 {
		return nil
	}
	for i, e := range c.workloads {
		if e.Namespace == w.namespace && c.matches(w, i) {
			all = append(all, i)
		}
	}
	return all
}

// speaksFor says whether all that changes for a witness changes for a workload. With one world alone, that is
// so if the workload may all that the witness may. With two, it must be treated like it in both.
func (c *comparison) speaksFor(workload, witness int) bool {
	if c.old == nil {
		return c.new.mayAll(workload, witness)
	}
	return c.old.areAlike(workload, witness) && c.new.areAlike(workload, witness)
}

// includes says whether the description of witness i includes that of j.
func (c *comparison) includes(i, j int) bool {
	w, o := c.witnesses[i], c.witnesses[j]
	if w.peer == nil {
		return true
	}
	return (w.namespace == "" || w.namespace == o.namespace) && c.matches(w, c.firstWitness()+j)
}

// matches says whether a witness's entry matches an end, in either world.
func (c *comparison) matches(w *witness, end int) bool {
	for _, world := range []*world{c.new, c.old} {
		if world == nil {
			continue
		}
		if n, ok := world.rules.peers[w.key]; ok && slices.ContainsFunc(world.ends[end], func(p *point) bool { return p.matches.has(n) }) {
			return true
		}
	}
	return false
}

// row finds what changes for one workload. It is for one goroutine.
type row struct {
	*comparison
	before, after *asker
}

func (r *row) delta(from, to int) delta {
	return delta{r.before.between(from, to), r.after.between(from, to)}
}

// of finds the workload's connections to all ends, and those to it from the ends that are no workloads.
func (r *row) of(i int) (f findings) {
	if r.found.Load() > maxLines {
		return f
	}
	outgoing := func(n int) finding { return finding{from: i, to: n, delta: r.delta(i, n)} }
	incoming := func(n int) finding { return finding{from: n, to: i, delta: r.delta(n, i)} }
	for j := range r.workloads {
		if d := r.delta(i, j); d.isChange() {
			f.among = append(f.among, finding{from: i, to: j, delta: d})
		}
	}
	f.out = append(r.outside(outgoing), r.future(outgoing)...)
	f.in = append(r.outside(incoming), r.future(incoming)...)
	r.found.Add(int64(len(f.among) + len(f.out) + len(f.in)))
	return f
}

// outside joins the cells that change alike.
func (r *row) outside(at func(int) finding) (joined []finding) {
	for n := r.firstCell(); n < r.firstWitness(); n++ {
		f := at(n)
		if !f.isChange() {
			continue
		}
		i := slices.IndexFunc(joined, func(o finding) bool { return f.equal(o.delta) })
		if i < 0 {
			i = len(joined)
			joined = append(joined, f)
		}
		joined[i].cells = append(joined[i].cells, n)
	}
	return joined
}

// future leaves out what an end that is wider says already.
func (r *row) future(at func(int) finding) (found []finding) {
	for i, number := range r.asked {
		f := at(number)
		if f.isChange() && !slices.ContainsFunc(r.wider[i], func(n int) bool { return f.within(at(n).delta) }) {
			found = append(found, f)
		}
	}
	return found
}
