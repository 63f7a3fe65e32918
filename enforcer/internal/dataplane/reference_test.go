// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// The reasons that a reference gives besides those of policies.
const (
	byService       = Reason(bpf.DatapathReasonBY_SERVICE)
	byConnection    = Reason(bpf.DatapathReasonBY_CONNECTION)
	byLinkProtocol  = Reason(bpf.DatapathReasonBY_LINK_PROTOCOL)
	byRelatedError  = Reason(bpf.DatapathReasonBY_RELATED_ERROR)
	byFirstFragment = Reason(bpf.DatapathReasonBY_FIRST_FRAGMENT)
	byLostFragment  = Reason(bpf.DatapathReasonBY_LOST_FRAGMENT)
	byMalformation  = Reason(bpf.DatapathReasonBY_MALFORMATION)
	byEthertype     = Reason(bpf.DatapathReasonBY_ETHERTYPE)
)

// localPod is a pod behind a device.
type localPod struct {
	name  types.NamespacedName
	addrs []netip.Addr
	mode  plan.Mode
}

// has says whether an address is the pod's.
func (p *localPod) has(addr netip.Addr) bool { return slices.Contains(p.addrs, addr) }

// moment is what a node knows of its cluster until the next change.
type moment struct {
	pods map[uint32]*localPod // by device
	// snapshot is of the cluster without its Services: the datapath judges addresses.
	snapshot *netpol.Snapshot
	staged   *netpol.Snapshot    // with policies that are not live; nil: there are none
	services map[netip.Addr]bool // virtual addresses, and the node's own
}

// tuple is a connection as a device sees it, whichever way its packets go.
type tuple struct {
	device                uint32
	local, remote         netip.Addr
	protocol              byte
	localPort, remotePort uint16
}

// connection is one that was let through.
type connection struct {
	opened   netpol.Direction
	moment   int  // in which it was judged last
	deferred bool // to a Service, judged after translation
	closed   bool // by FIN or RST, as far as was seen since it was judged
}

type fragments struct {
	device uint32
	datagram
}

// reference says what must become of each packet of a node, one after the other. It knows what was opened and
// let through, and asks the evaluator about the rest. It is the datapath written a second time, for reading.
type reference struct {
	*moment
	number      int // of the moment
	connections map[tuple]connection
	fragments   map[fragments]packet // the first one
	counts      map[judgement]int
	records     map[record]uint64 // connections, as flows tell of them
	again       map[bool]int      // connections judged in a later moment than they were opened in, by whether they passed
	adopted     map[bool]int      // connections that were not seen to open, likewise
}

func newReference() *reference {
	return &reference{
		connections: map[tuple]connection{}, fragments: map[fragments]packet{},
		counts: map[judgement]int{}, records: map[record]uint64{}, again: map[bool]int{}, adopted: map[bool]int{},
	}
}

// change begins the next moment.
func (r *reference) change(m *moment) { r.moment, r.number = m, r.number+1 }

// place is where a packet is seen.
type place struct {
	hook   hook
	device uint32 // at netfilter, that of the pod which the packet is from or for
	inward bool   // at netfilter: the packet is for the pod
}

func (p place) direction() netpol.Direction {
	if p.hook == toPod || p.inward {
		return netpol.Ingress
	}
	return netpol.Egress
}

// judgement is what must become of a packet.
type judgement struct {
	passes bool
	reason Reason
}

// judge is asked about each packet once, in the order in which the packets come, and says whether it passes.
func (r *reference) judge(at place, frame []byte) bool {
	p, f := parseFrame(frame)
	if at.hook == forwarded {
		return r.judgeForwarded(&p, f)
	}
	return r.count(r.inspect(at, &p, f))
}

func (r *reference) count(j judgement) bool {
	r.counts[j]++
	return j.passes
}

// judgeForwarded is about what a pod of the node sends, if one sends it, and then about replies to such a pod. All
// other that comes to a pod is left to its device.
func (r *reference) judgeForwarded(p *packet, f fate) bool {
	if device, known := r.deviceOf(p.source); known && !r.count(r.inspect(place{forwarded, device, false}, p, f)) {
		return false
	}
	device, known := r.deviceOf(p.destination)
	if !known || f != judgeable || p.later {
		return true
	}
	at := place{forwarded, device, true}
	c, asked := r.find(at, tupleOf(device, netpol.Ingress, p))
	if !asked || c.opened != netpol.Egress || c.moment == r.number && !p.opens {
		return true
	}
	j := r.follow(at, r.pods[device], p)
	return j.passes || r.count(j)
}

// deviceOf is the device of the node's pod that has an address.
func (m *moment) deviceOf(addr netip.Addr) (uint32, bool) {
	for device, pod := range m.pods {
		if pod.has(addr) {
			return device, true
		}
	}
	return 0, false
}

// inspect is the judgement at one hook.
func (r *reference) inspect(at place, p *packet, f fate) judgement {
	pod := r.pods[at.device]
	audit := pod != nil && pod.mode == plan.Audit
	switch {
	case f == ofTheLink:
		return judgement{true, byLinkProtocol}
	case f == malformed:
		return judgement{audit, byMalformation}
	case f == notIP:
		return judgement{audit, byEthertype}
	case p.later:
		first, known := r.fragments[fragments{at.device, *p.datagram}.key()]
		if !known {
			return judgement{audit, byLostFragment}
		}
		if p.offset < first.read {
			return judgement{audit, byMalformation}
		}
		first.opens, first.answers, first.closes = false, false, false
		j := r.follow(at, pod, &first)
		if j.passes {
			j.reason = byFirstFragment
		}
		return j
	case p.quoted != nil && r.isKnown(at, p):
		return judgement{true, byRelatedError}
	}
	j := r.follow(at, pod, p)
	if j.passes && p.more {
		r.fragments[fragments{at.device, *p.datagram}.key()] = *p
	}
	return j
}

