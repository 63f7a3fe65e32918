// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

// traffic makes the packets of a node's pods at random. Most belong to connections that it began before, so that
// state matters, and go to addresses and ports that policies tell apart.
type traffic struct {
	*random.Generator
	*moment
	devices   []uint32 // those with a pod, those that have lost theirs, and one that never had one
	others    [2][]netip.Addr
	talks     []talk
	datagrams []message // first fragments
	lastID    uint32
}

// talk is a connection that was tried.
type talk struct {
	tuple
	opened netpol.Direction
}

// change goes on in the next moment, with the talks of the ones before.
func (g *traffic) change(m *moment, others []netip.Addr) {
	g.moment, g.others = m, [2][]netip.Addr{}
	for device := range m.pods {
		if !slices.Contains(g.devices, device) {
			g.devices = append(g.devices, device)
		}
	}
	slices.Sort(g.devices)
	for _, addr := range others {
		g.others[family(addr)] = append(g.others[family(addr)], addr)
	}
}

func family(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}

func (g *traffic) percent(n int) bool { return g.IntN(100) < n }

// next is a packet that the reference can judge.
func (g *traffic) next() (place, []byte) {
	for {
		m := g.message()
		frame := g.write(&m)
		if g.percent(12) {
			frame = g.damage(frame)
		}
		if g.isDefined(m.at, frame) {
			return m.at, frame
		}
	}
}

// isDefined leaves out what never gets to netfilter, and what the evaluator calls a pod's packet to itself though it
// is from an address that is not the pod's.
func (g *traffic) isDefined(at place, frame []byte) bool {
	p, f := parseFrame(frame)
	if at.hook == forwarded && (f == malformed || f == notIP) {
		return false
	}
	pod := g.pods[at.device]
	if f != judgeable || pod == nil {
		return true
	}
	t := tupleOf(at.device, at.direction(), &p)
	return pod.has(t.local) || !pod.has(t.remote)
}

func (g *traffic) message() message {
	n := g.IntN(100)
	if len(g.talks) == 0 {
		n = 0
	}
	switch {
	case n < 20:
		return g.open()
	case n < 64:
		return g.goOn(g.known())
	case n < 72:
		return g.goOn(g.nearly(g.known()))
	case n < 84:
		return g.report(g.known())
	case n < 93:
		return g.part()
	}
	return g.neighbour()
}

// known is mostly one of the last talks.
func (g *traffic) known() talk {
	if g.percent(70) {
		return g.talks[len(g.talks)-1-g.IntN(min(len(g.talks), 16))]
	}
	return random.Pick(g.Generator, g.talks...)
}

func (g *traffic) open() message {
	device := g.device()
	t := talk{opened: netpol.Direction(g.IntN(2))}
	t.device = device
	if pod := g.pods[device]; pod != nil {
		t.local = random.Pick(g.Generator, pod.addrs...)
	} else {
		t.local = random.Pick(g.Generator, random.Pick(g.Generator, g.others[:]...)...)
	}
	t.remote = random.Pick(g.Generator, g.others[family(t.local)]...)
	if g.percent(4) {
		t.local = random.Pick(g.Generator, g.others[family(t.local)]...)
	}
	t.protocol = random.Pick[byte](g.Generator, tcp, tcp, tcp, tcp, udp, udp, udp, sctp, sctp, g.icmp(t.local), g.icmp(t.local), 47, 50, 2, 59)
	t.setPorts(g.opening(t.protocol))
	g.talks = append(g.talks, t)
	return g.say(t, t.opened, true)
}

// device is mostly one with a pod.
func (g *traffic) device() uint32 {
	for range 4 {
		if device := random.Pick(g.Generator, g.devices...); g.pods[device] != nil {
			return device
		}
	}
	return g.devices[0]
}

func (g *traffic) icmp(addr netip.Addr) byte {
	if addr.Is4() {
		return icmp4
	}
	return icmp6
}

