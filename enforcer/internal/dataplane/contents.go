// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// How much one world may hold. These bound kernel memory: peers and ports take about 200 bytes each.
const (
	maxEndpoints  = 1 << 14
	maxIdentities = 1 << 20
	maxCIDRs      = 1 << 18
	maxBitmaps    = 1 << 18
)

// table is the contents of one map, as the batch calls take them.
type table[K, V any] struct {
	keys   []K
	values []V
}

func (t *table[K, V]) add(key K, value V) {
	t.keys = append(t.keys, key)
	t.values = append(t.values, value)
}

// create makes a map of exactly the table's size and fills it.
func (t *table[K, V]) create(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	spec = spec.Copy()
	spec.MaxEntries = uint32(max(1, len(t.keys)))
	m, err := ebpf.NewMap(spec)
	if err != nil || len(t.keys) == 0 {
		return m, err
	}
	if n, err := m.BatchUpdate(t.keys, t.values, nil); err != nil || n != len(t.keys) {
		m.Close()
		return nil, fmt.Errorf("%d of %d entries written: %w", n, len(t.keys), err)
	}
	return m, nil
}

// contents is a world in the datapath's types.
type contents struct {
	endpoints   table[uint32, bpf.DatapathEndpoint]
	identities  table[[16]byte, bpf.DatapathIdentity]
	cidrs       table[bpf.DatapathCidrKey, uint32]
	portClasses table[uint32, bpf.DatapathPortClassTable]
	peers       table[bpf.DatapathPeerKey, bpf.DatapathBitmap]
	ports       table[bpf.DatapathPortKey, bpf.DatapathBitmap]
	actions     table[uint32, bpf.DatapathSetActions]
}

// lower checks w and translates it.
func lower(w *plan.World) (*contents, error) {
	if err := checkCapacity(w); err != nil {
		return nil, err
	}
	c := &contents{}
	if err := c.addEndpoints(w); err != nil {
		return nil, err
	}
	if err := c.addIdentities(w); err != nil {
		return nil, err
	}
	if err := c.addCIDRs(w); err != nil {
		return nil, err
	}
	c.addPortClasses(w)
	for k, v := range w.Peers {
		c.peers.add(bpf.DatapathPeerKey{Set: k.Set, Class: k.Class, Direction: uint8(k.Direction)}, bpf.DatapathBitmap{Words: v})
	}
	for k, v := range w.Ports {
		key := bpf.DatapathPortKey{Set: k.Set, Class: k.Class, Direction: uint8(k.Direction), Protocol: uint8(k.Protocol)}
		c.ports.add(key, bpf.DatapathBitmap{Words: v})
	}
	c.addActions(w)
	return c, nil
}

func checkCapacity(w *plan.World) error {
	for _, k := range []struct {
		what      string
		have, max int
	}{
		{"endpoints", len(w.Endpoints), maxEndpoints},
		{"addresses", len(w.Identities) + len(w.Services), maxIdentities},
		{"CIDRs", len(w.CIDRs), maxCIDRs},
		{"peer classes of policy sets", len(w.Peers), maxBitmaps},
		{"port classes of policy sets", len(w.Ports), maxBitmaps},
	} {
		if k.have > k.max {
			return fmt.Errorf("%d %s do not fit, at most %d do: select peers with fewer, wider selectors", k.have, k.what, k.max)
		}
	}
	return nil
}

func (c *contents) addEndpoints(w *plan.World) error {
	for ifindex, ep := range w.Endpoints {
		if int(ep.Set) >= len(w.Sets) {
			return fmt.Errorf("endpoint at interface %d has policy set %d of %d", ifindex, ep.Set, len(w.Sets))
		}
		tiers, err := lowerTiers(&w.Sets[ep.Set])
		if err != nil {
			return fmt.Errorf("policy set %d has %w", ep.Set, err)
		}
		c.endpoints.add(ifindex, bpf.DatapathEndpoint{Set: ep.Set, Tiers: tiers, Mode: uint8(ep.Mode)})
	}
	return nil
}

// lowerTiers checks what the datapath relies on.
func lowerTiers(set *plan.SetEntry) (tiers [2]bpf.DatapathTiers, err error) {
	for d, rules := range set.Rules {
		if rules > plan.MaxRules {
			return tiers, fmt.Errorf("%d rules in one direction, at most %d fit", rules, plan.MaxRules)
		}
		if set.Admin[d] > rules {
			return tiers, fmt.Errorf("%d rules of the Admin tier among %d in one direction", set.Admin[d], rules)
		}
		tiers[d] = bpf.DatapathTiers{Rules: rules, Admin: set.Admin[d]}
		if set.Isolated[d] {
			tiers[d].Isolated = 1
		}
	}
	return tiers, nil
}

// addActions has an entry for every set, because they are found by number.
func (c *contents) addActions(w *plan.World) {
	for i := range w.Sets {
		var value bpf.DatapathSetActions
		for d := range value.Deny {
			value.Deny[d].Words, value.Pass[d].Words = w.Sets[i].Deny[d], w.Sets[i].Pass[d]
		}
		c.actions.add(uint32(i), value)
	}
}

// addIdentities joins identities and Services: one lookup serves both.
func (c *contents) addIdentities(w *plan.World) error {
	joined := make(map[netip.Addr]bpf.DatapathIdentity, len(w.Identities)+len(w.Services))
	for addr, identity := range w.Identities {
		value := bpf.DatapathIdentity{Class: identity.Class, Flags: uint8(bpf.DatapathIdentityFlagIDENTITY_CLASS)}
		if identity.Node {
			value.Flags |= uint8(bpf.DatapathIdentityFlagIDENTITY_NODE)
		}
		joined[addr.Unmap()] = value
	}
	for addr := range w.Services {
		value := joined[addr.Unmap()]
		value.Flags |= uint8(bpf.DatapathIdentityFlagIDENTITY_SERVICE)
		joined[addr.Unmap()] = value
	}
	for addr, value := range joined {
		if !addr.IsValid() || addr.Zone() != "" {
			return fmt.Errorf("address %q of an identity or Service is not plain IPv4 or IPv6", addr)
		}
		c.identities.add(addr.As16(), value)
	}
	return nil
}

// mappedIPv4 holds every IPv4 address in the trie.
var mappedIPv4 = netip.MustParsePrefix("::ffff:0:0/96")

func (c *contents) addCIDRs(w *plan.World) error {
	covered := false
	for prefix, class := range w.CIDRs {
		if !prefix.IsValid() || prefix.Masked() != prefix {
			return fmt.Errorf("CIDR %q has bits set beyond its length, or is invalid", prefix)
		}
		key := cidrKey(prefix)
		covered = covered || key == cidrKey(mappedIPv4)
		c.cidrs.add(key, class)
	}
	// An IPv6 prefix such as ::/0 must not reach the IPv4 addresses mapped below it.
	if !covered {
		c.cidrs.add(cidrKey(mappedIPv4), 0)
	}
	return nil
}

func cidrKey(prefix netip.Prefix) bpf.DatapathCidrKey {
	key := bpf.DatapathCidrKey{Bits: uint32(prefix.Bits()), Address: prefix.Addr().As16()}
	if prefix.Addr().Is4() {
		key.Bits += 96
	}
	return key
}

func (c *contents) addPortClasses(w *plan.World) {
	var value bpf.DatapathPortClassTable
	for protocol := range w.PortClasses {
		copy(value.Classes[protocol<<16:], w.PortClasses[protocol][:])
	}
	c.portClasses.add(0, value)
}
