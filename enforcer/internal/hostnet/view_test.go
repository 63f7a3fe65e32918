// SPDX-License-Identifier: Apache-2.0

package hostnet_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/hostnet"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// handle is the pod's network namespace; it is closed when the test ends.
func handle(t *testing.T, p *node.Pod) netns.NsHandle {
	t.Helper()
	var ns netns.NsHandle
	must(t, p.Do(func() (err error) {
		ns, err = netns.Get()
		return err
	}))
	t.Cleanup(func() { ns.Close() })
	return ns
}

// pin gives the pod's network namespace a path, as a container runtime does.
func pin(t *testing.T, p *node.Pod) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cni-1")
	must(t, os.WriteFile(path, nil, 0o444))
	must(t, p.Do(func() error { return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "") }))
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

// addInterface gives the pod one more veth pair; it returns the index of the node's end.
func addInterface(t *testing.T, p *node.Pod, name string, addrs ...string) uint32 {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name, PeerNamespace: netlink.NsFd(handle(t, p)),
	}))
	link, err := netlink.LinkByName(name)
	must(t, err)
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	for _, a := range addrs {
		addAddr(t, p, name, a)
	}
	return uint32(link.Attrs().Index)
}

func addAddr(t *testing.T, p *node.Pod, link, addr string) {
	t.Helper()
	must(t, p.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		prefix := netip.MustParseAddr(addr).BitLen()
		a, err := netlink.ParseAddr(fmt.Sprintf("%s/%d", addr, prefix))
		if err != nil {
			return err
		}
		return netlink.AddrAdd(l, a)
	}))
}

// onBridge moves the pod's interface to a bridge and takes its routes away, as the bridge plugin lays it out.
func onBridge(t *testing.T, bridge netlink.Link, p *node.Pod) {
	t.Helper()
	p.RemoveRoutes(t)
	link, err := netlink.LinkByName(p.HostIf)
	must(t, err)
	must(t, netlink.LinkSetMaster(link, bridge))
}

func newBridge(t *testing.T, name, subnet string) netlink.Link {
	t.Helper()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	must(t, netlink.LinkAdd(bridge))
	t.Cleanup(func() { _ = netlink.LinkDel(bridge) })
	must(t, netlink.LinkSetUp(bridge))
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: bridge.Index, Dst: cidr(subnet), Scope: netlink.SCOPE_LINK}))
	return bridge
}

func wantInterfaces(t *testing.T, v *hostnet.View, addr netip.Addr, want ...uint32) {
	t.Helper()
	if got, err := v.Interfaces(addr); err != nil || !slices.Equal(got, want) {
		t.Errorf("Interfaces(%s) = %d, %v; want %d", addr, got, err, want)
	}
}

func wantNone(t *testing.T, v *hostnet.View, addr string, why ...string) {
	t.Helper()
	got, err := v.Interfaces(netip.MustParseAddr(addr))
	if !errors.Is(err, hostnet.ErrNoInterface) {
		t.Errorf("Interfaces(%s) = %d, %v; want ErrNoInterface", addr, got, err)
		return
	}
	for _, w := range why {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("Interfaces(%s): %v\nit does not say %q", addr, err, w)
		}
	}
}

func TestViewOfEveryLayout(t *testing.T) {
	n := open(t)
	bridge := newBridge(t, "cni0", "10.97.1.0/24")
	a, b := node.NewPod(t, "vbra", "10.97.1.2", "fd97::2"), node.NewPod(t, "vbrb", "10.97.1.3")
	onBridge(t, bridge, a)
	onBridge(t, bridge, b)
	routed := node.NewPod(t, "vrouted", "10.97.2.2", "fd97:2::2")
	v := n.View()
	for _, p := range []*node.Pod{a, b, routed} {
		for _, addr := range p.Addrs {
			wantInterfaces(t, v, addr, p.Ifindex)
		}
	}
	wantNone(t, v, "10.97.1.9", "no network namespace", "through cni0, a bridge")
	wantNone(t, v, "192.0.2.7", "no network namespace", "no route")
}

