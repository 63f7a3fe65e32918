// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
)

// Devices are interfaces that lead to no single pod, sorted.
type Devices struct {
	// Exempt are the veths that are certainly no pods', and Veths all others.
	Exempt, Veths []uint32
	// Bridges are those that have no port but veths that may be pods', or no port at all.
	Bridges []uint32
}

// Devices tells veths that are no pods' from others. nodeAddrs are the addresses by which the cluster knows
// the node, and pins is the directory where the container runtime pins its network namespaces; empty: not
// known. A veth is no pod's if
//   - both of its ends are in the node's network namespace,
//   - it has an address of nodeAddrs: it is the uplink of a node that is a container itself, or
//   - its other end is in a namespace that is not pinned there, although others are that veths lead to.
//
// Everything else may be a pod's, of which nothing is known yet. If the directory cannot be read, the error
// says so, and the rest holds.
func (v *View) Devices(nodeAddrs []netip.Addr, pins string) (Devices, error) {
	n := v.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if last := n.devices; last.table == v.table && last.pins == pins && slices.Equal(last.nodeAddrs, nodeAddrs) {
		return last.found, nil
	}
	addrs, err := n.socket.addrs()
	if err != nil {
		return Devices{}, err
	}
	pinned, err := n.pinned(pins)
	found := devices(v.table.links, exemption(v.table.links, addrs, nodeAddrs, pinned))
	if err == nil {
		n.devices = toldDevices{table: v.table, nodeAddrs: slices.Clone(nodeAddrs), pins: pins, found: found}
	}
	return found, err
}

// toldDevices is an answer and what it was made of.
type toldDevices struct {
	table     *table
	nodeAddrs []netip.Addr
	pins      string
	found     Devices
}

// exemption tells of a veth whether it is certainly no pod's.
func exemption(links []link, addrs map[uint32][]netip.Addr, nodeAddrs []netip.Addr, pinned map[int32]bool) func(link) bool {
	isNodes := func(a netip.Addr) bool { return slices.Contains(nodeAddrs, a) }
	trusted := slices.ContainsFunc(links, func(l link) bool { return l.foreign && pinned[l.namespace] })
	return func(l link) bool {
		isElsewhere := trusted && l.namespace >= 0 && !pinned[l.namespace]
		return !l.foreign || isElsewhere || slices.ContainsFunc(addrs[l.index], isNodes)
	}
}

func devices(links []link, exempt func(link) bool) (d Devices) {
	others := map[uint32]bool{} // bridges with a port that is no pod's
	for _, l := range links {
		notPods := l.kind != "veth" || exempt(l)
		switch {
		case l.kind != "veth":
		case notPods:
			d.Exempt = append(d.Exempt, l.index)
		default:
			d.Veths = append(d.Veths, l.index)
		}
		if l.master != 0 && notPods {
			others[l.master] = true
		}
	}
	for _, l := range links {
		if l.kind == "bridge" && !others[l.index] {
			d.Bridges = append(d.Bridges, l.index)
		}
	}
	slices.Sort(d.Exempt)
	slices.Sort(d.Veths)
	slices.Sort(d.Bridges)
	return d
}

// pinned lists the ids of the namespaces that are pinned in a directory and that anything here leads to.
func (n *Network) pinned(dir string) (map[int32]bool, error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no namespace was pinned since the node started
	}
	if err != nil {
		return nil, fmt.Errorf("list the runtime's network namespaces: %w", err)
	}
	ids := make(map[int32]bool, len(entries))
	for _, e := range entries {
		if id, err := n.idOf(filepath.Join(dir, e.Name())); err == nil && id >= 0 {
			ids[id] = true // what cannot be asked has vanished, or is no namespace
		}
	}
	return ids, nil
}

// idOf is the id here of the namespace that is pinned at path; below 0: it has none.
func (n *Network) idOf(path string) (int32, error) {
	file, err := openPin(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	id, err := n.handle.GetNetNsIdByFd(int(file.Fd()))
	return int32(id), err
}
