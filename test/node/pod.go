// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
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
func NewPod(t testing.TB, hostIf string, addrs ...string) *Pod {
	t.Helper()
	p, err := Open(hostIf, addrs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Open makes a pod as NewPod does, which Close removes.
func Open(hostIf string, addrs ...string) (*Pod, error) {
	p := Unconnected(hostIf, addrs...)
	err := inNewThread(func() (err error) {
		p.ns, err = netns.New()
		return err
	})
	if err == nil {
		p.Ifindex, err = Connect(hostIf, p.ns, p.Addrs...)
	}
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("make pod %s: %w", hostIf, err)
	}
	return p, nil
}

// Close takes the pod's network away. What has a socket there keeps the namespace, without a link.
func (p *Pod) Close() {
	p.RemoveLink()
	if p.ns.IsOpen() {
		_ = p.ns.Close()
	}
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
	return within(p.ns, fn)
}

// Unconnected is a pod whose network does not exist (yet): a name for its interface and its addresses.
func Unconnected(hostIf string, addrs ...string) *Pod {
	p := &Pod{HostIf: hostIf, ns: netns.None()}
	for _, a := range addrs {
		p.Addrs = append(p.Addrs, netip.MustParseAddr(a))
	}
	return p
}
