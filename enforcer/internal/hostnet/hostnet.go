// SPDX-License-Identifier: Apache-2.0

// Package hostnet reads the node's own network: which interface leads to a pod, which addresses the
// node has, and when either changes.
package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoInterface means that no interface of the node leads to a single pod's address (yet).
var ErrNoInterface = errors.New("no pod interface")

// Network asks one network namespace. It is safe for concurrent use.
type Network struct {
	handle *netlink.Handle
	socket *socket

	mu      sync.Mutex
	changes *changes // since table was read
	table   *table
	err     error // of the last read of table
	devices toldDevices
}

// Open binds to the network namespace that the calling thread is in.
func Open() (*Network, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a route netlink socket: %w", err)
	}
	socket, err := openSocket()
	if err != nil {
		handle.Close()
		return nil, fmt.Errorf("open a strict route netlink socket: %w", err)
	}
	changes, err := subscribeChanges()
	if err != nil {
		handle.Close()
		socket.close()
		return nil, fmt.Errorf("subscribe to changes of the node's interfaces: %w", err)
	}
	return &Network{handle: handle, socket: socket, changes: changes, table: &table{}}, nil
}

// Close releases the sockets.
func (n *Network) Close() {
	n.handle.Close()
	n.socket.close()
	n.changes.close()
}

// route returns the interface that packets for addr leave through, if addr is on the link there.
func (n *Network) route(addr netip.Addr) (ifindex uint32, err error) {
	routes, err := n.handle.RouteGetWithOptions(addr.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
		return 0, fmt.Errorf("%w: there is no route to %s", ErrNoInterface, addr)
	}
	if err != nil {
		return 0, fmt.Errorf("look up the route to %s: %w", addr, err)
	}
	if len(routes) != 1 || !isDirect(routes[0]) {
		return 0, fmt.Errorf("%w: %s is this node's own or behind a gateway or default route", ErrNoInterface, addr)
	}
	return uint32(routes[0].LinkIndex), nil
}

func isDirect(r netlink.Route) bool {
	if r.Type != unix.RTN_UNICAST || r.Gw != nil || r.Via != nil || len(r.MultiPath) > 0 || r.Dst == nil {
		return false
	}
	ones, _ := r.Dst.Mask.Size()
	return ones > 0
}

// Exists reports whether the interface is there.
func (n *Network) Exists(ifindex uint32) bool {
	_, err := n.handle.LinkByIndex(int(ifindex))
	return err == nil
}

// Addrs lists the addresses of all interfaces of the node, IPv4 unmapped, without zones.
func (n *Network) Addrs() ([]netip.Addr, error) {
	found, err := n.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	addrs := make([]netip.Addr, 0, len(found))
	for _, a := range found {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs, nil
}
