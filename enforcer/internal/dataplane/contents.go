// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// How much one world may hold. These bound kernel memory: peers and ports take about 200 bytes each, sets 1.2 KiB.
const (
	maxEndpoints  = 1 << 13 // several generations of them are in one map
	maxDevices    = 1 << 12 // as above
	maxIdentities = 1 << 20
	maxCIDRs      = 1 << 18
	maxBitmaps    = 1 << 18
	maxSets       = 1 << 15
)

// kinds are the tables of a bank, in the order in which they are added to: what refers to others comes later.
var kinds = []struct {
	name     string
	outer    func(*Dataplane) *ebpf.Map
	min, max int // entries that there is room for
	growth   int // the room is for so many times what is there
}{
	{bpf.DatapathMapSets, func(d *Dataplane) *ebpf.Map { return d.objs.Sets }, 1 << 10, maxSets, 8},
	{bpf.DatapathMapPeers, func(d *Dataplane) *ebpf.Map { return d.objs.Peers }, 1 << 13, maxBitmaps, 8},
	{bpf.DatapathMapPorts, func(d *Dataplane) *ebpf.Map { return d.objs.Ports }, 1 << 13, maxBitmaps, 8},
	{bpf.DatapathMapPortClasses, func(d *Dataplane) *ebpf.Map { return d.objs.PortClasses }, 1, 1, 1},
	{bpf.DatapathMapCidrs, func(d *Dataplane) *ebpf.Map { return d.objs.Cidrs }, maxCIDRs, maxCIDRs, 1}, // takes what is used
	{bpf.DatapathMapIdentities, func(d *Dataplane) *ebpf.Map { return d.objs.Identities }, 1 << 12, maxIdentities, 2},
}

const identitiesKind = 5 // in kinds

// room is how large the map of a kind is made for n entries. What changes of policies leave behind stays until there is
// no room, and a complete world is made; room that is not used costs little.
func room(kind, n int) uint32 {
	k := &kinds[kind]
	return uint32(min(max(k.growth*n, k.min), k.max))
}

// entries are of one kind.
type entries interface {
	len() int
	// total is how many there are in a map that has used already.
	total(used int) int
	write(*ebpf.Map) error
}

// kinds are the contents in the order of kinds.
func (c *contents) kinds() []entries {
	return []entries{&c.sets, &c.peers, &c.ports, &c.portClasses, &c.cidrs, &c.identities}
}

// table is the contents of one map, as the batch calls take them.
type table[K, V any] struct {
	keys   []K
	values []V
	all    int // how many there are in the map with them; 0: they are added to those that there are
}

func (t *table[K, V]) add(key K, value V) {
	t.keys = append(t.keys, key)
	t.values = append(t.values, value)
}

func (t *table[K, V]) len() int { return len(t.keys) }

func (t *table[K, V]) total(used int) int {
	if t.all > 0 {
		return t.all
	}
	return used + len(t.keys)
}

func (t *table[K, V]) write(m *ebpf.Map) error {
	if len(t.keys) == 0 {
		return nil
	}
	if n, err := m.BatchUpdate(t.keys, t.values, nil); err != nil || n != len(t.keys) {
		return fmt.Errorf("%d of %d entries written: %w", n, len(t.keys), err)
	}
	return nil
}

// contents is a world in the datapath's types.
type contents struct {
	endpoints   table[bpf.DatapathEndpointKey, bpf.DatapathEndpoint]
	devices     table[bpf.DatapathEndpointKey, uint8]
	identities  table[[16]byte, bpf.DatapathIdentity]
	gone        [][16]byte // identities
	cidrs       table[bpf.DatapathCidrKey, uint32]
	portClasses table[uint32, bpf.DatapathPortClassTable]
	peers       table[bpf.DatapathPeerKey, bpf.DatapathBitmap]
	ports       table[bpf.DatapathPortKey, bpf.DatapathBitmap]
	sets        table[uint32, bpf.DatapathPolicySet]
	tiers       map[uint32][2]bpf.DatapathTiers // by policy set, those of before included
}

