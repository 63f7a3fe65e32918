// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// Find is what may talk to what in a cluster. With exposure, pods that do not exist yet are asked about too.
func Find(c *Cluster, exposure bool) (*Map, error) {
	all, rows, err := compare(nil, c, exposure)
	if err != nil {
		return nil, err
	}
	ends, found := all.name(rows)
	m := &Map{Ends: ends, Lines: make([]Line, len(found)), Warnings: all.new.warnings(all.scope)}
	for i, f := range found {
		m.Lines[i] = Line{ends[f.fromEnd], ends[f.toEnd], *f.new}
	}
	return m, nil
}

// name lists all workloads and the other ends of the findings in order, and the findings in order of them.
func (s *scope) name(rows []findings) (ends []End, all []finding) {
	n := naming{scope: s, ends: slices.Clone(s.workloads), joined: map[string]int{}, place: make([]int, s.size())}
	n.others(rows)
	size := 0
	for _, r := range rows {
		size += len(r.among) + len(r.out) + len(r.in)
	}
	all = make([]finding, 0, size)
	var in []finding
	for _, r := range rows {
		all = append(append(all, n.put(r.among)...), n.put(r.out)...)
		in = append(in, r.in...)
	}
	return n.ends, append(all, n.put(in)...)
}

// naming is the places of ends in their order.
type naming struct {
	*scope
	ends   []End
	joined map[string]int // cells that were joined → place
	place  []int          // number → place, of ends that are no cells
}

// others adds the ends of the findings that are no workloads.
func (n *naming) others(rows []findings) {
	for i := range n.workloads {
		n.place[i] = i
	}
	var all []*other
	add := func(end End, place func(int)) { all = append(all, &other{end, end.String(), place}) }
	for _, r := range rows {
		for _, f := range slices.Concat(r.out, r.in) {
			key := cellsKey(f.cells)
			if _, known := n.joined[key]; key != "" && !known {
				n.joined[key] = 0
				add(End{Outside: n.ranges(f.cells)}, func(at int) { n.joined[key] = at })
			}
			for _, number := range []int{f.from, f.to} {
				if number >= n.firstWitness() && n.place[number] == 0 {
					n.place[number] = -1
					add(End{Future: &n.witnesses[number-n.firstWitness()].end}, func(at int) { n.place[number] = at })
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b *other) int {
		return cmp.Or(cmp.Compare(a.end.form(), b.end.form()), cmp.Compare(a.text, b.text))
	})
	for _, o := range all {
		o.place(len(n.ends))
		n.ends = append(n.ends, o.end)
	}
}

// other is an end that is no workload.
type other struct {
	end   End
	text  string
	place func(at int)
}

// put notes the places of the findings' ends, and puts the findings in order of them.
func (n *naming) put(list []finding) []finding {
	for i := range list {
		f := &list[i]
		f.fromEnd, f.toEnd = n.place[f.from], n.place[f.to]
		if n.isCell(f.from) {
			f.fromEnd = n.joined[cellsKey(f.cells)]
		} else if n.isCell(f.to) {
			f.toEnd = n.joined[cellsKey(f.cells)]
		}
	}
	slices.SortFunc(list, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.fromEnd, b.fromEnd), cmp.Compare(a.toEnd, b.toEnd))
	})
	return list
}

func cellsKey(cells []int) string {
	var key []byte
	for _, c := range cells {
		key = binary.AppendUvarint(key, uint64(c))
	}
	return string(key)
}
