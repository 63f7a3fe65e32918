// SPDX-License-Identifier: Apache-2.0

// Package flows reads connection records: Hubble's, as the JSON lines that `hubble observe -o json`
// prints and from the Observer gRPC API, and Calico's flow logs as JSON lines.
//
// Every record leaves this package oriented: Source is the side that opened the connection.
// That comes from connection state (is_reply, TCP flags), never from port numbers; where the
// record does not say, Oriented is false and nobody guesses later.
package flows

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cilium/cilium/api/v1/flow"
	corev1 "k8s.io/api/core/v1"
)

// Verdict is what happened to a connection.
type Verdict string

// The verdicts that concern policies.
const (
	Forwarded Verdict = "FORWARDED" // it passed (also: redirected to a proxy)
	Dropped   Verdict = "DROPPED"   // it did not pass
	Audited   Verdict = "AUDIT"     // it passed, and would be dropped if policies were enforced
)

// Side is the end at which a record was taken.
type Side string

// The sides. SideUnknown is the zero value.
const (
	SideUnknown Side = ""
	Egress      Side = "egress"  // at the source
	Ingress     Side = "ingress" // at the destination
)

// other is the side at the other end.
func (s Side) other() Side {
	switch s {
	case Egress:
		return Ingress
	case Ingress:
		return Egress
	}
	return SideUnknown
}

// Record is one observation of one connection between two addresses.
type Record struct {
	// ID is the same for the same observation however often it is read: a hash of the flow's
	// uuid, or of its time, node and addresses when it has none.
	ID   uint64
	Time time.Time // UTC
	// Since is where the time begins that the record covers, and Time where it ends. Zero: it is of one
	// moment.
	Since time.Time
	Node  string // empty when the record does not name it

	Verdict Verdict
	Side    Side
	// Oriented: Source is known to have opened the connection.
	Oriented bool

	Source, Destination         Endpoint
	Protocol                    corev1.Protocol // TCP, UDP or SCTP
	SourcePort, DestinationPort uint16          // 0: the record leaves it out
}

// Endpoint is one end of a connection as the observer saw it at that time.
type Endpoint struct {
	// Addr is not valid only where Pod is given and the record leaves it out.
	Addr netip.Addr
	// Namespace and Pod are empty when the address was no pod's. A Pod that ends in "*" stands for several.
	Namespace, Pod string
	// Kind and Workload are the pod's owner as the observer knew it, e.g. Deployment, api. Empty: not known.
	Kind, Workload string
	// Labels as "source:key=value", which nobody may change; read when Workload is empty or of a kind that may be made for one run, or WithLabels.
	Labels []string
	// Entity is the observer's word for an address that no pod is named with: world, host, remote-node,
	// kube-apiserver, …, or EntityPod. Empty: not known.
	Entity string
	// Host: the address is the observer's own node's, whatever Entity calls it.
	Host bool
	// ServiceNamespace and Service name the Service at whose address the connection is, as the observer knows it.
	// Empty: none, or not known.
	ServiceNamespace, Service string
	// Names are the DNS names that the observer saw resolve to the address; usually nil.
	Names []string
}

// state is what a record says about the connection's direction.
type state struct {
	direction flow.TrafficDirection
	point     flow.TraceObservationPoint
	known     bool // is_reply was given
	reply     bool // its value
	tcp       bool
	syn, ack  bool
	fresh     bool // to who tracks connections it is the first packet; not read where that says nothing
}

// forgotten reports a packet in the middle of a connection that is the first one to who tracks connections: the connection was
// forgotten, or is older than the observer. What is said of its direction is that of the packet then.
func (s state) forgotten() bool { return s.fresh && s.tcp && s.ack && !s.syn && s.known && !s.reply }

