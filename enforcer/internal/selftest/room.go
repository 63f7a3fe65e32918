// SPDX-License-Identifier: Apache-2.0

package selftest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// device is the name of the veth pair's end that stands for the host's side of a pod.
const device = "bulkhead-test"

// Ifindex is the device that the datapath is attached to. It is so high that no device of the node has it, so
// that no world knows it, and is in a network namespace of its own.
const Ifindex = 1<<31 - 1<<16

// The ends' addresses: of documentation, and in namespaces that have no other link.
var families = []family{
	{"IPv4", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")},
	{"IPv6", netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")},
}

type family struct {
	name      string
	host, pod netip.Addr
}

// room is two network namespaces with a veth pair between them: one stands for a node, one for a pod. Nothing
// of the machine's own network is in it or changed by it, and all of it goes with the process.
type room struct {
	host, pod *namespace
	families  []family // that the kernel has
}

// namespace is a thread that is in a network namespace; it ends with close.
type namespace struct {
	handle netns.NsHandle
	calls  chan func()
}

func newNamespace() (*namespace, error) {
	n := &namespace{calls: make(chan func())}
	ready := make(chan error)
	go n.serve(ready)
	if err := <-ready; err != nil {
		return n, fmt.Errorf("make a network namespace (this needs CAP_SYS_ADMIN): %w", err)
	}
	return n, nil
}

// serve makes the namespace, tells ready, and runs the calls there.
func (n *namespace) serve(ready chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread, which is in another namespace, ends with the goroutine
	if unix.Gettid() == unix.Getpid() {
		// But never the main thread, which does not end, and whose namespace is the process' for all who look. It
		// is held until another has been taken.
		taken := make(chan error)
		go n.serve(taken)
		ready <- <-taken
		runtime.UnlockOSThread()
		return
	}
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		n.handle, err = netns.Get()
	}
	ready <- err
	if err != nil {
		return
	}
	for call := range n.calls {
		call()
	}
}

// do runs f in the namespace. Sockets opened there stay in it.
func (n *namespace) do(f func() error) error {
	result := make(chan error)
	n.calls <- func() { result <- f() }
	return <-result
}

func (n *namespace) close() {
	close(n.calls)
	n.handle.Close()
}

func newRoom() (*room, error) {
	r := &room{}
	var err error
	if r.host, err = newNamespace(); err != nil {
		return nil, err
	}
	if r.pod, err = newNamespace(); err != nil {
		r.host.close()
		return nil, err
	}
	if err := r.connect(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *room) close() {
	r.host.close()
	r.pod.close()
}

// connect links the namespaces and gives both ends their addresses.
func (r *room) connect() error {
	err := r.host.do(func() error {
		veth := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: device, Index: Ifindex}, PeerName: device, PeerNamespace: netlink.NsFd(r.pod.handle),
		}
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("add veth %s (this needs CAP_NET_ADMIN): %w", device, err)
		}
		r.families = families
		if !hasIPv6() {
			r.families = families[:1]
		}
		return r.configure(func(f family) netip.Addr { return f.host })
	})
	if err != nil {
		return err
	}
	return r.pod.do(func() error { return r.configure(func(f family) netip.Addr { return f.pod }) })
}

// hasIPv6 is false on a node whose kernel has none, or where it is switched off for all namespaces.
func hasIPv6() bool {
	disabled, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + device + "/disable_ipv6")
	return err == nil && strings.TrimSpace(string(disabled)) == "0"
}

func (r *room) configure(addr func(family) netip.Addr) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find veth %s: %w", device, err)
	}
	for _, f := range r.families {
		a, bits := addr(f), 24
		if a.Is6() {
			bits = 64
		}
		// Without duplicate address detection, which would keep the address from use for a second.
		to := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}, Flags: unix.IFA_F_NODAD}
		if a.Is4() {
			to.Flags = 0
		}
		if err := netlink.AddrAdd(link, to); err != nil {
			return fmt.Errorf("give veth %s its address %s: %w", device, a, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring veth %s up: %w", device, err)
	}
	return nil
}
