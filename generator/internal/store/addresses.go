// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// maxAddresses bounds the addresses that are remembered. A quarter of them, the oldest, makes room.
const maxAddresses = 1 << 18

// addresses are those that pods had, so that none of them is taken for one outside of the cluster after a restart.
type addresses struct {
	since   map[netip.Addr]uint32   // when they were remembered, in hours since 1970
	changed map[netip.Addr]struct{} // and are not written yet, or not deleted
}

func newAddresses() addresses {
	return addresses{since: map[netip.Addr]uint32{}, changed: map[netip.Addr]struct{}{}}
}

func hourOf(t time.Time) uint32 { return uint32(max(0, t.Unix()/3600)) }

// Remember keeps addresses that were pods' until Expire.
func (s *Store) Remember(list []netip.Addr, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, addr := range list {
		s.known.since[addr] = hourOf(now)
		s.known.changed[addr] = struct{}{}
	}
	if len(s.known.since) > maxAddresses {
		hours := slices.Sorted(maps.Values(s.known.since))
		s.known.forget(hours[len(hours)/4] + 1)
	}
}

// Addresses are those that are remembered, in no order.
func (s *Store) Addresses() []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.known.since))
}

// forget lets go of those that were remembered before an hour.
func (a *addresses) forget(before uint32) {
	for addr, hour := range a.since {
		if hour < before {
			delete(a.since, addr)
			a.changed[addr] = struct{}{}
		}
	}
}

// remembered is an address as it is to be written; a nil value: it is to be deleted.
type remembered struct {
	addr  netip.Addr
	value []byte
}

// take returns what is to be written, in order: a database writes neighbours at less cost.
func (a *addresses) take() []remembered {
	out := make([]remembered, 0, len(a.changed))
	for addr := range a.changed {
		r := remembered{addr: addr}
		if hour, known := a.since[addr]; known {
			r.value = binary.BigEndian.AppendUint32(nil, hour)
		}
		out = append(out, r)
	}
	clear(a.changed)
	slices.SortFunc(out, func(a, b remembered) int { return a.addr.Compare(b.addr) })
	return out
}

// putBack is for what could not be written.
func (a *addresses) putBack(taken []remembered) {
	for _, r := range taken {
		a.changed[r.addr] = struct{}{}
	}
}

// writeAddresses makes the bucket if an earlier version left it out.
func writeAddresses(tx *bbolt.Tx, taken []remembered) error {
	if len(taken) == 0 {
		return nil
	}
	b, err := tx.CreateBucketIfNotExists(addressBucket)
	if err != nil {
		return err
	}
	for _, r := range taken {
		if r.value == nil {
			err = b.Delete(r.addr.AsSlice())
		} else {
			err = b.Put(r.addr.AsSlice(), r.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *addresses) load(tx *bbolt.Tx) error {
	b := tx.Bucket(addressBucket)
	if b == nil {
		return nil
	}
	return b.ForEach(func(key, value []byte) error {
		addr, ok := netip.AddrFromSlice(key)
		if !ok || len(value) != 4 {
			return fmt.Errorf("it has an address of %d bytes", len(key))
		}
		a.since[addr] = binary.BigEndian.Uint32(value)
		return nil
	})
}