// movesBack says of a packet that was seen where it was handed on, or reaches its endpoint, whether it is a reply: the direction
// is that of its connection. known is false for all other points: where a packet leaves its endpoint, connections are not
// tracked yet.
func (s state) movesBack() (reply, known bool) {
	switch s.point {
	case flow.TraceObservationPoint_TO_STACK, flow.TraceObservationPoint_TO_NETWORK, flow.TraceObservationPoint_TO_OVERLAY:
		return s.direction == flow.TrafficDirection_INGRESS, true
	case flow.TraceObservationPoint_TO_ENDPOINT:
		return s.direction == flow.TrafficDirection_EGRESS, true
	}
	return false, false
}

// orient turns a reply round, so that Source is the opener. The traffic direction of a reply is
// that of its connection already.
func (r *Record) orient(s state) {
	switch s.direction {
	case flow.TrafficDirection_EGRESS:
		r.Side = Egress
	case flow.TrafficDirection_INGRESS:
		r.Side = Ingress
	}
	reply, known := s.reply, s.known
	switch {
	case s.tcp && s.syn: // a handshake names its opener, whatever was made of it
		if known && reply != s.ack {
			r.Side = r.Side.other()
		}
		reply, known = s.ack, true
	case s.forgotten():
		known = false
	case !known:
		reply, known = s.movesBack()
	}
	r.Oriented = known && r.Side != SideUnknown
	if r.Oriented && reply {
		r.Source, r.Destination = r.Destination, r.Source
		r.SourcePort, r.DestinationPort = r.DestinationPort, r.SourcePort
	}
}

// EntityOtherCluster is the entity of a pod of another cluster than the observer's, which observers of connected clusters name, too:
// names there are not names here.
const EntityOtherCluster = "other-cluster"

// areDifferent reports whether two clusters are known and not the same one.
func areDifferent(one, other []byte) bool {
	return len(one) > 0 && len(other) > 0 && !bytes.Equal(one, other)
}

// abroad takes away the names of the end that is of another cluster than the observer, which saw the pod at its side; of both ends if
// the side is not known. It runs after orient.
func (r *Record) abroad() {
	if r.Side != Ingress {
		r.Destination = Endpoint{Addr: r.Destination.Addr, Entity: EntityOtherCluster, Names: r.Destination.Names}
	}
	if r.Side != Egress {
		r.Source = Endpoint{Addr: r.Source.Addr, Entity: EntityOtherCluster, Names: r.Source.Names}
	}
}

// policyVerdict is the type of the event that a policy's verdict is reported as, which is of a connection's first packet.
const policyVerdict = 5

// identify sets ID. It runs before orient, on the record as it was read.
func (r *Record) identify(uuid []byte) {
	if len(uuid) > 0 {
		r.ID = xxhash.Sum64(uuid)
		return
	}
	var b [192]byte
	buf := binary.BigEndian.AppendUint64(b[:0], uint64(r.Time.UnixNano()))
	buf = append(buf, r.Node...)
	for _, a := range []netip.Addr{r.Source.Addr, r.Destination.Addr} {
		a16 := a.As16()
		buf = append(buf, a16[:]...)
	}
	buf = binary.BigEndian.AppendUint16(buf, r.SourcePort)
	buf = binary.BigEndian.AppendUint16(buf, r.DestinationPort)
	buf = append(buf, r.Protocol...)
	buf = append(buf, r.Verdict...)
	buf = append(buf, r.Side...)
	r.ID = xxhash.Sum64(buf)
}

// verdictOf says which verdicts concern policies; ok is false for the others, such as the
// traces of socket translation.
func verdictOf(v flow.Verdict) (verdict Verdict, ok bool) {
	switch v {
	case flow.Verdict_FORWARDED, flow.Verdict_REDIRECTED:
		return Forwarded, true
	case flow.Verdict_DROPPED, flow.Verdict_ERROR:
		return Dropped, true
	case flow.Verdict_AUDIT:
		return Audited, true
	}
	return "", false
}

func ignoredVerdict(v flow.Verdict) ignored {
	if v == flow.Verdict_TRACED || v == flow.Verdict_TRANSLATED {
		return ignoredSocket
	}
	return ignoredOther
}
