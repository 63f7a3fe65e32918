// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"errors"
	"fmt"
	"net/netip"
)

// Bounds of what is kept of the input, so that a stream of ever new names cannot fill memory.
const (
	maxNames     = 1 << 16
	maxName      = 512 // bytes of each
	maxAddresses = 1 << 16
)

// intern returns the same string for the same bytes.
func (d *decoder) intern(b []byte) string {
	if s, ok := d.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(d.names) < maxNames && len(s) <= maxName {
		d.names[s] = s
	}
	return s
}

// address reads an IP address; one of IPv4 within IPv6 is of IPv4.
func (d *decoder) address(b []byte) (netip.Addr, error) {
	if a, ok := usualAddress(b); ok {
		return a, nil
	}
	if a, ok := d.addresses[string(b)]; ok {
		return a, nil
	}
	if len(b) == 0 {
		return netip.Addr{}, errors.New("missing")
	}
	a, err := netip.ParseAddr(string(b))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", clip(string(b)))
	}
	a = a.Unmap()
	if len(d.addresses) < maxAddresses {
		d.addresses[string(b)] = a
	}
	return a, nil
}
