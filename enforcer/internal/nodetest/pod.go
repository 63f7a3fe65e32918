// SPDX-License-Identifier: Apache-2.0

package nodetest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The node's address on every pod's link, which pods use as their gateway.
var (
	Gateway4 = netip.MustParseAddr("10.99.0.1")
	Gateway6 = netip.MustParseAddr("fd99::1")
)

// Pod is a network namespace behind a veth pair.
type Pod struct {
	Addrs   []netip.Addr
	Ifindex uint32 // of the host's end
	HostIf  string
	ns      netns.NsHandle
}

// NewPod makes a pod; hostIf names the host's end of its veth pair (at most 15 bytes). It is removed
// when the test ends.
func NewPod(t *testing.T, hostIf string, addrs ...string) *Pod {
	t.Helper()
	p := Unconnected(hostIf, addrs...)
	var err error
	inNewThread(func() error {
		p.ns, err = netns.New()
		return err
	})
	if err == nil {
		err = p.connect()
	}
	if err != nil {
		t.Fatalf("make pod %s: %v", hostIf, err)
	}
	t.Cleanup(func() {
		p.RemoveLink()
		p.ns.Close()
	})
	return p
}

// RemoveLink takes the pod's veth pair away, as a CNI plugin does when a pod ends.
func (p *Pod) RemoveLink() {
	if link, err := netlink.LinkByName(p.HostIf); err == nil {
		_ = netlink.LinkDel(link)
	}
}

// RemoveRoutes takes the host's routes to the pod away and leaves its link.
func (p *Pod) RemoveRoutes(t *testing.T) {
	t.Helper()
	for _, a := range p.Addrs {
		if err := netlink.RouteDel(&netlink.Route{LinkIndex: int(p.Ifindex), Dst: ipNet(hostPrefix(a)), Scope: netlink.SCOPE_LINK}); err != nil {
			t.Fatalf("remove the route to %s: %v", a, err)
		}
	}
}

// Do runs fn on a thread in the pod's network namespace. Sockets opened there stay the pod's.
func (p *Pod) Do(fn func() error) error {
	return inNewThread(func() error {
		if err := netns.Set(p.ns); err != nil {
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

func (p *Pod) connect() error {
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: p.HostIf}, PeerName: "eth0", PeerNamespace: netlink.NsFd(p.ns),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth %s: %w", p.HostIf, err)
	}
	if err := p.Do(func() error { return p.configureInside() }); err != nil {
		return err
	}
	if err := linkUp(p.HostIf); err != nil {
		return err
	}
	link, err := netlink.LinkByName(p.HostIf)
	if err != nil {
		return err
	}
	p.Ifindex = uint32(link.Attrs().Index)
	for _, gw := range []netip.Addr{Gateway4, Gateway6} {
		if err := addAddr(link, gw); err != nil {
			return err
		}
	}
	for _, a := range p.Addrs {
		if err := addRoute(link, hostPrefix(a), nil); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pod) configureInside() error {
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
	for _, a := range p.Addrs {
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

// Unconnected is a pod whose network does not exist (yet): a name for its interface and its addresses.
func Unconnected(hostIf string, addrs ...string) *Pod {
	p := &Pod{HostIf: hostIf, ns: netns.None()}
	for _, a := range addrs {
		p.Addrs = append(p.Addrs, netip.MustParseAddr(a))
	}
	return p
}
