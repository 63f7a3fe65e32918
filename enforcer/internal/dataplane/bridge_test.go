// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/test/node"
)

// topologies are how CNI plugins lay pods out: a route to each veth, or one bridge that they share.
var topologies = map[string]func(*testing.T, *testNode){
	"ptp":    func(*testing.T, *testNode) {},
	"bridge": putBehindABridge,
}

func onEachTopology(t *testing.T, check func(*testing.T, *testNode)) {
	for name, lay := range topologies {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, newConfig(t))
			defer n.Remove() // the next one needs the hooks
			lay(t, n)
			check(t, n)
		})
	}
}

func putBehindABridge(t *testing.T, n *testNode) { putBehind(t, "pods", n.client, n.server) }

// putBehind makes the pods' veths ports of a bridge that is their gateway, and returns its index. They reach each
// other through the node's network layer all the same, because each has a route to the gateway alone.
func putBehind(t *testing.T, name string, pods ...*node.Pod) (ifindex uint32) {
	t.Helper()
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}); err != nil {
		t.Fatal(err)
	}
	bridge, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(bridge) })
	// No advice to skip the gateway.
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/send_redirects", []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		pod.RemoveRoutes(t)
		port, err := netlink.LinkByIndex(int(pod.Ifindex))
		if err == nil {
			err = netlink.LinkSetMaster(port, bridge)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []netip.Addr{node.Gateway4, node.Gateway6} {
		if err := netlink.AddrAdd(bridge, &netlink.Addr{IPNet: hostNet(addr), Flags: unix.IFA_F_NODAD}); err != nil {
			t.Fatal(err)
		}
	}
	for _, pod := range pods {
		for _, addr := range pod.Addrs {
			route := &netlink.Route{LinkIndex: bridge.Attrs().Index, Dst: hostNet(addr), Scope: netlink.SCOPE_LINK}
			if err := netlink.RouteReplace(route); err != nil {
				t.Fatal(err)
			}
		}
	}
	return uint32(bridge.Attrs().Index)
}

func hostNet(addr netip.Addr) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}
}

// A pod's packet that has another's address never reaches the place where addresses tell pods apart.
func TestSpoofingBehindABridge(t *testing.T) {
	onEachTopology(t, func(t *testing.T, n *testNode) {
		n.serve(t, 8080)
		load(t, n.Dataplane, n.world(true))
		if !answers(n.connect(t, "udp", serverAddrs[0], 8080)) {
			t.Fatal("no answer to the client's own address")
		}
		drained(t, n.Dataplane)
		// The server is not allowed to open connections, the client is.
		err := n.server.Do(func() error {
			return sendFrom(clientAddrs[0], serverAddrs[0], 8080)
		})
		if err != nil {
			t.Fatal(err)
		}
		flows, _ := drained(t, n.Dataplane)
		if len(flows) != 1 || flows[0].Reason != ByForeignSource || flows[0].Ifindex != n.server.Ifindex {
			t.Errorf("recorded %+v, want one drop of a foreign source at interface %d", flows, n.server.Ifindex)
		}
	})
}

// sendFrom sends one UDP datagram with a source address that is not the sender's, to the gateway.
func sendFrom(source, destination string, port uint16) error {
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	packet := frame(ipPacket(source, destination, udp, udpDatagram(9, port, 'x')))
	return unix.Sendto(socket, packet, 0, &unix.SockaddrLinklayer{Ifindex: eth0.Index})
}
