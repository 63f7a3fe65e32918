// SPDX-License-Identifier: Apache-2.0

package hostnet_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/hostnet"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

func index(t *testing.T, name string) uint32 {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return uint32(l.Attrs().Index)
}

func wantDevices(t *testing.T, n *hostnet.Network, pins string, want hostnet.Devices) {
	t.Helper()
	slices.Sort(want.Exempt)
	slices.Sort(want.Bridges)
	uplink := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fd96::9")}
	for range 2 { // the second answer is remembered
		got, err := n.View().Devices(uplink, pins)
		if err != nil || !slices.Equal(got.Exempt, want.Exempt) || !slices.Equal(got.Bridges, want.Bridges) {
			t.Errorf("Devices = %+v, %v; want %+v", got, err, want)
		}
	}
}

func TestDevices(t *testing.T) {
	n := open(t)
	wantDevices(t, n, "", hostnet.Devices{})

	pods, mixed := newBridge(t, "pods", "10.95.1.0/24"), newBridge(t, "mixed", "10.95.2.0/24")
	a, b, other := node.NewPod(t, "vpoda", "10.95.1.2"), node.NewPod(t, "vpodb", "10.95.2.2"), node.NewPod(t, "vother", "10.95.3.2")
	onBridge(t, pods, a)
	onBridge(t, mixed, b)
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "here"}, PeerName: "too"}
	must(t, netlink.LinkAdd(pair))
	t.Cleanup(func() { _ = netlink.LinkDel(pair) })
	must(t, netlink.LinkSetMaster(pair, mixed))
	both := []uint32{index(t, "here"), index(t, "too")}
	podBridge := []uint32{index(t, "pods")}
	wantDevices(t, n, "", hostnet.Devices{Exempt: both, Bridges: podBridge})

	outer := node.NewPod(t, "vuplink", "10.95.4.2") // the way out of a node that is a container
	link, err := netlink.LinkByName("vuplink")
	must(t, err)
	addr, err := netlink.ParseAddr("192.0.2.1/24")
	must(t, err)
	must(t, netlink.AddrAdd(link, addr))
	both = append(both, outer.Ifindex)
	wantDevices(t, n, "", hostnet.Devices{Exempt: both, Bridges: podBridge})

	// Where the runtime pins namespaces, others' containers can be told from pods.
	pins := t.TempDir()
	must(t, os.WriteFile(filepath.Join(pins, "file"), nil, 0o600))
	must(t, unix.Mkfifo(filepath.Join(pins, "pipe"), 0o600))
	wantDevices(t, n, pins, hostnet.Devices{Exempt: both, Bridges: podBridge}) // it pins none here
	wantDevices(t, n, filepath.Join(pins, "none"), hostnet.Devices{Exempt: both, Bridges: podBridge})
	dir := filepath.Dir(pin(t, a))
	wantDevices(t, n, dir, hostnet.Devices{Exempt: append(both, b.Ifindex, other.Ifindex), Bridges: podBridge})
	onBridge(t, pods, other)
	wantDevices(t, n, dir, hostnet.Devices{Exempt: append(both, b.Ifindex, other.Ifindex)})

	if got, err := n.View().Devices(nil, "/proc/self/comm"); err == nil || len(got.Exempt) != 2 {
		t.Errorf("Devices with pins that are no directory: %+v, %v", got, err)
	}
}