// opening is the client's and the server's port, or twice an echo's identifier.
func (g *traffic) opening(protocol byte) (client, server uint16) {
	client, server = uint16(1024+g.IntN(60000)), g.port()
	if g.percent(10) {
		client = g.port()
	}
	switch protocol {
	case tcp, udp, sctp:
		return client, server
	case icmp4, icmp6:
		return client, client
	}
	return 0, 0
}

func (t *talk) setPorts(client, server uint16) {
	t.localPort, t.remotePort = client, server
	if t.opened == netpol.Ingress {
		t.localPort, t.remotePort = server, client
	}
}

func (g *traffic) port() uint16 {
	return random.Pick[uint16](g.Generator, 0, 1, 52, 53, 54, 79, 80, 80, 80, 81, 8080, 8080, 8080, 8081, 30080, 65534, 65535)
}

// goOn is a further packet of either side, at the device of either pod if both are the node's.
func (g *traffic) goOn(t talk) message {
	if device, local := g.deviceOf(t.remote); local && g.percent(30) {
		t = talk{tuple{device, t.remote, t.local, t.protocol, t.remotePort, t.localPort}, 1 - t.opened}
	}
	return g.say(t, netpol.Direction(g.IntN(2)), g.percent(20))
}

// nearly is another talk in one thing.
func (g *traffic) nearly(t talk) talk {
	switch g.IntN(6) {
	case 0:
		t.localPort++
	case 1:
		t.remotePort = g.port()
	case 2:
		t.remote = random.Pick(g.Generator, g.others[family(t.local)]...)
	case 3:
		t.protocol = random.Pick[byte](g.Generator, tcp, udp, sctp)
	case 4:
		t.opened = 1 - t.opened
		t.localPort, t.remotePort = t.remotePort, t.localPort
	default:
		t.device = random.Pick(g.Generator, g.devices...)
	}
	return t
}

// say is a packet of a talk that goes in a direction.
func (g *traffic) say(t talk, d netpol.Direction, opens bool) message {
	m := message{at: place{hook: fromPod, device: t.device}, source: t.local, destination: t.remote, protocol: t.protocol, hops: 64}
	from, to := t.localPort, t.remotePort
	if d == netpol.Ingress {
		m.at.hook, m.source, m.destination, from, to = toPod, t.remote, t.local, to, from
	}
	g.forward(&m, d)
	m.payload = g.payload(t.protocol, from, to, opens, d == t.opened)
	return m
}

// forward shows some packets at netfilter.
func (g *traffic) forward(m *message, d netpol.Direction) {
	if g.percent(15) {
		m.at.hook, m.at.inward = forwarded, d == netpol.Ingress
	}
}

func (g *traffic) payload(protocol byte, from, to uint16, opens, bySource bool) []byte {
	request, reply := byte(8), byte(0)
	switch protocol {
	case tcp:
		flags := random.Pick[byte](g.Generator, ack, ack, ack, syn|ack, fin|ack, rst, rst|ack, syn|fin, 0, syn|rst)
		if opens {
			flags = syn
		}
		return append(tcpSegment(from, to, flags), make([]byte, g.IntN(3)*4)...)
	case udp:
		return udpDatagram(from, to, make([]byte, g.IntN(20))...)
	case sctp:
		return sctpChunk(from, to)
	case icmp6:
		request, reply = 128, 129
	case icmp4:
	default:
		return make([]byte, g.IntN(12))
	}
	if opens || bySource && g.percent(50) {
		return echo(request, from)
	}
	if g.percent(90) {
		return echo(reply, from)
	}
	return append([]byte{byte(g.IntN(256))}, make([]byte, 7+g.IntN(8))...)
}

