// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"encoding/binary"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

func addressesFrom(first uint32, n int) (list []netip.Addr) {
	for i := range n {
		list = append(list, netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, first+uint32(i)))))
	}
	return list
}

// TestAddresses: addresses outlive the program, until the retention has passed or there are too many.
func TestAddresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path, edge.DefaultLimits)
	add(s, random(1, 10))
	six := netip.MustParseAddr("2001:db8::1")
	s.Remember([]netip.Addr{six}, start.Add(-10*24*time.Hour))
	s.Remember(addressesFrom(1, 1000), start)
	reopen := func() {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, path, edge.DefaultLimits)
	}
	reopen()
	if got := s.Addresses(); len(got) != 1001 || !slices.Contains(got, six) {
		t.Errorf("%d addresses are kept", len(got))
	}
	s.Expire(start.Add(time.Hour), 5*24*time.Hour)
	reopen()
	if got := s.Addresses(); len(got) != 1000 || slices.Contains(got, six) {
		t.Errorf("%d addresses are left after the retention", len(got))
	}
	later := addressesFrom(1<<24, 300_000)
	for n := 0; n < len(later); n += 1000 {
		s.Remember(later[n:n+1000], start.Add(time.Duration(n/1000)*time.Hour))
	}
	reopen()
	got := s.Addresses()
	if len(got) > 1<<18 || len(got) < 1<<17 || !slices.Contains(got, later[len(later)-1]) || slices.Contains(got, addressesFrom(1, 1)[0]) {
		t.Errorf("%d addresses are kept of %d", len(got), len(later))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("addresses")).Put([]byte("abc"), []byte("x")) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, path, "is damaged", "an address of 3 bytes")
}
