// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
)

// NewBridge puts pods behind a bridge that is their gateway, and returns its index. The pods still reach each other
// through the node's network layer, because each has a route to the gateway alone. It is removed when the test ends.
func NewBridge(t testing.TB, name string, pods ...*Pod) (ifindex uint32) {
	t.Helper()
	bridge, err := addBridge(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(bridge) }) // it may have gone with the test's namespace
	for _, pod := range pods {
		if err := pod.moveTo(bridge); err != nil {
			t.Fatal(err)
		}
	}
	return uint32(bridge.Attrs().Index)
}

func addBridge(name string) (netlink.Link, error) {
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}); err != nil {
		return nil, fmt.Errorf("add bridge %s: %w", name, err)
	}
	// No advice to pods to skip the gateway.
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/send_redirects", []byte("0"), 0o644); err != nil {
		return nil, err
	}
	if err := linkUp(name); err != nil {
		return nil, err
	}
	bridge, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find bridge %s: %w", name, err)
	}
	for _, gw := range []netip.Addr{Gateway4, Gateway6} {
		if err := addAddr(bridge, gw); err != nil {
			return nil, err
		}
	}
	return bridge, nil
}

// moveTo makes the pod's link a port of the bridge, to which its routes then lead.
func (p *Pod) moveTo(bridge netlink.Link) error {
	port, err := netlink.LinkByIndex(int(p.Ifindex))
	if err != nil {
		return fmt.Errorf("find the link of pod %s: %w", p.HostIf, err)
	}
	if err := netlink.LinkSetMaster(port, bridge); err != nil {
		return fmt.Errorf("make %s a port of %s: %w", p.HostIf, bridge.Attrs().Name, err)
	}
	for _, a := range p.Addrs {
		if err := addRoute(bridge, hostPrefix(a), nil); err != nil {
			return err
		}
	}
	return nil
}
