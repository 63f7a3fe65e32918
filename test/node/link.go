// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The node's address on every pod's link, which pods use as their gateway.
var (
	Gateway4 = netip.MustParseAddr("10.99.0.1")
	Gateway6 = netip.MustParseAddr("fd99::1")
)

// Connect links a network namespace to the one of the caller: a veth pair whose end here is named
// hostIf (at most 15 bytes) and whose end there is eth0, with the addresses, and routes both ways. It
// returns the index of the end here. The link goes with the namespace.
func Connect(hostIf string, ns netns.NsHandle, addrs ...netip.Addr) (ifindex uint32, err error) {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: hostIf}, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)}
	if err := netlink.LinkAdd(veth); err != nil {
		return 0, fmt.Errorf("add veth %s: %w", hostIf, err)
	}
	if err := within(ns, func() error { return configureInside(addrs) }); err != nil {
		return 0, err
	}
	if err := linkUp(hostIf); err != nil {
		return 0, err
	}
	link, err := netlink.LinkByName(hostIf)
	if err != nil {
		return 0, fmt.Errorf("find link %s: %w", hostIf, err)
	}
	for _, gw := range []netip.Addr{Gateway4, Gateway6} {
		if err := addAddr(link, gw); err != nil {
			return 0, err
		}
	}
	for _, a := range addrs {
		if err := addRoute(link, hostPrefix(a), nil); err != nil {
			return 0, err
		}
	}
	return uint32(link.Attrs().Index), nil
}

func configureInside(addrs []netip.Addr) error {
	if err := os.WriteFile(noDAD("eth0"), []byte("0"), 0o644); err != nil {
		return err
	}
	for _, name := range []string{"lo", "eth0"} {
		if err := linkUp(name); err != nil {
			return err
		}
	}
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	for _, a := range addrs {
		gw, everything := Gateway4, netip.MustParsePrefix("0.0.0.0/0")
		if a.Is6() {
			gw, everything = Gateway6, netip.MustParsePrefix("::/0")
		}
		if err := addAddr(eth0, a); err != nil {
			return err
		}
		if err := addRoute(eth0, hostPrefix(gw), nil); err != nil {
			return err
		}
		if err := addRoute(eth0, everything, gw.AsSlice()); err != nil {
			return err
		}
	}
	return nil
}

// within runs fn on a thread in the network namespace. Sockets opened there stay in it.
func within(ns netns.NsHandle, fn func() error) error {
	return inNewThread(func() error {
		if err := netns.Set(ns); err != nil {
			return err
		}
		return fn()
	})
}

// inNewThread runs fn on a thread that ends with it.
func inNewThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		done <- fn()
	}()
	return <-done
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring %s up: %w", name, err)
	}
	return nil
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// addAddr skips duplicate address detection, which would keep an IPv6 address from use for a second.
func addAddr(link netlink.Link, a netip.Addr) error {
	addr := &netlink.Addr{IPNet: ipNet(hostPrefix(a))}
	if a.Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("add %s to %s: %w", a, link.Attrs().Name, err)
	}
	return nil
}

func addRoute(link netlink.Link, to netip.Prefix, gw net.IP) error {
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(to), Gw: gw}
	if gw == nil {
		route.Scope = netlink.SCOPE_LINK
	}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("add route %s dev %s: %w", to, link.Attrs().Name, err)
	}
	return nil
}