// report is an ICMP error about a packet of a talk, to the one that sent it, mostly.
func (g *traffic) report(t talk) message {
	if g.percent(15) {
		t = g.nearly(t)
	}
	about := g.say(t, netpol.Direction(g.IntN(2)), g.percent(50))
	quoted := g.write(&about)[14:]
	if g.percent(40) {
		quoted = quoted[:min(len(quoted), 20+g.IntN(60))]
	}
	m := message{at: place{hook: toPod, device: t.device}, source: about.destination, destination: about.source, hops: 64}
	d := netpol.Ingress
	if m.source == t.local {
		m.at.hook, d = fromPod, netpol.Egress
	}
	g.forward(&m, d)
	if router := g.others[family(t.local)]; d == netpol.Ingress && g.percent(50) {
		m.source = random.Pick(g.Generator, router...)
	}
	m.protocol = g.icmp(m.source)
	kind := random.Pick[byte](g.Generator, 3, 3, 11, 12, 4, 5)
	if m.source.Is6() {
		kind = random.Pick[byte](g.Generator, 1, 2, 2, 3, 4, 0, 5, 127)
	}
	m.payload = icmpError(kind, byte(g.IntN(5)), quoted)
	return m
}

// part is a fragment: the first one of a datagram, or a later one of such, or of none.
func (g *traffic) part() message {
	if len(g.datagrams) == 0 || g.percent(40) {
		g.lastID++
		m := g.goOn(g.known())
		m.fragment = &piece{id: g.lastID, more: true}
		g.datagrams = append(g.datagrams, m)
		return m
	}
	m := random.Pick(g.Generator, g.datagrams[max(0, len(g.datagrams)-8):]...)
	m.fragment = &piece{m.fragment.id, random.Pick(g.Generator, 8, 16, 24, 24, 1480, 65528), g.percent(30)}
	m.payload = make([]byte, 8+g.IntN(3)*8)
	switch g.IntN(20) {
	case 0:
		m.fragment.id += 1 << 14 // of no datagram
	case 1:
		m.destination, m.source = m.source, m.destination
		m.at.hook = map[hook]hook{fromPod: toPod, toPod: fromPod, forwarded: forwarded}[m.at.hook]
		m.at.inward = m.at.hook == forwarded && !m.at.inward
	case 2:
		m.protocol = random.Pick[byte](g.Generator, tcp, udp, 47)
	case 3, 4, 5: // at the device of the pod that it is for
		if device, local := g.deviceOf(m.destination); local {
			m.at = place{hook: toPod, device: device}
		}
	}
	return m
}

// neighbour is what a link needs, and what looks like it.
func (g *traffic) neighbour() message {
	t := g.known()
	m := g.say(t, netpol.Direction(g.IntN(2)), false)
	m.protocol, m.hops = icmp6, random.Pick[byte](g.Generator, 255, 255, 255, 1, 1, 64, 254, 0)
	kind := random.Pick[byte](g.Generator, 129, 130, 131, 132, 133, 134, 135, 135, 136, 136, 137, 138, 143, 144)
	m.payload = append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, make([]byte, g.IntN(3)*8)...)
	return m
}

// universe are the addresses that matter in a cluster, and some that belong to nobody.
func universe(snapshot *netpol.Snapshot, services map[netip.Addr]bool) []netip.Addr {
	all := map[netip.Addr]bool{}
	for e := range snapshot.Endpoints() {
		all[e.Addr] = true
	}
	for _, e := range snapshot.NodeEndpoints() {
		all[e.Addr] = true
	}
	maps.Copy(all, services)
	for _, s := range []string{
		"192.0.2.1", "10.0.0.15", "10.1.0.1", "10.0.1.1", "10.0.1.2", "10.0.2.1", "198.51.100.1", "255.255.255.255", "224.0.0.1",
		"2001:db8::1", "fd00::f", "fd00::1:1", "fd00::1:2", "fd00::2:1", "fe80::1", "ff02::1", "::", "0.0.0.0",
	} {
		all[netip.MustParseAddr(s)] = true
	}
	return slices.SortedFunc(maps.Keys(all), netip.Addr.Compare)
}
