// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// Tests run in network and mount namespaces of their own: what they attach to and mount is theirs.
func TestMain(m *testing.M) { node.Main(m, nil, nil) }

// open loads the datapath under path for the time of the test.
func open(t testing.TB, config Config) *Dataplane {
	t.Helper()
	d, err := Open(config)
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// newDataplane is a fresh datapath, removed when the test ends.
func newDataplane(t testing.TB) *Dataplane {
	t.Helper()
	return open(t, newConfig(t))
}

func newConfig(t testing.TB) Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bpf")
	t.Cleanup(func() {
		if err := Remove(path); err != nil {
			t.Error(err)
		}
	})
	return Config{PinPath: path, Connections: 4096, Flows: 1024}
}

func load(t testing.TB, d *Dataplane, w *plan.World) uint32 {
	t.Helper()
	generation, err := d.Load(w)
	if err != nil {
		t.Fatal(err)
	}
	return generation
}

// hook is one of the three programs, run on a crafted packet.
type hook string

const (
	fromPod   hook = "from pod"
	toPod     hook = "to pod"
	forwarded hook = "forwarded"
)

// hookState is the kernel's struct nf_hook_state, of which a test run may choose hook and family. Kernels
// differ in whether they then set an input device: the program may read it as interface 0.
type hookState struct {
	Hook, Family uint8
	_            [6]byte
	_            [5]uint64
}

// The protocol families of netfilter.
const nfIPv4, nfIPv6, nfForward = 2, 10, 2

// run reports whether an IP packet passes the hook.
func (d *Dataplane) run(t testing.TB, h hook, ip []byte) bool {
	t.Helper()
	if h != forwarded {
		return d.runFrame(t, h, frame(ip))
	}
	state := hookState{Hook: nfForward, Family: nfIPv4}
	if ip[0]>>4 == 6 {
		state.Family = nfIPv6
	}
	return runProgram(t, d.objs.Forwarded, &ebpf.RunOptions{Data: frame(ip), Context: &state}, 1, 0)
}

// runFrame reports whether a frame passes a TCX hook.
func (d *Dataplane) runFrame(t testing.TB, h hook, frame []byte) bool {
	t.Helper()
	program := d.objs.FromPod
	if h == toPod {
		program = d.objs.ToPod
	}
	const next, drop = 0xffffffff, 2
	return runProgram(t, program, &ebpf.RunOptions{Data: frame}, next, drop)
}

// runProgram fails the test for any return value but these two.
func runProgram(t testing.TB, p *ebpf.Program, options *ebpf.RunOptions, pass, drop uint32) bool {
	t.Helper()
	ret, err := p.Run(options)
	if err != nil {
		t.Fatalf("test run: %v", err)
	}
	if ret != drop && ret != pass {
		t.Fatalf("the program returned %d, want %d or %d", ret, drop, pass)
	}
	return ret == pass
}

// The addresses of the test world, by family.
type addresses struct {
	pod, friend, stranger, node, service, internet string
}

var (
	v4       = addresses{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.254", "10.96.0.10", "192.0.2.7"}
	v6       = addresses{"fd00::1", "fd00::2", "fd00::3", "fd00::fe", "fd96::10", "2001:db8::7"}
	families = map[string]addresses{"IPv4": v4, "IPv6": v6}
)

// Classes and ports of the test world.
const (
	friends, strangers, internet = 1, 2, 3

	webPort, dnsPort, tlsPort = 8080, 53, 443
)

// Rule numbers of the test world. The last one is beyond the first word of a bitmap.
const (
	ingressWeb, ingressDNS         = 0, 1
	egressTLS, egressDNS, egressTo = 0, 1, 70
)

// newWorld has one pod, isolated in both directions, that lets friends in to TCP 8080, UDP 53 and SCTP 8080, and
// may go to friends at TCP 443 and UDP 53 and anywhere on the internet.
func newWorld(mode plan.Mode) *plan.World {
	w := &plan.World{
		Endpoints:  map[uint32]plan.Endpoint{0: {Mode: mode, Main: 1}, 1: {Mode: mode, Main: 1}},
		Identities: map[netip.Addr]plan.Identity{},
		CIDRs: map[netip.Prefix]uint32{
			netip.MustParsePrefix("192.0.2.0/24"):  internet,
			netip.MustParsePrefix("192.0.2.66/32"): 0,
			netip.MustParsePrefix("::/0"):          internet,
			netip.MustParsePrefix("fd96::/16"):     0,
		},
		Services:    map[netip.Addr]struct{}{},
		PortClasses: new(plan.PortClasses),
		Peers:       map[plan.PeerKey]plan.Bitmap{},
		Ports:       map[plan.PortKey]plan.Bitmap{},
		Sets:        []plan.SetEntry{{Isolated: [2]bool{true, true}, Rules: [2]uint16{2, egressTo + 1}}},
	}
	for _, a := range families {
		w.Identities[netip.MustParseAddr(a.pod)] = plan.Identity{Ifindex: 1}
		w.Identities[netip.MustParseAddr(a.friend)] = plan.Identity{Class: friends}
		w.Identities[netip.MustParseAddr(a.stranger)] = plan.Identity{Class: strangers}
		w.Identities[netip.MustParseAddr(a.node)] = plan.Identity{Node: true}
		w.Services[netip.MustParseAddr(a.service)] = struct{}{}
	}
	w.PortClasses[plan.TCP][webPort] = 1
	w.PortClasses[plan.TCP][tlsPort] = 2
	w.PortClasses[plan.UDP][dnsPort] = 1
	w.PortClasses[plan.SCTP][webPort] = 1
	addRules(w)
	return w
}

func addRules(w *plan.World) {
	everyProtocol := []plan.PortKey{
		{Protocol: plan.TCP},
		{Protocol: plan.TCP, Class: 1},
		{Protocol: plan.TCP, Class: 2},
		{Protocol: plan.UDP},
		{Protocol: plan.UDP, Class: 1},
		{Protocol: plan.SCTP},
		{Protocol: plan.SCTP, Class: 1},
		{Protocol: plan.Other},
	}
	allow(w, netpol.Ingress, ingressWeb, friends,
		plan.PortKey{Protocol: plan.TCP, Class: 1}, plan.PortKey{Protocol: plan.SCTP, Class: 1})
	allow(w, netpol.Ingress, ingressDNS, friends, plan.PortKey{Protocol: plan.UDP, Class: 1})
	allow(w, netpol.Egress, egressTLS, friends, plan.PortKey{Protocol: plan.TCP, Class: 2})
	allow(w, netpol.Egress, egressDNS, friends, plan.PortKey{Protocol: plan.UDP, Class: 1})
	allow(w, netpol.Egress, egressTo, internet, everyProtocol...)
}

// allow adds one rule to set 0.
func allow(w *plan.World, d netpol.Direction, rule int, class uint32, ports ...plan.PortKey) {
	peer := plan.PeerKey{Class: class, Direction: d}
	bits := w.Peers[peer]
	bits.Set(rule)
	w.Peers[peer] = bits
	for _, port := range ports {
		port.Direction = d
		bits := w.Ports[port]
		bits.Set(rule)
		w.Ports[port] = bits
	}
}
