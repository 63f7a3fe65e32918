// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// wire is what the nodes are plugged into: a bridge in a network namespace that is none of theirs, whose address
// is their default gateway. To the cluster it is the world; beyond it there is nothing. It goes when it
// is closed, or with this process.
type wire struct {
	ns   netns.NsHandle
	here *netlink.Handle // works on links in ns
	lan  netlink.Link
}

func newWire() (*wire, error) {
	w := &wire{}
	err := onThread(func() (err error) {
		w.ns, err = netns.New()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("network namespace between the nodes: %w", err)
	}
	if w.here, err = netlink.NewHandleAt(w.ns, unix.NETLINK_ROUTE); err != nil {
		return nil, errors.Join(err, w.ns.Close())
	}
	if err := w.addBridge(); err != nil {
		w.close()
		return nil, fmt.Errorf("network between the nodes: %w", err)
	}
	return w, nil
}

func (w *wire) addBridge() error {
	if err := setUp(w.here, "lo"); err != nil {
		return err
	}
	w.lan = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan0"}}
	if err := w.here.LinkAdd(w.lan); err != nil {
		return err
	}
	for _, f := range []family{ipv4, ipv6} {
		if err := addAddr(w.here, w.lan, f.gateway(), f.nodes.Bits()); err != nil {
			return err
		}
	}
	return w.here.LinkSetUp(w.lan)
}

// connect gives a node its eth0, with a default route and routes to the pods of the other nodes, and
// the gateway a route to the node's pods.
func (w *wire) connect(n *Node, all []*Node) error {
	ns, err := netns.GetFromPid(n.Pid())
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	plug := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: n.Name, MasterIndex: w.lan.Attrs().Index},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(ns),
	}
	if err := w.here.LinkAdd(plug); err != nil {
		return fmt.Errorf("connect %s: %w", n.Name, err)
	}
	if err := w.here.LinkSetUp(plug); err != nil {
		return fmt.Errorf("connect %s: %w", n.Name, err)
	}
	there, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := configure(there, n, all); err != nil {
		return fmt.Errorf("configure the network of %s: %w", n.Name, err)
	}
	return routePods(w.here, w.lan, n)
}

func configure(there *netlink.Handle, n *Node, all []*Node) error {
	for _, name := range []string{"lo", "eth0"} {
		if err := setUp(there, name); err != nil {
			return err
		}
	}
	eth0, err := there.LinkByName("eth0")
	if err != nil {
		return err
	}
	for i, f := range n.families {
		if err := addAddr(there, eth0, n.Addrs[i], f.nodes.Bits()); err != nil {
			return err
		}
		if err := addRoute(there, eth0, f.all, f.gateway()); err != nil {
			return err
		}
	}
	for _, other := range all {
		if other == n {
			continue
		}
		if err := routePods(there, eth0, other); err != nil {
			return err
		}
	}
	return nil
}

// routePods adds the routes to a node's pods.
func routePods(h *netlink.Handle, link netlink.Link, n *Node) error {
	for i, pods := range n.Pods {
		if err := addRoute(h, link, pods, n.Addrs[i]); err != nil {
			return err
		}
	}
	return nil
}

func setUp(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring %s up: %w", name, err)
	}
	return nil
}

func addRoute(h *netlink.Handle, link netlink.Link, to netip.Prefix, via netip.Addr) error {
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(to), Gw: via.AsSlice()}
	if err := h.RouteAdd(route); err != nil {
		return fmt.Errorf("add route %s via %s: %w", to, via, err)
	}
	return nil
}

// addAddr skips duplicate address detection, which would keep an IPv6 address from use for a second.
func addAddr(h *netlink.Handle, link netlink.Link, a netip.Addr, bits int) error {
	addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, bits))}
	if a.Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := h.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("add %s to %s: %w", a, link.Attrs().Name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func (w *wire) close() {
	w.here.Close()
	_ = w.ns.Close() // nothing is written to it
}

// do runs fn on a thread in the network namespace: connections that begin there come from outside of the cluster.
func (w *wire) do(fn func() error) error {
	return onThread(func() error {
		if err := netns.Set(w.ns); err != nil {
			return err
		}
		return fn()
	})
}
