// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// told are the answers since the call before.
func (r *Answers) told(t *testing.T) (all []Answer) {
	t.Helper()
	r.ring.SetDeadline(time.Unix(1, 0)) // only what is there
	for {
		a, err := r.Next()
		if err != nil {
			return all
		}
		a.Message = slices.Clone(a.Message)
		all = append(all, a)
	}
}

func openAnswers(t *testing.T, d *Dataplane) *Answers {
	t.Helper()
	answers, err := d.Answers()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answers.Close() })
	return answers
}

func setResolvers(t *testing.T, d *Dataplane, addrs ...string) {
	t.Helper()
	var servers []netip.Addr
	for _, a := range addrs {
		servers = append(servers, netip.MustParseAddr(a))
	}
	if err := d.SetResolvers(servers); err != nil {
		t.Fatal(err)
	}
}

// dnsMessage is a DNS message as far as the datapath reads it: flags, code and number of answers, and then data.
func dnsMessage(flags, code, answers byte, data ...byte) []byte {
	return append([]byte{1, 2, flags, code, 0, 1, 0, answers, 0, 0, 0, 0}, data...)
}

// Answers that a pod asked for are told, those that are long cut off.
func TestAnswers(t *testing.T) {
	d := newDataplane(t)
	answers := openAnswers(t, d)
	load(t, d, newWorld(plan.Enforce))
	setResolvers(t, d, v4.friend, v6.friend, v4.service, v6.service)
	short, long := dnsMessage(0x81, 0x80, 1, 1, 2, 3), dnsMessage(0x81, 0x80, 200, make([]byte, 600)...)
	for family, a := range families {
		for _, server := range []string{a.friend, a.service} {
			d.run(t, fromPod, ipPacket(a.pod, server, udp, udpDatagram(5, dnsPort)))
			for _, m := range [][]byte{short, long} {
				if !d.run(t, toPod, ipPacket(server, a.pod, udp, udpDatagram(dnsPort, 5, m...))) {
					t.Fatalf("%s: an answer does not pass", family)
				}
			}
			got := answers.told(t)
			if len(got) != 2 || got[0].Cut || !got[1].Cut || !bytes.Equal(got[0].Message, short) || !bytes.Equal(got[1].Message, long[:512]) || got[0].Ifindex > 1 {
				t.Errorf("%s, asked %s: told %+v", family, server, got)
			}
		}
	}
}

// Nobody but the cluster's DNS is listened to, and it only where it was asked.
func TestUntoldAnswers(t *testing.T) {
	d := newDataplane(t)
	answers := openAnswers(t, d)
	load(t, d, newWorld(plan.Enforce))
	setResolvers(t, d, v4.friend, v4.service)
	good := dnsMessage(0x81, 0x80, 1)
	d.run(t, fromPod, ipPacket(v4.pod, v4.friend, udp, udpDatagram(5, dnsPort)))
	d.run(t, fromPod, ipPacket(v4.pod, v4.internet, udp, udpDatagram(5, dnsPort)))
	d.run(t, fromPod, ipPacket(v4.pod, v4.friend, tcp, tcpSegment(6, tlsPort, syn)))
	reply := func(from string, m []byte) []byte { return ipPacket(from, v4.pod, udp, udpDatagram(dnsPort, 5, m...)) }
	for what, packet := range map[string][]byte{
		"not the cluster's DNS":     reply(v4.internet, good),
		"another port":              ipPacket(v4.friend, v4.pod, udp, udpDatagram(dnsPort+1, 5, good...)),
		"not asked":                 ipPacket(v4.friend, v4.pod, udp, udpDatagram(dnsPort, 6, good...)),
		"not asked, and allowed in": ipPacket(v4.friend, v4.pod, udp, udpDatagram(dnsPort, dnsPort, good...)),
		"never asked":               reply(v4.service, good),
		"a question":                reply(v4.friend, dnsMessage(0x01, 0x80, 1)),
		"no such name":              reply(v4.friend, dnsMessage(0x81, 0x83, 1)),
		"nothing":                   reply(v4.friend, dnsMessage(0x81, 0x80, 0)),
		"half a header":             reply(v4.friend, good[:11]),
		"by TCP":                    ipPacket(v4.friend, v4.pod, tcp, append(tcpSegment(tlsPort, 6, ack), good...)),
		"with options":              withIPv4Options(reply(v4.friend, good), 2),
		"a first fragment":          ipv4Fragment(reply(v4.friend, good), 9, 0, true),
		"cut short":                 reply(v4.friend, good)[:36],
		"a later fragment":          ipv4Fragment(reply(v4.friend, good), 9, 800, false),
	} {
		d.run(t, toPod, packet)
		if got := answers.told(t); len(got) != 0 {
			t.Errorf("%s: told %+v", what, got)
		}
	}
	d.run(t, fromPod, reply(v4.friend, good))
	setResolvers(t, d)
	d.run(t, toPod, reply(v4.friend, good))
	if got := answers.told(t); len(got) != 0 {
		t.Errorf("no server is known, told %+v", got)
	}
	setResolvers(t, d, v4.friend)
	d.run(t, toPod, reply(v4.friend, good))
	if got := answers.told(t); len(got) != 1 {
		t.Errorf("told %+v, want the answer that all others differ from", got)
	}
	if err := d.SetResolvers(addressesFrom("10.128.0.0", 1025)); err == nil {
		t.Error("more servers are taken than fit")
	}
}

func addressesFrom(first string, n int) (all []netip.Addr) {
	for a := netip.MustParseAddr(first); len(all) < n; a = a.Next() {
		all = append(all, a)
	}
	return all
}

// What is too much is suppressed, and what nobody reads is lost; both are counted.
func TestAnswersAreLimited(t *testing.T) {
	d := newDataplane(t)
	answers := openAnswers(t, d)
	load(t, d, newWorld(plan.Enforce))
	setResolvers(t, d, v4.friend)
	d.run(t, fromPod, ipPacket(v4.pod, v4.friend, udp, udpDatagram(5, dnsPort)))
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	const allowed = 800 // on each CPU: more than the ring has room for
	packets := uint64(allowed*cpus + 200)
	allowances := make([][2]uint64, cpus)
	for i := range allowances {
		allowances[i] = [2]uint64{1 << 62, allowed}
	}
	if err := d.objs.Allowances.Put(uint32(bpf.DatapathAllowedALLOWANCE_ANSWERS), allowances); err != nil {
		t.Fatal(err)
	}
	for range packets {
		d.run(t, toPod, ipPacket(v4.friend, v4.pod, udp, udpDatagram(dnsPort, 5, dnsMessage(0x81, 0x80, 1)...)))
	}
	c, err := d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	told := uint64(len(answers.told(t)))
	if told == 0 || c.LostAnswers == 0 || c.SuppressedAnswers < 200 || told+c.LostAnswers+c.SuppressedAnswers != packets || c.LostDenials+c.SuppressedDenials != 0 {
		t.Errorf("told %d of %d, counters %+v", told, packets, c)
	}
}

func FuzzAnswer(f *testing.F) {
	var whole bytes.Buffer
	if err := binary.Write(&whole, binary.NativeEndian, &bpf.DatapathDnsAnswer{Ifindex: 1, Length: 700, Captured: 512}); err != nil {
		f.Fatal(err)
	}
	f.Add(whole.Bytes())
	f.Add(whole.Bytes()[:100])
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := decodeAnswer(raw)
		if err != nil && !errors.Is(err, ErrAnswer) || len(a.Message) > 512 {
			t.Errorf("%x is read as %+v: %v", raw, a, err)
		}
	})
}