func TestViewFindsAllInterfacesOfAPod(t *testing.T) {
	n := open(t)
	p := node.NewPod(t, "vmulti", "10.97.3.2")
	second := addInterface(t, p, "vmulti2", "192.168.97.2")
	want := []uint32{p.Ifindex, second}
	v := n.View()
	wantInterfaces(t, v, p.Addrs[0], want...)
	got, err := n.Pod(pin(t, p))
	if addrs := []string{"10.97.3.2", "192.168.97.2"}; err != nil || !slices.Equal(got.Interfaces, want) || !slices.Equal(asStrings(got.Addrs), addrs) {
		t.Errorf("Pod: %+v, %v; want interfaces %d and addresses %s", got, err, want, addrs)
	}
}

func asStrings(addrs []netip.Addr) []string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	slices.Sort(s)
	return s
}

// A veth pair that does not end here carries nothing of the pod's through this node's network namespace, even
// if its other end has the index of an interface here.
func TestViewLeavesOutPairsThatEndElsewhere(t *testing.T) {
	n := open(t)
	outer, inner := node.NewPod(t, "vouter", "10.97.4.2"), node.NewPod(t, "vinner", "10.97.4.3")
	to := handle(t, inner)
	must(t, outer.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "nested"}, PeerName: "nested", PeerNamespace: netlink.NsFd(to)})
	}))
	both := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "both"}, PeerName: "ends"}
	must(t, netlink.LinkAdd(both))
	t.Cleanup(func() { _ = netlink.LinkDel(both) })
	v := n.View()
	wantInterfaces(t, v, outer.Addrs[0], outer.Ifindex)
	wantInterfaces(t, v, inner.Addrs[0], inner.Ifindex)
}

func TestViewFollowsChanges(t *testing.T) {
	n := open(t)
	v := n.View()
	wantNone(t, v, "10.97.5.2")
	p := node.NewPod(t, "vlater", "10.97.5.2")
	p.RemoveRoutes(t)
	wantInterfaces(t, n.View(), p.Addrs[0], p.Ifindex)
	addAddr(t, p, "eth0", "fd97:5::2") // nothing tells the node of it
	wantInterfaces(t, n.View(), netip.MustParseAddr("fd97:5::2"), p.Ifindex)
	p.RemoveLink()
	wantNone(t, n.View(), "10.97.5.2", "no network namespace")
	again := node.NewPod(t, "vagain", "10.97.5.2") // the address of a pod that is gone
	again.RemoveRoutes(t)
	wantInterfaces(t, n.View(), again.Addrs[0], again.Ifindex)
}

// A pod that may change its own network can give itself the address of another.
func TestAddressThatAThiefTakes(t *testing.T) {
	n := open(t)
	victim, thief := node.NewPod(t, "vvictim", "10.97.6.2"), node.NewPod(t, "vthief", "10.97.6.3")
	addAddr(t, thief, "eth0", "10.97.6.2")
	v := n.View()
	wantInterfaces(t, v, victim.Addrs[0], victim.Ifindex)
	wantInterfaces(t, v, thief.Addrs[0], thief.Ifindex)
	victim.RemoveRoutes(t)
	wantNone(t, n.View(), "10.97.6.2", "2 network namespaces", "vthief; vvictim", "no route")
	for _, p := range []*node.Pod{victim, thief} { // the runtime's word needs no address
		if got, err := n.Pod(pin(t, p)); err != nil || !slices.Equal(got.Interfaces, []uint32{p.Ifindex}) {
			t.Errorf("Pod: %+v, %v; want interface %d", got, err, p.Ifindex)
		}
	}
	victim.RemoveLink()
	wantNone(t, n.View(), "10.97.6.2", "a pod behind vthief has 10.97.6.2", "routes to it are for other addresses")
}

