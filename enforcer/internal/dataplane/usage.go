// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"

	"github.com/bulkhead-dev/bulkhead/bpf"
)

// Usage is how full one of the datapath's maps is.
type Usage struct {
	// Name of the map. What happens when it is full: of connections, deferrals and fragments the least recently
	// used make room, flows are counted as lost, and what the others lack room for is not loaded.
	Name     string
	Entries  uint64
	Capacity uint64
}

// Usage tells it of every map that can fill up. The world's tables are told of only by the Dataplane that loaded
// them; what they hold is bounded from above. The cost does not depend on how much they hold.
func (d *Dataplane) Usage() ([]Usage, error) {
	var fill bpf.DatapathFill
	if err := call(d.objs.Measure, struct{}{}, &fill); err != nil {
		return nil, fmt.Errorf("measure the datapath's maps: %w", err)
	}
	flows := d.spec.Maps[bpf.DatapathMapFlows].InnerMap
	usage := []Usage{
		{bpf.DatapathMapConnections, fill.Connections, uint64(d.objs.Connections.MaxEntries())},
		{bpf.DatapathMapDeferrals, fill.Deferrals, uint64(d.objs.Deferrals.MaxEntries())},
		{bpf.DatapathMapFragments, fill.Fragments, uint64(d.objs.Fragments.MaxEntries())},
		{bpf.DatapathMapFlows, fill.Flows, uint64(flows.MaxEntries)},
		{bpf.DatapathMapEndpoints, fill.Endpoints, uint64(d.objs.Endpoints.MaxEntries())},
		{bpf.DatapathMapDevices, fill.Devices, uint64(d.objs.Devices.MaxEntries())},
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bank == nil {
		return usage, nil
	}
	for i, m := range d.bank.maps {
		if m.MaxEntries() == 1 { // it always has the one
			continue
		}
		usage = append(usage, Usage{kinds[i].name, uint64(m.used), uint64(m.MaxEntries())})
	}
	return usage, nil
}
