// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"time"

	"github.com/cilium/cilium/api/v1/flow"
)

// sight is a packet as one point of observation reports it.
type sight struct {
	packet
	on    *node
	event event
	point flow.TraceObservationPoint
	// direction of the connection, as seen from the observed pod.
	direction flow.TrafficDirection
	knows     bool // whether it is a reply
	// frontend: the Service's address is where the destination's is otherwise; alias: and what is behind it is known.
	frontend, alias bool
	verdict         flow.Verdict
	uuid            string
	printed         time.Time // in this order
	lost            uint64    // not a packet at all, but the report of so many lost flows
}

// event is the datapath's word for what it reports.
type event int32

// The events, as pkg/monitor/api numbers them.
const (
	dropEvent          event = 1
	traceEvent         event = 4
	policyVerdictEvent event = 5
	socketEvent        event = 131
)

const (
	egress  = flow.TrafficDirection_EGRESS
	ingress = flow.TrafficDirection_INGRESS
)

// look is what all points report of a packet. The points are those of a datapath whose programs sit at the pods'
// interfaces: one reports what leaves its pod for another machine or for the node's stack, and what is delivered to a
// pod. From pod to pod on one node only the delivery is reported. Each side's policy decides about the first packet,
// which is reported too.
func (c *cluster) look(p packet) (sights []sight) {
	from, to := p.from.pod, p.to.pod
	if p.first {
		sights = append(sights, c.opening(p)...)
	}
	if p.outcome == denied {
		return sights
	}
	// In the stack a Service's address is translated after the source's side, and back before it.
	inStack := c.KubeProxy && p.service != nil
	leaves := inStack || p.from.node != p.to.node || from == nil || to == nil
	if from != nil {
		s := sight{packet: p, on: from.node, event: traceEvent, direction: egress, knows: true, frontend: inStack}
		if p.reply {
			s.point, s.frontend, s.alias = flow.TraceObservationPoint_TO_ENDPOINT, c.translates(p), c.PacketLB
			sights = append(sights, s)
		} else {
			sights = append(sights, c.leaving(s, leaves, inStack || to == nil)...)
		}
	}
	if to != nil {
		s := sight{packet: p, on: to.node, event: traceEvent, direction: ingress, knows: true}
		if p.reply {
			sights = append(sights, c.leaving(s, leaves, from == nil)...)
		} else {
			s.point = flow.TraceObservationPoint_TO_ENDPOINT
			sights = append(sights, s)
		}
	}
	return sights
}

// translates says whether packets have a Service's address where they leave their pod, and its answers where they come to it.
func (c *cluster) translates(p packet) bool { return p.service != nil && (c.KubeProxy || c.PacketLB) }

// leaving is what is reported where a packet leaves a pod, and where it leaves for another machine.
func (c *cluster) leaving(s sight, leaves, toStack bool) (sights []sight) {
	if c.AllPoints {
		early := s
		early.frontend = early.frontend || c.translates(s.packet) && !s.reply
		early.point, early.knows, early.direction = flow.TraceObservationPoint_FROM_ENDPOINT, false, flow.TrafficDirection_TRAFFIC_DIRECTION_UNKNOWN
		sights = append(sights, early)
	}
	if !leaves {
		return sights
	}
	s.point = flow.TraceObservationPoint_TO_OVERLAY
	if toStack {
		s.point = flow.TraceObservationPoint_TO_STACK
	}
	return append(sights, s)
}

// opening is what is reported of a connection's first packet only: the translation at the socket, and what each
// side's policy said.
func (c *cluster) opening(p packet) (sights []sight) {
	if from := p.from.pod; from != nil {
		if p.service != nil && !c.translates(p) {
			s := sight{packet: p, on: from.node, event: socketEvent, verdict: flow.Verdict_TRACED, frontend: true}
			sights = append(sights, s)
			s.verdict, s.frontend = flow.Verdict_TRANSLATED, false
			sights = append(sights, s)
		}
		sights = append(sights, c.judged(p, from.node, egress, c.KubeProxy && p.service != nil)...)
	}
	if to := p.to.pod; to != nil && p.outcome != denied {
		sights = append(sights, c.judged(p, to.node, ingress, false)...)
	}
	return sights
}

// judged is the report of a policy's verdict. Of what is dropped there is a second one, which does not know whether
// it was a reply.
func (c *cluster) judged(p packet, on *node, direction flow.TrafficDirection, frontend bool) []sight {
	s := sight{packet: p, on: on, event: policyVerdictEvent, direction: direction, knows: true, frontend: frontend}
	if p.outcome != denied {
		return []sight{s}
	}
	s.verdict, s.knows = flow.Verdict_DROPPED, false
	drop := s
	drop.event = dropEvent
	return []sight{s, drop}
}
