// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Interfaces returns the indices of the node's ends of all veth pairs of the pod that has addr, sorted:
// all of them carry its packets. A route to a single veth decides, because pods cannot change it. Where there
// is none, as behind a bridge, the pod is the one that has the address; but a pod that the node has routes to
// is not believed to have another one. It errs with ErrNoInterface if that names no pod, or more than one; the
// error says what was tried.
func (v *View) Interfaces(addr netip.Addr) ([]uint32, error) {
	byRoute, routeErr := v.routeTo(addr)
	if routeErr == nil {
		return v.siblings(byRoute), nil
	}
	owners := v.table.byAddr[addr]
	if len(owners) != 1 && !v.fresh {
		// Addresses may have changed since they were read, of which the kernel tells nobody outside.
		v.table, v.err = v.network.refresh(true)
		v.fresh = true
		owners = v.table.byAddr[addr]
	}
	if len(owners) == 1 && !v.isRouted(owners[0]) {
		return owners[0].interfaces(), nil
	}
	return nil, errors.Join(v.nobody(addr, owners), routeErr)
}

// routeTo returns the veth that the node sends packets for addr to. Behind any other kind of interface there may be
// more than one pod, and a verdict would be given in the wrong pod's name.
func (v *View) routeTo(addr netip.Addr) (ifindex uint32, err error) {
	index, err := v.network.route(addr)
	if err != nil {
		return 0, err
	}
	at := slices.IndexFunc(v.table.links, func(l link) bool { return l.index == index })
	if at < 0 {
		return 0, fmt.Errorf("%w: interface %d, which led to %s, is gone", ErrNoInterface, index, addr)
	}
	if l := v.table.links[at]; l.kind != "veth" {
		return 0, fmt.Errorf("%w: %s is reached through %s, a %s, which is no single pod's", ErrNoInterface, addr, l.name, l.kind)
	}
	return index, nil
}

// isRouted reports whether the node has a route to the pod. Ports of a bridge have none, which saves asking.
func (v *View) isRouted(ns *namespace) bool {
	if !slices.ContainsFunc(ns.veths, func(l link) bool { return l.master == 0 }) {
		return false
	}
	for _, addr := range ns.addrs {
		if ifindex, err := v.routeTo(addr); err == nil && slices.Contains(ns.interfaces(), ifindex) {
			return true
		}
	}
	return false
}

// nobody says why the addresses of namespaces do not tell where addr is.
func (v *View) nobody(addr netip.Addr, owners []*namespace) error {
	var names []string
	for _, ns := range owners {
		names = append(names, ns.names())
	}
	slices.Sort(names)
	switch {
	case v.err != nil:
		return fmt.Errorf("%w: who has %s is not known: %w", ErrNoInterface, addr, v.err)
	case len(owners) == 0:
		return fmt.Errorf("%w: no network namespace behind a veth interface of this node has %s", ErrNoInterface, addr)
	case len(owners) == 1:
		return fmt.Errorf("%w: a pod behind %s has %s, but the node's routes to it are for other addresses", ErrNoInterface, names[0], addr)
	default:
		return fmt.Errorf("%w: %d network namespaces have %s, those behind %s", ErrNoInterface, len(owners), addr, strings.Join(names, "; "))
	}
}

// siblings returns all interfaces that lead where ifindex does.
func (v *View) siblings(ifindex uint32) []uint32 {
	for _, ns := range v.table.namespaces {
		if all := ns.interfaces(); slices.Contains(all, ifindex) {
			return all
		}
	}
	return []uint32{ifindex}
}

func (ns *namespace) names() string {
	names := make([]string, 0, len(ns.veths))
	for _, l := range ns.veths {
		names = append(names, l.name)
	}
	return strings.Join(names, ", ")
}
