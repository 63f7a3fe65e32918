// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"bytes"

	"github.com/cilium/cilium/api/v1/flow"
)

// Lines in the form in which hubble prints flows are read from their bytes, in less than half of the time that a tree
// of values takes. Whatever is not quite of that form fails, and is read by way of such a tree: that reading decides, and
// says what is wrong. A fuzz target holds this one to it.

// seen are members of an object that were read. A second one of the same name fails.
type seen uint32

const (
	seenFlow seen = 1 << iota
	seenVerdict
	seenType
	seenIP
	seenLayer4
	seenSource
	seenDestination
	seenSourceService
	seenDestinationService
	seenSourceNames
	seenDestinationNames
	seenDirection
	seenPoint
	seenReason
	seenEvent
	seenReply
	seenFrom
	seenTo
	seenFlags
	seenSYN
	seenACK
	seenLabels
	seenWorkloads
)

func (all *seen) add(s *scanner, member seen) {
	if *all&member != 0 {
		s.fail()
	}
	*all |= member
}

// readLine takes the fields of a line that is a flow. false: it is not, or not in the usual form.
func (w *wireFlow) readLine(line []byte) bool {
	if bytes.IndexByte(line, '\\') >= 0 {
		return false
	}
	w.reset()
	s := scanner{in: line}
	if bytes.HasPrefix(line, []byte(`{"flow":`)) {
		w.scanEnvelope(&s)
	} else if w.scan(&s)&seenVerdict == 0 {
		return false // perhaps no flow at all
	}
	return s.ended()
}

func (w *wireFlow) scanEnvelope(s *scanner) {
	var (
		all  seen
		node []byte
	)
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "flow":
			all.add(s, seenFlow)
			w.scan(s)
		case "node_name":
			if node = s.once(node); len(node) == 0 {
				s.fail()
			}
		case "nodeName":
			s.fail()
		default:
			s.skip()
		}
	}
	if node != nil {
		w.node = node
	}
}

// scan reads a flow.Flow by the names of the protobuf definition. Those of its JSON form fail, and so do members that
// other kinds of lines have.
func (w *wireFlow) scan(s *scanner) (all seen) {
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "time":
			w.time = s.once(w.time)
		case "uuid":
			w.uuid = s.once(w.uuid)
		case "node_name":
			w.node = s.once(w.node)
		case "verdict":
			all.add(s, seenVerdict)
			w.verdict = s.word(flow.Verdict_value)
		case "Type":
			all.add(s, seenType)
			w.kind = s.word(flow.FlowType_value)
		case "IP":
			all.add(s, seenIP)
			w.scanIP(s)
		case "l4":
			all.add(s, seenLayer4)
			w.scanLayer4(s)
		case "source":
			all.add(s, seenSource)
			w.source.scan(s)
		case "destination":
			all.add(s, seenDestination)
			w.destination.scan(s)
		case "source_names":
			all.add(s, seenSourceNames)
			w.sourceNames = s.texts(w.sourceNames)
		case "destination_names":
			all.add(s, seenDestinationNames)
			w.destinationNames = s.texts(w.destinationNames)
		case "source_service":
			all.add(s, seenSourceService)
			w.source.serviceNamespace, w.source.service = s.named("namespace")
		case "destination_service":
			all.add(s, seenDestinationService)
			w.destination.serviceNamespace, w.destination.service = s.named("namespace")
		case "traffic_direction":
			all.add(s, seenDirection)
			w.direction = s.word(flow.TrafficDirection_value)
		case "trace_observation_point":
			all.add(s, seenPoint)
			w.point = s.word(flow.TraceObservationPoint_value)
		case "trace_reason":
			all.add(s, seenReason)
			w.reason = s.word(flow.TraceReason_value)
		case "event_type":
			all.add(s, seenEvent)
			w.scanEvent(s)
		case "is_reply":
			all.add(s, seenReply)
			w.replyKnown, w.reply = true, s.bool()
		case "nodeName", "sourceNames", "destinationNames", "sourceService", "destinationService", "trafficDirection", "traceObservationPoint", "traceReason", "eventType", "isReply",
			"flow", "lost_events", "lostEvents", "node_status", "nodeStatus", "agent_event", "agentEvent", "debug_event", "debugEvent", "start_time", "reporter":
			s.fail()
		default:
			s.skip()
		}
	}
	return all
}

func (w *wireFlow) scanEvent(s *scanner) {
	var all seen
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "type":
			all.add(s, seenType)
			w.event = int32(s.port())
		default:
			s.skip()
		}
	}
}

func (w *wireFlow) scanIP(s *scanner) {
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "source":
			w.sourceIP = s.once(w.sourceIP)
		case "destination":
			w.destinationIP = s.once(w.destinationIP)
		default:
			s.skip()
		}
	}
}

// scanLayer4 takes one protocol; several fail.
func (w *wireFlow) scanLayer4(s *scanner) {
	for s.open('{'); s.more('}'); {
		if w.protocol != 0 {
			s.fail()
		}
		switch string(s.key()) {
		case "TCP":
			w.protocol = 1
			w.scanPorts(s)
		case "UDP":
			w.protocol = 2
			w.scanPorts(s)
		case "SCTP":
			w.protocol = 5
			w.scanPorts(s)
		case "ICMPv4", "ICMPv6":
			w.protocol = 3
			s.skip()
		default:
			s.fail()
		}
	}
}

func (w *wireFlow) scanPorts(s *scanner) {
	var all seen
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "source_port":
			all.add(s, seenFrom)
			w.from = s.port()
		case "destination_port":
			all.add(s, seenTo)
			w.to = s.port()
		case "flags":
			all.add(s, seenFlags)
			w.scanFlags(s)
		default:
			s.fail()
		}
	}
}

func (w *wireFlow) scanFlags(s *scanner) {
	var all seen
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "SYN":
			all.add(s, seenSYN)
			w.syn = s.bool()
		case "ACK":
			all.add(s, seenACK)
			w.ack = s.bool()
		default:
			s.skip()
		}
	}
}

func (e *wireEnd) scan(s *scanner) {
	var all seen
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "namespace":
			e.namespace = s.once(e.namespace)
		case "pod_name":
			e.pod = s.once(e.pod)
		case "cluster_name":
			e.cluster = s.once(e.cluster)
		case "labels":
			all.add(s, seenLabels)
			e.labelText = s.textsAsText()
		case "workloads":
			all.add(s, seenWorkloads)
			e.scanWorkloads(s)
		case "podName", "clusterName":
			s.fail()
		default:
			s.skip()
		}
	}
}

// textsAsText reads a list of strings and returns it as it is written.
func (s *scanner) textsAsText() []byte {
	s.peek()
	begin := s.at
	for s.open('['); s.more(']'); {
		s.text()
	}
	return s.in[begin:s.at]
}

// scanWorkloads takes the first.
func (e *wireEnd) scanWorkloads(s *scanner) {
	for s.open('['); s.more(']'); {
		if e.workloads++; e.workloads == 1 {
			e.kind, e.workload = s.named("kind")
		} else {
			s.skip()
		}
	}
}

// named reads an object that has a name, and another member that tells it from others of that name.
func (s *scanner) named(member string) (other, name []byte) {
	for s.open('{'); s.more('}'); {
		switch key := s.key(); string(key) {
		case "name":
			name = s.once(name)
		case member:
			other = s.once(other)
		default:
			s.skip()
		}
	}
	return other, name
}
