// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// rejecting is the test world whose endpoints answer denied packets.
func rejecting(mode plan.Mode) *plan.World {
	w := newWorld(mode)
	for ifindex, e := range w.Endpoints {
		e.Reject = true
		w.Endpoints[ifindex] = e
	}
	return w
}

// told are the denials since the call before.
func (r *Denials) told(t *testing.T) (all []Denial) {
	t.Helper()
	r.ring.SetDeadline(time.Unix(1, 0)) // only what is there
	for {
		d, err := r.Next()
		if err != nil {
			return all
		}
		all = append(all, d)
	}
}

var (
	receiver = [6]byte{2, 0, 0, 0, 0, 1}
	sender   = [6]byte{2, 0, 0, 0, 0, 2}
)

// addressed puts hardware addresses on the frame of a packet.
func addressed(ip []byte) []byte {
	f := frame(ip)
	copy(f, receiver[:])
	copy(f[6:], sender[:])
	return f
}

func openDenials(t *testing.T, d *Dataplane) *Denials {
	t.Helper()
	denials, err := d.Denials()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { denials.Close() })
	return denials
}

func TestDenials(t *testing.T) {
	d := newDataplane(t)
	denials := openDenials(t, d)
	load(t, d, rejecting(plan.Enforce))
	for family, a := range families {
		large := ipPacket(a.pod, a.stranger, udp, udpDatagram(5, 7, make([]byte, 500)...))
		out := ipPacket(a.pod, a.stranger, tcp, tcpSegment(5, tlsPort, syn))
		in := ipPacket(a.stranger, a.pod, tcp, tcpSegment(5, tlsPort, syn))
		d.runFrame(t, fromPod, addressed(out))
		d.runFrame(t, fromPod, addressed(large))
		d.runFrame(t, toPod, addressed(in))
		want := []Denial{
			{Direction: netpol.Egress, Packet: out, Length: len(out), Receiver: receiver, Sender: sender},
			{Direction: netpol.Egress, Packet: large[:128], Length: len(large), Receiver: receiver, Sender: sender},
			{Direction: netpol.Ingress, Packet: in, Length: len(in)},
		}
		got := denials.told(t)
		if len(got) != len(want) {
			t.Fatalf("%s: told %+v", family, got)
		}
		for i := range want {
			checkDenial(t, got[i], want[i])
		}
	}
}

func checkDenial(t *testing.T, got, want Denial) {
	t.Helper()
	if got.Direction != want.Direction || !bytes.Equal(got.Packet, want.Packet) || got.Length != want.Length ||
		got.Receiver != want.Receiver || got.Sender != want.Sender || got.Service != want.Service || got.Ifindex > 1 || got.Age > time.Minute {
		t.Errorf("told %+v\nwant %+v", got, want)
	}
}

// What is denied after translation is told with what it was before.
func TestDenialsOfServices(t *testing.T) {
	d := newDataplane(t)
	denials := openDenials(t, d)
	w := rejecting(plan.Enforce)
	// A test run at netfilter may be at interface 0, whose endpoint is the one of interface 1.
	delete(w.Endpoints, 0)
	load(t, d, w)
	for _, a := range families {
		translated := ipPacket(a.pod, a.stranger, tcp, tcpSegment(5, webPort, syn))
		if !d.runFrame(t, fromPod, addressed(ipPacket(a.pod, a.service, tcp, tcpSegment(5, 80, syn)))) || d.run(t, forwarded, translated) {
			t.Error("want the packet to be stopped after translation")
		}
		got := denials.told(t)
		if len(got) != 1 {
			t.Fatalf("told %+v", got)
		}
		checkDenial(t, got[0], Denial{
			Direction: netpol.Egress, Packet: translated, Length: len(translated), Receiver: receiver, Sender: sender,
			Service: netip.AddrPortFrom(netip.MustParseAddr(a.service), 80),
		})
	}
}

