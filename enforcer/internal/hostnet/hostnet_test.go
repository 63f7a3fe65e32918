// SPDX-License-Identifier: Apache-2.0

package hostnet_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/hostnet"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

func TestMain(m *testing.M) { node.Main(m, nil, nil) }

func open(t *testing.T) *hostnet.Network {
	t.Helper()
	n, err := hostnet.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func TestInterfaceIsTheHostEndOfThePod(t *testing.T) {
	n := open(t)
	a := node.NewPod(t, "vetha", "10.99.1.2", "fd99::2")
	b := node.NewPod(t, "vethb", "10.99.1.3")
	for _, p := range []*node.Pod{a, b} {
		for _, addr := range p.Addrs {
			if got, err := n.View().Interfaces(addr); err != nil || !slices.Equal(got, []uint32{p.Ifindex}) {
				t.Errorf("Interfaces(%s) = %d, %v; want %d", addr, got, err, p.Ifindex)
			}
		}
	}
}

// A pod elsewhere, a node's own address and a shared bridge must never be taken for a local pod.
func TestInterfaceOfNoPod(t *testing.T) {
	n := open(t)
	p := node.NewPod(t, "vethgw", "10.99.2.2")
	link, err := netlink.LinkByName(p.HostIf)
	if err != nil {
		t.Fatal(err)
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "cni0"}}
	must(t, netlink.LinkAdd(bridge))
	t.Cleanup(func() { _ = netlink.LinkDel(bridge) })
	must(t, netlink.LinkSetUp(bridge))
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: bridge.Index, Dst: cidr("10.99.3.0/24"), Scope: netlink.SCOPE_LINK}))
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: cidr("10.99.4.0/24"), Gw: p.Addrs[0].AsSlice()}))
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: cidr("0.0.0.0/0"), Gw: p.Addrs[0].AsSlice()}))

	for addr, why := range map[string]string{
		"10.99.3.9":            "bridge",
		"10.99.4.9":            "gateway",
		"192.0.2.1":            "default route",
		"fd77::1":              "no route",
		node.Gateway4.String(): "default route",
	} {
		if _, err := n.View().Interfaces(netip.MustParseAddr(addr)); !errors.Is(err, hostnet.ErrNoInterface) || !strings.Contains(err.Error(), why) {
			t.Errorf("Interfaces(%s): %v; want ErrNoInterface because of %q", addr, err, why)
		}
	}
}

func TestAddrsHasBothFamilies(t *testing.T) {
	n := open(t)
	node.NewPod(t, "vethaddr", "10.99.5.2")
	addrs, err := n.Addrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []netip.Addr{node.Gateway4, node.Gateway6, netip.MustParseAddr("127.0.0.1")} {
		if !slices.Contains(addrs, want) {
			t.Errorf("Addrs() = %v lacks %s", addrs, want)
		}
	}
}

func TestWatchTellsOfPodsComingAndGoing(t *testing.T) {
	n := open(t)
	changes := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- hostnet.Watch(ctx, func() {
			select {
			case changes <- struct{}{}:
			default:
			}
		})
	}()
	wait(t, changes) // it listens
	p := node.NewPod(t, "vethwatch", "10.99.6.2")
	found := func() bool { _, err := n.View().Interfaces(p.Addrs[0]); return err == nil }
	for !found() {
		wait(t, changes)
	}
	p.RemoveLink()
	for found() {
		wait(t, changes)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Watch ended with %v, want nil when its context ends", err)
	}
}

func wait(t *testing.T, changes <-chan struct{}) {
	t.Helper()
	select {
	case <-changes:
	case <-time.After(5 * time.Second):
		t.Fatal("no change was reported within 5 s")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func cidr(s string) *net.IPNet {
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	return n
}
