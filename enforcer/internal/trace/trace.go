// SPDX-License-Identifier: Apache-2.0

// Package trace says what one node does with a connection: each side whose pod is on the node is judged by what
// the datapath is loaded with, and named by the policies. What the ends are, and where a Service leads, comes from
// the objects that the API server has.
package trace

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// Query is what is asked.
type Query struct {
	// From and To are NAMESPACE/NAME of a pod or an address; To may also be a Service: NAMESPACE/svc/NAME.
	From string `json:"from"`
	To   string `json:"to"`
	// Protocol is TCP, UDP or SCTP; empty: TCP.
	Protocol corev1.Protocol `json:"protocol,omitempty"`
	// Port that is dialled: at a Service the Service's.
	Port uint16 `json:"port"`
}

// Node is what a trace asks.
type Node struct {
	Name string
	// Snapshot is of the objects that the API server has.
	Snapshot *netpol.Snapshot
	// Interface of a pod of this node; false: it has none (yet).
	Interface func(types.NamespacedName) (ifindex uint32, found bool)
	// Judge asks the datapath.
	Judge func(Question) (Judgement, error)
}

// Question to the datapath is about a connection that would be opened now.
type Question struct {
	Ifindex       uint32 // of the pod's interface
	Local, Remote netip.Addr
	Direction     netpol.Direction // Egress if the pod opens the connection
	Protocol      corev1.Protocol
	Port          uint16 // at the destination
	// Translated: as after the translation of a Service.
	Translated bool
}

// Judgement is the datapath's.
type Judgement struct {
	Allowed bool
	// Passes: its packets pass, because they are allowed or the pod's namespace is not in mode enforce.
	Passes bool
	// Reason is one of netpol's, or one of those below.
	Reason netpol.Reason
	// By is the rule that decided, or the policies that isolate the pod where none did; nil when neither, or
	// when their names are not known.
	By         []*netpol.Origin
	Generation uint32
	// Staged is what policies say that are not live; nil when the pod has none.
	Staged *Staged
}

// The reasons that only a datapath can have.
const (
	UnknownEndpoint netpol.Reason = "UnknownEndpoint" // what is loaded does not know the pod's interface
	ForeignSource   netpol.Reason = "ForeignSource"   // the address is not the pod's
	NoPolicies      netpol.Reason = "NoPolicies"      // none were loaded yet
)

// Staged is the judgement of policies that are not live.
type Staged struct {
	Allowed bool
	By      []*netpol.Origin
}

// Trace answers a query. An error means that there is no answer: an end is not known, or neither is a pod of
// this node.
func (n *Node) Trace(q Query) (*Report, error) {
	if n.Snapshot == nil {
		return nil, errors.New("the agent has not read the API server's objects yet: try again")
	}
	if q.Protocol = corev1.Protocol(strings.ToUpper(string(q.Protocol))); q.Protocol == "" {
		q.Protocol = corev1.ProtocolTCP
	}
	switch {
	case q.Protocol != corev1.ProtocolTCP && q.Protocol != corev1.ProtocolUDP && q.Protocol != corev1.ProtocolSCTP:
		return nil, fmt.Errorf("--protocol %q is not one of TCP, UDP, SCTP", q.Protocol)
	case q.Port == 0:
		return nil, errors.New("--port is missing: give the port that is dialled, 1 to 65535")
	}
	from, err := n.find("--from", q.From, false)
	if err != nil {
		return nil, err
	}
	to, err := n.find("--to", q.To, true)
	if err != nil {
		return nil, err
	}
	e := n.Snapshot.Explain(netpol.Connection{From: from.peer, To: to.peer, Protocol: q.Protocol, Port: q.Port})
	return n.answer(&e, from, to)
}

// answer judges both sides.
func (n *Node) answer(e *netpol.Explanation, from, to end) (*Report, error) {
	r := &Report{
		Node: n.Name, From: from.given, To: to.given, Protocol: string(e.Connection.Protocol), Port: e.Connection.Port, Notes: wording.Translation(e.Verdict.Resolved, wording.Pod),
	}
	if e.Egress.Decision.Reason == netpol.UnknownBackend {
		if to.guessed {
			return nil, fmt.Errorf("--to %q: no pod of that name, and no Service of that name with pods for port %d", to.given, e.Connection.Port)
		}
		r.Egress, r.Ingress = leadsNowhere(&e.Egress), leadsNowhere(&e.Ingress)
		r.Answer = fmt.Sprintf("%s → %s %s %s", from.text(), to.text(), r.portText(), wording.LeadsNowhere)
		return r, nil
	}
	var err error
	if r.Egress, err = n.side(r, &e.Egress, e.Verdict.Resolved != nil); err == nil {
		r.Ingress, err = n.side(r, &e.Ingress, false)
	}
	if err != nil {
		return nil, err
	}
	if !r.Egress.Judged && !r.Ingress.Judged {
		return nil, fmt.Errorf("neither end is a pod of node %s: on the egress side %s; on the ingress side %s", n.Name, r.Egress.Because, r.Ingress.Because)
	}
	r.conclude(from, to)
	return r, nil
}

func leadsNowhere(s *netpol.Side) Side {
	return Side{Reason: netpol.UnknownBackend, Because: wording.Because(s, netpol.UnknownBackend, nil), Self: wording.EndOf(&s.Self), Peer: wording.EndOf(&s.Peer)}
}

// side asks the datapath about a side whose pod is on this node.
func (n *Node) side(r *Report, s *netpol.Side, translated bool) (Side, error) {
	side := Side{
		Allowed: true, Passes: true, Reason: s.Decision.Reason, Self: wording.EndOf(&s.Self), Peer: wording.EndOf(&s.Peer),
		Port: fmt.Sprintf("%s/%d", s.Protocol, s.Port),
	}
	ifindex, local := uint32(0), false
	if s.Self.Pod != none {
		ifindex, local = n.Interface(s.Self.Pod)
	}
	switch {
	case s.Self.Pod == none:
		side.Because = wording.NotAPod(&s.Self, wording.Pod)
		return side, nil
	case s.Self.Node != n.Name:
		side.Elsewhere, side.Reason = s.Self.Node, ""
		side.Because = fmt.Sprintf("the pod is on node %s, which judges it", orUnknown(s.Self.Node))
		return side, nil
	case !local:
		return side, fmt.Errorf("pod %s has no interface that is judged on this node; `bulkhead-enforcer status` says why", s.Self.Pod)
	case !s.Self.Addr.IsValid() || !s.Peer.Addr.IsValid():
		return side, fmt.Errorf("the addresses of both ends must be known; %s is %s", nameOf(&s.Self), addrText(s.Self.Addr)+", "+nameOf(&s.Peer)+" is "+addrText(s.Peer.Addr))
	}
	j, err := n.Judge(Question{
		Ifindex: ifindex, Local: s.Self.Addr, Remote: s.Peer.Addr, Direction: s.Direction, Protocol: s.Protocol, Port: s.Port, Translated: translated,
	})
	if err != nil {
		return side, err
	}
	side.judged(s, &j)
	r.Generation = j.Generation
	return side, nil
}

func (side *Side) judged(s *netpol.Side, j *Judgement) {
	side.Judged, side.Allowed, side.Passes, side.Reason = true, j.Allowed, j.Passes, j.Reason
	side.By = places(j.By)
	side.Because = because(s, j)
	if j.Staged != nil {
		side.Staged = &StagedSide{Allowed: j.Staged.Allowed, By: places(j.Staged.By)}
	}
	side.Outdated = j.Allowed != s.Decision.Allowed
}

// none is no pod.
var none types.NamespacedName