// Denials that nobody is to answer are not told.
func TestUntoldDenials(t *testing.T) {
	d := newDataplane(t)
	denials := openDenials(t, d)
	out := ipPacket(v4.pod, v4.stranger, tcp, tcpSegment(5, tlsPort, syn))
	for what, w := range map[string]*plan.World{"not asked for": newWorld(plan.Enforce), "audit": rejecting(plan.Audit)} {
		load(t, d, w)
		d.run(t, fromPod, out)
		if got := denials.told(t); len(got) != 0 {
			t.Errorf("%s: told %+v", what, got)
		}
	}
	load(t, d, rejecting(plan.Enforce))
	for what, packet := range map[string][]byte{
		"allowed":          ipPacket(v4.pod, v4.friend, tcp, tcpSegment(5, tlsPort, syn)),
		"an ICMP error":    ipPacket(v4.pod, v4.stranger, icmp4, icmpError(3, 4, out)),
		"a foreign source": ipPacket(v4.friend, v4.stranger, tcp, tcpSegment(5, tlsPort, syn)),
		"malformed":        out[:30],
	} {
		d.run(t, fromPod, packet)
		if got := denials.told(t); len(got) != 0 {
			t.Errorf("%s: told %+v", what, got)
		}
	}
}

// deny has n packets denied, and returns how many were told, suppressed and lost.
func deny(t *testing.T, d *Dataplane, denials *Denials, n int) (told, suppressed, lost int) {
	t.Helper()
	before, err := d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		d.run(t, fromPod, ipPacket(v4.pod, v4.stranger, udp, udpDatagram(1, 7)))
	}
	after, err := d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return len(denials.told(t)), int(after.SuppressedDenials - before.SuppressedDenials), int(after.LostDenials - before.LostDenials)
}

func TestDenialsAreLimited(t *testing.T) {
	d := newDataplane(t)
	denials := openDenials(t, d)
	load(t, d, rejecting(plan.Enforce))
	const packets = 3000
	start := time.Now()
	told, suppressed, lost := deny(t, d, denials, packets)
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	if most := cpus * (101 + int(time.Since(start)/(10*time.Millisecond))); told < 100 || told > most || told+suppressed+lost != packets {
		t.Errorf("told %d, suppressed %d, lost %d of %d; want at most %d told", told, suppressed, lost, packets, most)
	}
}

// What nobody reads is lost and counted.
func TestDenialsThatNobodyReads(t *testing.T) {
	d := newDataplane(t)
	denials := openDenials(t, d)
	load(t, d, rejecting(plan.Enforce))
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	const packets = 2000
	allowances := make([][2]uint64, cpus)
	for i := range allowances {
		allowances[i] = [2]uint64{1 << 62, packets}
	}
	if err := d.objs.Allowances.Put(uint32(0), allowances); err != nil {
		t.Fatal(err)
	}
	if told, suppressed, lost := deny(t, d, denials, packets); told == 0 || lost == 0 || suppressed != 0 || told+lost != packets {
		t.Errorf("told %d, suppressed %d, lost %d of %d", told, suppressed, lost, packets)
	}
}

func FuzzDenial(f *testing.F) {
	var whole bytes.Buffer
	r := bpf.DatapathDenial{Time: 5, Ifindex: 1, Length: 200, Captured: 128, Direction: 1, ServicePort: 80, Service: [16]byte{15: 1}}
	if err := binary.Write(&whole, binary.NativeEndian, &r); err != nil {
		f.Fatal(err)
	}
	f.Add(whole.Bytes(), uint64(9))
	f.Add(whole.Bytes()[:100], uint64(0))
	f.Fuzz(func(t *testing.T, raw []byte, now uint64) {
		d, err := decodeDenial(raw, now)
		if err != nil {
			if !errors.Is(err, ErrDenial) {
				t.Error(err)
			}
			return
		}
		if len(d.Packet) > d.Length || len(d.Packet) > 128 || d.Direction > netpol.Egress {
			t.Errorf("%x is read as %+v", raw, d)
		}
	})
}