// lower checks w and translates it. tiers are those of the policy sets that are loaded already; nil: none is.
func lower(w *plan.World, tiers map[uint32][2]bpf.DatapathTiers) (*contents, error) {
	if err := checkCapacity(w); err != nil {
		return nil, err
	}
	c := &contents{tiers: maps.Clone(tiers)}
	if err := c.addSets(w); err != nil {
		return nil, err
	}
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
	c.addDevices(w)
	for k, v := range w.Peers {
		c.peers.add(bpf.DatapathPeerKey{Set: k.Set, Class: k.Class, Direction: uint8(k.Direction)}, bpf.DatapathBitmap{Words: v})
	}
	for k, v := range w.Ports {
		key := bpf.DatapathPortKey{Set: k.Set, Class: k.Class, Direction: uint8(k.Direction), Protocol: uint8(k.Protocol)}
		c.ports.add(key, bpf.DatapathBitmap{Words: v})
	}
	return c, nil
}

func checkCapacity(w *plan.World) error {
	for _, k := range []struct {
		what      string
		have, max int
	}{
		{"endpoints", len(w.Endpoints), maxEndpoints},
		{"exempt interfaces and bridges", len(w.Devices), maxDevices},
		{"policy sets", len(w.Sets), maxSets},
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
		live, err := c.policies(ep.Set)
		if err != nil {
			return fmt.Errorf("endpoint at interface %d has %w", ifindex, err)
		}
		staged := bpf.DatapathPolicies{Set: NoSet}
		if ep.IsStaged {
			if staged, err = c.policies(ep.Staged); err != nil {
				return fmt.Errorf("endpoint at interface %d has staged %w", ifindex, err)
			}
		}
		value := bpf.DatapathEndpoint{Live: live, Staged: staged, Mode: uint8(ep.Mode), Main: ep.Main}
		if ep.Reject {
			value.Reject = 1
		}
		c.endpoints.add(bpf.DatapathEndpointKey{Ifindex: ifindex}, value)
	}
	return nil
}

func (c *contents) policies(set uint32) (bpf.DatapathPolicies, error) {
	tiers, found := c.tiers[set]
	if !found {
		return bpf.DatapathPolicies{}, fmt.Errorf("policy set %d, which there is not", set)
	}
	return bpf.DatapathPolicies{Set: set, Tiers: tiers}, nil
}

func (c *contents) addDevices(w *plan.World) {
	if w.Gate {
		c.devices.add(bpf.DatapathEndpointKey{}, uint8(bpf.DatapathDeviceDEVICE_GATE))
	}
	for ifindex, device := range w.Devices {
		c.devices.add(bpf.DatapathEndpointKey{Ifindex: ifindex}, uint8(device))
	}
}

func (c *contents) addSets(w *plan.World) error {
	if c.tiers == nil {
		c.tiers = make(map[uint32][2]bpf.DatapathTiers, len(w.Sets))
	}
	for i := range w.Sets {
		number, set := w.FirstSet+uint32(i), &w.Sets[i]
		tiers, err := lowerTiers(set)
		if err != nil {
			return fmt.Errorf("policy set %d has %w", number, err)
		}
		c.tiers[number] = tiers
		c.sets.add(number, bpf.DatapathPolicySet{
			Deny: bitmaps(set.Deny), Pass: bitmaps(set.Pass), Everyone: bitmaps(set.Everyone), AllPorts: bitmaps(set.AllPorts),
		})
	}
	return nil
}

func bitmaps(of [2]plan.Bitmap) (lowered [2]bpf.DatapathBitmap) {
	for d := range of {
		lowered[d].Words = of[d]
	}
	return lowered
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

// addIdentities joins identities and Services: one lookup serves both.
func (c *contents) addIdentities(w *plan.World) error {
	joined := make(map[netip.Addr]bpf.DatapathIdentity, len(w.Identities)+len(w.Services))
	for addr, identity := range w.Identities {
		value := bpf.DatapathIdentity{Class: identity.Class, Ifindex: identity.Ifindex, Flags: uint8(bpf.DatapathIdentityFlagIDENTITY_CLASS)}
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
	c.identities.all = max(w.Addresses, len(joined))
	for _, addr := range w.Gone {
		c.gone = append(c.gone, addr.As16())
	}
	return nil
}

// forget deletes what is not an identity any more.
func (c *contents) forget(identities *ebpf.Map) error {
	for _, addr := range c.gone {
		if err := identities.Delete(addr); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget %s: %w", netip.AddrFrom16(addr).Unmap(), err)
		}
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
	if !covered && !w.Partial {
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
	c.portClasses.all = 1
	if w.PortClasses == nil {
		return
	}
	var value bpf.DatapathPortClassTable
	for protocol := range w.PortClasses {
		copy(value.Classes[protocol<<16:], w.PortClasses[protocol][:])
	}
	c.portClasses.add(0, value)
}
