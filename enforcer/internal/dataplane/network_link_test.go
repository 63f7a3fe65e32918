// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/test/node"
)

// clientToServerAll lets everything pass from the client to the server, also what has no ports.
const clientToServerAll = defaultDeny + `
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: client}, spec: {podSelector: {matchLabels: {app: client}},
  policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: server}}}]}]}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: server}, spec: {podSelector: {matchLabels: {app: server}},
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}}
`

// Pitfall 10: neighbour discovery works under default-deny.
func TestNeighbourDiscovery(t *testing.T) {
	c := newCluster(t, newConfig(t), clientToServer)
	c.serve(t, "server", 8080)
	server := net.JoinHostPort(c.pods["server"].Addrs[1].String(), "8080")
	for range 2 {
		forgetNeighbours(t, nil)
		for _, pod := range c.pods {
			forgetNeighbours(t, pod)
		}
		before, err := c.Counters()
		if err != nil {
			t.Fatal(err)
		}
		must(t, map[string]attemptWanted{
			"the node's probe": {attempt{network: "tcp", to: server}, true},
			"the client":       {attempt{from: c.pods["client"], network: "tcp", to: server}, true},
			"the stranger":     {attempt{from: c.pods["stranger"], network: "tcp", to: server}, false},
		})
		after, err := c.Counters()
		if err != nil || after.Passed[byLinkProtocol] == before.Passed[byLinkProtocol] {
			t.Errorf("no neighbour was looked for: %v", err)
		}
	}
}

// forgetNeighbours empties the tables of who has which address on a link.
func forgetNeighbours(t *testing.T, pod *node.Pod) {
	t.Helper()
	err := within(pod, func() error {
		all, err := netlink.NeighList(0, netlink.FAMILY_V6)
		if err != nil {
			return err
		}
		for _, n := range all {
			if n.State&(netlink.NUD_PERMANENT|netlink.NUD_NOARP) == 0 {
				if err := netlink.NeighDel(&n); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Pitfall 10, the other half: only what a link needs passes unjudged. Echoes are judged, and so is a neighbour's
// message that has left its link.
func TestOtherICMPv6IsJudged(t *testing.T) {
	c := newCluster(t, newConfig(t), clientToServer)
	client, server := icmp6Socket(t, c.pods["client"]), icmp6Socket(t, c.pods["server"])
	to := &net.IPAddr{IP: c.pods["server"].Addrs[1].AsSlice()}
	const request, reply, advertisement = 128, 129, 136
	for _, k := range []struct {
		policies string
		passes   bool
	}{{clientToServer, false}, {clientToServerAll, true}} {
		c.apply(t, k.policies)
		send(t, client, to, []byte{request, 0, 0, 0, 0, 1, 0, 1})
		if got := receives(t, client, reply, k.passes); got != k.passes {
			t.Errorf("echo: answered %v, want %v", got, k.passes)
		}
		advert := make([]byte, 24)
		advert[0] = advertisement
		send(t, client, to, advert)
		if got := receives(t, server, advertisement, k.passes); got != k.passes {
			t.Errorf("neighbour advertisement through the node: arrived %v, want %v", got, k.passes)
		}
	}
}

// icmp6Socket sends with hop limit 255, as neighbours do.
func icmp6Socket(t *testing.T, pod *node.Pod) *net.IPConn {
	t.Helper()
	var conn *net.IPConn
	err := pod.Do(func() (err error) {
		conn, err = net.ListenIP("ip6:ipv6-icmp", &net.IPAddr{IP: pod.Addrs[1].AsSlice()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return conn
}

func send(t *testing.T, conn net.PacketConn, to net.Addr, message []byte) {
	t.Helper()
	if _, err := conn.WriteTo(message, to); err != nil {
		t.Fatal(err)
	}
}

// receives reports whether a message of a kind arrives from a pod; the node's own do not count.
func receives(t *testing.T, conn *net.IPConn, kind byte, want bool) bool {
	t.Helper()
	wait := patience
	if want {
		wait = generous
	}
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	for buffer := make([]byte, 1500); ; {
		n, from, err := conn.ReadFromIP(buffer)
		if os.IsTimeout(err) {
			return false
		} else if err != nil {
			t.Fatal(err)
		}
		if addr, _ := netip.AddrFromSlice(from.IP); n > 0 && buffer[0] == kind && addr != node.Gateway6 && !addr.IsLinkLocalUnicast() {
			return true
		}
	}
}

// Pitfall 10: "packet too big" reaches the sender of an allowed connection, to a pod or through a Service. The node
// stands for any router on the way: its address is not known as the node's.
func TestPathMTU(t *testing.T) {
	c := newBareCluster(t, newConfig(t), services, clientToServer)
	c.own = nil
	c.attach(t)
	runKubeProxy(t)
	c.serve(t, "server", 8080)
	far, err := netlink.LinkByName(c.pods["server"].HostIf)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetMTU(far, 1280); err != nil {
		t.Fatal(err)
	}
	for i, to := range []string{"10.99.1.2:8080", "[fd99:1::2]:8080", "10.96.0.80:80", "[fd96::80]:80"} {
		forgetRoutes(t, c.pods["client"])
		before, err := c.Counters()
		if err != nil {
			t.Fatal(err)
		}
		a := attempt{from: c.pods["client"], network: "tcp", to: to, size: 100_000, port: 40001 + 2*i}
		if got, err := a.answered(true); err != nil || !got {
			t.Errorf("%s: 100 kB came back %v: %v", to, got, err)
		}
		after, err := c.Counters()
		if err != nil || after.Passed[byRelatedError] == before.Passed[byRelatedError] {
			t.Errorf("%s: no error about the connection passed: %v", to, err)
		}
	}
}

// forgetRoutes makes a pod forget what it has learnt about paths.
func forgetRoutes(t *testing.T, pod *node.Pod) {
	t.Helper()
	err := pod.Do(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/route/flush", []byte("1"), 0), os.WriteFile("/proc/sys/net/ipv6/route/flush", []byte("1"), 0))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Pitfall 13: what the datapath lets pass, other programs on the device still see.
func TestOtherProgramsStillRun(t *testing.T) {
	c := newCluster(t, newConfig(t), clientToServer)
	c.serve(t, "server", 8080)
	try := attempt{from: c.pods["client"], network: "tcp", to: net.JoinHostPort(c.pods["server"].Addrs[0].String(), "8080")}
	for verdict, want := range map[int32]bool{2: false, 0: true} { // TCX_DROP, TCX_PASS
		other, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
			l, err := link.AttachTCX(link.TCXOptions{Interface: int(c.pods["client"].Ifindex), Program: other, Attach: at, Anchor: link.Tail()})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := try.answered(want); err != nil || got != want {
				t.Errorf("with a program at %s that returns %d: answered %v: %v", at, verdict, got, err)
			}
			l.Close()
		}
	}
}