// key leaves out what IPv6 does not number fragments by (RFC 8200, 4.5).
func (f fragments) key() fragments {
	if f.source.Is6() {
		f.protocol = 0
	}
	return f
}

// isKnown says whether an ICMP error is about a connection that this moment lets through: what it quotes was
// sent by whom the error is for.
func (r *reference) isKnown(at place, p *packet) bool {
	about, f := parseQuoted(p.quoted, p.source.Is4())
	if f != judgeable || about.later || about.source != p.destination {
		return false
	}
	c, known := r.connections[tupleOf(at.device, 1-at.direction(), &about)]
	return known && c.moment == r.number
}

func tupleOf(device uint32, d netpol.Direction, p *packet) tuple {
	if d == netpol.Egress {
		return tuple{device, p.source, p.destination, p.protocol, p.sourcePort, p.destinationPort}
	}
	return tuple{device, p.destination, p.source, p.protocol, p.destinationPort, p.sourcePort}
}

// find leaves out what only translation can decide.
func (r *reference) find(at place, t tuple) (connection, bool) {
	c, known := r.connections[t]
	return c, known && !(c.deferred && at.hook == forwarded)
}

// follow is the fate of a whole packet, or of a first fragment.
func (r *reference) follow(at place, pod *localPod, p *packet) judgement {
	t := tupleOf(at.device, at.direction(), p)
	c, known := r.find(at, t)
	again := known && p.opens && (c.opened != at.direction() || c.closed) // another connection with the same ports
	switch {
	case known && !again && c.moment == r.number:
		c.closed = c.closed || p.closes
		r.connections[t] = c
		return judgement{true, byConnection}
	case pod == nil:
		j := judgement{false, ByUnknownEndpoint}
		r.records[recordOf(t, at.direction(), Denied, j)]++
		return j
	case at.hook == fromPod && !pod.has(t.local) && !t.local.IsLinkLocalUnicast():
		return r.conclude(at, pod, p, netpol.Egress, judgement{false, ByForeignSource}, known)
	case known && !again:
		j := r.open(at, pod, p, c.opened, true)
		r.again[j.passes]++
		return j
	case p.protocol == tcp && !p.opens:
		j := r.open(at, pod, p, r.opener(at, pod, p), false)
		r.adopted[j.passes]++
		return j
	}
	return r.open(at, pod, p, at.direction(), false)
}

// opener is who opened a TCP connection that nobody saw open: whichever direction is allowed to. What answers
// an opening was opened by the other side.
func (r *reference) opener(at place, pod *localPod, p *packet) netpol.Direction {
	t := tupleOf(at.device, at.direction(), p)
	seen := at.direction()
	if p.answers {
		return 1 - seen
	}
	if !r.ask(at, pod, t, seen).passes && r.ask(at, pod, t, 1-seen).passes {
		return 1 - seen
	}
	return seen
}

// open judges a connection, again if it was judged in an earlier moment.
func (r *reference) open(at place, pod *localPod, p *packet, d netpol.Direction, again bool) judgement {
	return r.conclude(at, pod, p, d, r.ask(at, pod, tupleOf(at.device, at.direction(), p), d), again)
}

// conclude records what was judged, and keeps a connection if its packets pass, as all do of a pod that is only
// audited.
func (r *reference) conclude(at place, pod *localPod, p *packet, d netpol.Direction, j judgement, again bool) judgement {
	t := tupleOf(at.device, at.direction(), p)
	live := j
	if pod.mode == plan.Audit {
		j.passes = true
	}
	if j.reason != byService {
		key := recordOf(t, d, verdictOf(live.passes, pod.mode), j)
		key.staged = r.askStaged(at, pod, t, d, live)
		if r.records[key] += 1; again && j.passes {
			r.records[key]--
		}
	}
	if j.passes {
		r.connections[t] = connection{d, r.number, j.reason == byService, p.closes}
	}
	return j
}

// askStaged is whether the staged policies allow what the live ones were asked about.
func (r *reference) askStaged(at place, pod *localPod, t tuple, d netpol.Direction, live judgement) bool {
	if r.staged == nil || live.reason == ByForeignSource {
		return live.passes
	}
	staged := reference{moment: &moment{snapshot: r.staged}}
	return staged.ask(at, pod, t, d).passes
}

// ask is what the policies say.
func (r *reference) ask(at place, pod *localPod, t tuple, d netpol.Direction) judgement {
	me, other := netpol.Peer{Pod: pod.name, Addr: t.local}, netpol.Peer{Addr: t.remote}
	if !pod.has(t.local) { // as a group or link has it
		me.Addr = netip.Addr{}
	}
	if t.local == t.remote {
		return judgement{true, ByItself}
	}
	c := netpol.Connection{From: other, To: me, Protocol: "ICMP"}
	port := t.localPort
	if d == netpol.Egress {
		c.From, c.To, port = me, other, t.remotePort
	}
	if name := protocolNames[t.protocol]; name != "" {
		c.Protocol, c.Port = name, port
	}
	if d == netpol.Egress && r.services[t.remote] && at.hook != forwarded {
		return judgement{true, byService}
	}
	v := r.snapshot.Evaluate(c)
	decision := v.Ingress
	if d == netpol.Egress {
		decision = v.Egress
	}
	return judgement{decision.Allowed, reasonOf[decision.Reason]}
}

var protocolNames = map[byte]corev1.Protocol{tcp: corev1.ProtocolTCP, udp: corev1.ProtocolUDP, sctp: corev1.ProtocolSCTP}