func TestPodWithoutInterface(t *testing.T) {
	n := open(t)
	p := node.NewPod(t, "vgone", "10.97.7.2")
	path := pin(t, p)
	if _, err := n.Pod(path); err != nil {
		t.Fatal(err)
	}
	p.RemoveLink()
	if got, err := n.Pod(path); !errors.Is(err, hostnet.ErrNoInterface) || !strings.Contains(err.Error(), path) {
		t.Errorf("Pod of a namespace without interfaces: %+v, %v", got, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, path := range []string{file, filepath.Join(t.TempDir(), "gone"), "/proc/self/ns/mnt"} {
		if got, err := n.Pod(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Pod(%s) = %+v, %v", path, got, err)
		}
	}
}

// withCapabilities runs fn on a thread that has no other capabilities than those.
func withCapabilities(t *testing.T, fn func(), capabilities ...int) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		for _, c := range capabilities {
			data[c/32].Effective |= 1 << (c % 32)
			data[c/32].Permitted |= 1 << (c % 32)
		}
		err := unix.Capset(&header, &data[0])
		if err == nil {
			fn()
		}
		done <- err
	}()
	must(t, <-done)
}

// NET_ADMIN is all it takes; without it, routes still tell.
func TestCapabilities(t *testing.T) {
	n := open(t)
	p := node.NewPod(t, "vcap", "10.97.8.2")
	second := addInterface(t, p, "vcap2")
	path := pin(t, p)
	withCapabilities(t, func() {
		v := n.View()
		wantInterfaces(t, v, p.Addrs[0], p.Ifindex, second)
		wantNone(t, v, "10.97.8.9", "permission denied", "no route")
	})
	p.RemoveRoutes(t)
	withCapabilities(t, func() {
		wantInterfaces(t, n.View(), p.Addrs[0], p.Ifindex, second)
		if got, err := n.Pod(path); err != nil || !slices.Equal(got.Interfaces, []uint32{p.Ifindex, second}) {
			t.Errorf("Pod: %+v, %v", got, err)
		}
		if _, err := n.View().Devices(nil, filepath.Dir(path)); err != nil {
			t.Errorf("Devices: %v", err)
		}
	}, unix.CAP_NET_ADMIN)
}

func BenchmarkView250Pods(b *testing.B) {
	n, err := hostnet.Open()
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	for i := range 250 {
		node.NewPod(b, fmt.Sprintf("vbench%d", i), fmt.Sprintf("10.96.0.%d", i+1), fmt.Sprintf("fd96::%x", i+1))
	}
	addr := netip.MustParseAddr("10.96.0.7")
	b.Run("unchanged", func(b *testing.B) {
		for b.Loop() {
			if _, err := n.View().Interfaces(addr); err != nil {
				b.Fatal(err)
			}
		}
	})
	link, err := netlink.LinkByName("vbench0")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("changed", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if err := netlink.LinkSetMTU(link, 1400+i%2); err != nil {
				b.Fatal(err)
			}
			n.View()
		}
	})
	b.Run("missing", func(b *testing.B) {
		for b.Loop() {
			if _, err := n.View().Interfaces(node.Gateway6); err == nil {
				b.Fatal("the gateway is taken for a pod")
			}
		}
	})
}

// What a view says is true of pods that were there before it was asked for, whatever comes and goes meanwhile.
func TestViewWhilePodsComeAndGo(t *testing.T) {
	n := open(t)
	stays := node.NewPod(t, "vstays", "10.94.0.1")
	ended := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			default:
				if err := comeAndGo(i); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for i := range 30 {
		p := node.NewPod(t, fmt.Sprintf("vnew%d", i), "10.94.0.2") // the same address each time
		p.RemoveRoutes(t)
		v := n.View()
		wantInterfaces(t, v, p.Addrs[0], p.Ifindex)
		wantInterfaces(t, v, stays.Addrs[0], stays.Ifindex)
		p.RemoveLink()
		wantNone(t, n.View(), "10.94.0.2", "no network namespace", "no route")
	}
	close(ended)
	busy.Wait()
}

// comeAndGo makes a network namespace behind a veth pair and takes it away.
func comeAndGo(i int) error {
	name := fmt.Sprintf("vchurn%d", i%8)
	done := make(chan error)
	var ns netns.NsHandle
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var err error
		ns, err = netns.New()
		done <- err
	}()
	if err := <-done; err != nil {
		return err
	}
	defer ns.Close()
	_, err := node.Connect(name, ns, netip.AddrFrom4([4]byte{10, 94, 1, byte(i % 8)}))
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}
