// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"fmt"
	"slices"
)

// warnings name the workloads whose pods are not all treated alike.
func (w *world) warnings(s *scope) (all []string) {
	for i, e := range s.workloads {
		if points := w.ends[i]; slices.ContainsFunc(points, func(p *point) bool { return !p.isLike(points[0]) }) {
			all = append(all, fmt.Sprintf("%s: policies do not treat its pods alike; a connection is listed if any of them may have it", e))
		}
	}
	return all
}

// mayAll says whether some point of a workload may all that a pod that does not exist yet may. Of that no ports are
// known, so a rule about named ports can hold back only the other.
func (w *world) mayAll(workload, witness int) bool {
	for _, q := range w.ends[witness] {
		if !slices.ContainsFunc(w.ends[workload], func(p *point) bool {
			bare := *p
			bare.ports = q.ports
			return bare.isLike(q) && (p.ports == q.ports || !w.rules.denyNames)
		}) {
			return false
		}
	}
	return true
}

// areAlike says whether all points of a workload are treated like a pod that does not exist yet.
func (w *world) areAlike(workload, witness int) bool {
	for _, q := range w.ends[witness] {
		if len(w.ends[workload]) == 0 || slices.ContainsFunc(w.ends[workload], func(p *point) bool { return !p.isLike(q) }) {
			return false
		}
	}
	return true
}

// isLike says whether rules treat two points alike; addresses of two families are not compared.
func (p *point) isLike(o *point) bool {
	a, b := p.source.Addr, o.source.Addr
	if a.IsValid() && b.IsValid() && a.Is4() != b.Is4() {
		return true
	}
	return p.identity == o.identity && slices.Equal(p.matches, o.matches) && p.ports == o.ports &&
		p.sides[0].equal(&o.sides[0]) && p.sides[1].equal(&o.sides[1])
}

func (s *side) equal(o *side) bool { return s.isolated == o.isolated && slices.Equal(s.rules, o.rules) }
