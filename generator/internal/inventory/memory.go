// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// maxAddresses bounds the addresses that are known to be pods', beside those that pods have.
const maxAddresses = 1 << 18

// follow adds what a later inventory says of the pods' addresses.
func (h *history) follow(next *history) {
	homes := h.homes()
	for addr, a := range next.addresses {
		for _, t := range a.tenants {
			for _, l := range t.lives {
				h.extend(addr, t, l, homes)
			}
		}
	}
	h.ranges = next.ranges
}

// homes is until when pods are known to have had an address at all.
func (h *history) homes() map[types.UID]int64 {
	homes := map[types.UID]int64{}
	for _, a := range h.addresses {
		for _, t := range a.tenants {
			for _, l := range t.lives {
				if l.alive && l.uid != "" {
					homes[l.uid] = max(homes[l.uid], l.taken)
				}
			}
		}
	}
	return homes
}

// extend adds what a later inventory says of a pod at an address.
func (h *history) extend(addr netip.Addr, next *tenant, l *life, homes map[types.UID]int64) {
	a := h.address(addr)
	a.timeline = nil
	own := *l
	own.taken = later(l.taken, -reporting) // the pod may have ended since then, and its node has not said so
	i := slices.IndexFunc(a.tenants, func(t *tenant) bool { return t.pod == next.pod })
	if i < 0 {
		i = len(a.tenants)
		a.tenants = append(a.tenants, &tenant{pod: next.pod})
		h.tenants++
	}
	t := a.tenants[i]
	t.end = next.end
	same := slices.IndexFunc(t.lives, func(o *life) bool { return o.uid == l.uid })
	if same >= 0 {
		t.lives[same] = t.lives[same].followed(&own)
		return
	}
	if elsewhere, moved := homes[l.uid]; moved { // its sandbox was made anew, at any time before this inventory
		own.from, own.sure = max(l.from, elsewhere), max(l.sure, l.taken)
	}
	t.lives = append(t.lives, &own)
}

// home is until when a pod is known to have had one of the addresses; empty: it is not known to have had any.
func (h *history) home(uid types.UID, addresses []netip.Addr) map[types.UID]int64 {
	homes := map[types.UID]int64{}
	for _, addr := range addresses {
		if l := h.lifeAt(addr, uid); l != nil && l.alive {
			homes[uid] = max(homes[uid], l.taken)
		}
	}
	return homes
}

// outlived says that a pod still had its address at a time.
func (h *history) outlived(addr netip.Addr, uid types.UID, at int64) {
	if l := h.lifeAt(addr, uid); l != nil && l.alive {
		l.taken = max(l.taken, later(at, -reporting))
		h.addresses[addr].timeline = nil
	}
}

// lifeAt is a pod's at an address; nil: it had none.
func (h *history) lifeAt(addr netip.Addr, uid types.UID) *life {
	a := h.addresses[addr]
	if a == nil {
		return nil
	}
	for _, t := range a.tenants {
		for _, l := range t.lives {
			if l.uid == uid {
				return l
			}
		}
	}
	return nil
}

// followed is what two looks say of the same pod at the same address, of which the first may be the later one. A pod that had
// it in both had it in between.
func (l *life) followed(next *life) *life {
	switch {
	case next.sure == forever: // it ended, and nothing says when
		return l
	case l.until != forever && next.until == forever: // before it ended
		return l
	}
	out := *next
	if l.alive && next.alive {
		out.taken = max(l.taken, next.taken)
	}
	out.from = max(l.from, next.from)
	if l.sure != forever {
		out.sure = max(l.sure, next.sure)
		if l.alive {
			out.sure = min(out.sure, max(l.sure, l.taken))
		}
	}
	return &out
}

// forget lets go of what ended before a time, and of more if there is too much. That an address was a pod's stays.
func (h *history) forget(before int64) {
	h.drop(before)
	if h.tenants > maxTenants*3/4 {
		ends := make([]int64, 0, h.tenants)
		for _, a := range h.addresses {
			for _, t := range a.tenants {
				ends = append(ends, t.last())
			}
		}
		slices.Sort(ends)
		h.drop(ends[len(ends)-maxTenants/2])
	}
	if len(h.addresses) <= maxAddresses {
		return
	}
	for addr, a := range h.addresses {
		if len(a.tenants) == 0 {
			delete(h.addresses, addr)
		}
	}
}

func (h *history) drop(before int64) {
	for _, a := range h.addresses {
		count := len(a.tenants)
		a.tenants = slices.DeleteFunc(a.tenants, func(t *tenant) bool {
			t.lives = slices.DeleteFunc(t.lives, func(l *life) bool { return l.last() < before })
			return t.last() < before
		})
		if gone := count - len(a.tenants); gone > 0 {
			h.tenants -= gone
			a.timeline = nil
		}
	}
}

// last is until when something is known of a tenant at the address; never: nothing is.
func (t *tenant) last() int64 {
	last := int64(never)
	for _, l := range t.lives {
		last = max(last, l.last())
	}
	for _, spans := range [][]span{t.proofs, t.seen} {
		if len(spans) > 0 {
			last = max(last, spans[len(spans)-1].until)
		}
	}
	return last
}

func (l *life) last() int64 {
	switch {
	case l.until != forever:
		return l.until
	case l.alive:
		return l.taken
	}
	return l.from
}
