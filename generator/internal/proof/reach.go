// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"net/netip"
	"slices"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// reach notes which residents the rules of each side are about. Most are of one workload: it is looked for where it
// can be.
func (j *judge) reach(all []resident) {
	f := finder{all: all, namespaces: map[string][]resident{}, byAddr: map[netip.Addr][]int{}}
	for i := range all {
		for _, p := range all[i].points {
			f.byAddr[p.Addr] = append(f.byAddr[p.Addr], i)
		}
	}
	for begin := 0; begin < len(all); { // they are ordered by namespace
		end := begin + 1
		for end < len(all) && all[end].Namespace == all[begin].Namespace {
			end++
		}
		f.namespaces[all[begin].Namespace] = all[begin:end]
		begin = end
	}
	for _, s := range j.sides {
		s.reaches = make([]bool, len(all))
		for _, r := range s.rules {
			if !r.baseline {
				f.note(s.reaches, r.compiled)
			}
		}
	}
}

// finder finds residents.
type finder struct {
	all        []resident
	namespaces map[string][]resident
	byAddr     map[netip.Addr][]int
}

// note notes residents that a rule is about.
func (f *finder) note(reaches []bool, r *netpol.Rule) {
	if len(r.Peers) == 0 {
		for i := range reaches {
			reaches[i] = true
		}
	}
	for i := range r.Peers {
		for _, at := range f.matching(&r.Peers[i]) {
			reaches[at] = true
		}
	}
}

// matching are the residents of which the peer matches a pod.
func (f *finder) matching(m *netpol.PeerMatch) []int {
	name, one := namespaceOf(m)
	switch {
	case m.Pods == nil && m.Block.IsSingleIP():
		return f.byAddr[m.Block.Addr()]
	case m.Pods != nil && one:
		return matching(m, f.namespaces[name])
	}
	return matching(m, f.all)
}

func matching(m *netpol.PeerMatch, residents []resident) (found []int) {
	for i := range residents {
		r := &residents[i]
		if slices.ContainsFunc(r.points, func(p point) bool { return m.Matches(p.Endpoint) }) {
			found = append(found, r.at)
		}
	}
	return found
}
