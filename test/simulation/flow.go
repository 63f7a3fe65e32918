// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"hash/crc32"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	corev1 "k8s.io/api/core/v1"
)

// Form says how flows are printed. The zero Form is what `hubble observe -o json` prints.
type Form struct {
	Bare        bool // the flow alone, without the envelope
	NoWorkloads bool // pods' owners are not known
	NoPods      bool // addresses alone: nothing is known of who has them
	NoReply     bool // nobody says which packets are replies
	NoPoints    bool // nor at which point they were observed
}

// response is what an observer prints of a sight.
func (s *sight) response(form Form) *observer.GetFlowsResponse {
	at := timestamppb.New(s.at)
	if s.lost > 0 {
		return &observer.GetFlowsResponse{NodeName: s.on.name, Time: at, ResponseTypes: &observer.GetFlowsResponse_LostEvents{
			LostEvents: &flow.LostEvent{Source: flow.LostEventSource_PERF_EVENT_RING_BUFFER, NumEventsLost: s.lost},
		}}
	}
	f := s.flow(form)
	return &observer.GetFlowsResponse{NodeName: s.on.name, Time: at, ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: f}}
}

func (s *sight) flow(form Form) *flow.Flow {
	from, to := s.from, s.to
	fromPort, toPort := s.fromPort, s.toPort
	if s.frontend {
		to, toPort = end{addr: s.service.addr}, s.servicePort
		if s.alias {
			to.behind = &s.to
		}
	}
	if s.reply {
		from, to, fromPort, toPort = to, from, toPort, fromPort
	}
	f := &flow.Flow{
		Time: timestamppb.New(s.at), Uuid: s.uuid, Verdict: flow.Verdict_FORWARDED, Type: flow.FlowType_L3_L4,
		IP: &flow.IP{Source: from.addr.String(), Destination: to.addr.String(), IpVersion: version(from.addr)},
		L4: s.layer4(fromPort, toPort), Source: from.endpoint(s.on, form), Destination: to.endpoint(s.on, form),
		SourceNames: from.names, DestinationNames: to.names, NodeName: s.on.name,
		EventType:        &flow.CiliumEventType{Type: int32(s.event), SubType: int32(s.point)},
		TrafficDirection: s.direction, TraceObservationPoint: s.point, TraceReason: s.reason(form),
	}
	if s.verdict != flow.Verdict_VERDICT_UNKNOWN {
		f.Verdict = s.verdict
	}
	if s.knows && !form.NoReply {
		f.IsReply = wrapperspb.Bool(s.reply)
	}
	if s.frontend && !form.NoPods { // Services are found by the address that is there
		name := &flow.Service{Name: s.service.Name, Namespace: s.service.Namespace}
		if s.reply {
			f.SourceService = name
		} else {
			f.DestinationService = name
		}
	}
	s.event.finish(f)
	if form.NoPoints {
		f.TraceObservationPoint, f.EventType = 0, nil
	}
	return f
}

// finish sets what only some events have.
func (e event) finish(f *flow.Flow) {
	switch e {
	case socketEvent:
		f.Type, f.SockXlatePoint = flow.FlowType_SOCK, flow.SocketTranslationPoint_SOCK_XLATE_POINT_POST_DIRECTION_FWD
		if f.Verdict == flow.Verdict_TRACED {
			f.SockXlatePoint = flow.SocketTranslationPoint_SOCK_XLATE_POINT_PRE_DIRECTION_FWD
		}
	case dropEvent:
		f.DropReasonDesc = flow.DropReason_POLICY_DENIED
		f.EventType.SubType = int32(flow.DropReason_POLICY_DENIED)
	}
}

// reason is what connection tracking said of a packet.
func (s *sight) reason(form Form) flow.TraceReason {
	switch {
	case s.event != traceEvent || !s.knows || form.NoReply || form.NoPoints:
		return flow.TraceReason_TRACE_REASON_UNKNOWN
	case s.reply:
		return flow.TraceReason_REPLY
	case s.first:
		return flow.TraceReason_NEW
	}
	return flow.TraceReason_ESTABLISHED
}

func (s *sight) layer4(from, to uint16) *flow.Layer4 {
	source, destination := uint32(from), uint32(to)
	switch s.protocol {
	case corev1.ProtocolTCP:
		tcp := &flow.TCP{SourcePort: source, DestinationPort: destination, Flags: s.flags}
		if s.event == socketEvent {
			tcp.SourcePort, tcp.Flags = 0, nil // there is no packet yet
		}
		return &flow.Layer4{Protocol: &flow.Layer4_TCP{TCP: tcp}}
	case corev1.ProtocolUDP:
		return &flow.Layer4{Protocol: &flow.Layer4_UDP{UDP: &flow.UDP{SourcePort: source, DestinationPort: destination}}}
	case corev1.ProtocolSCTP:
		return &flow.Layer4{Protocol: &flow.Layer4_SCTP{SCTP: &flow.SCTP{SourcePort: source, DestinationPort: destination, ChunkType: s.chunk}}}
	}
	return ping(version(s.from.addr), s.reply)
}

// endpoint is what a node's observer knows of an end: owners of its own pods only; of pods elsewhere what the
// cluster's nodes tell each other.
func (e end) endpoint(on *node, form Form) *flow.Endpoint {
	if form.NoPods {
		return nil
	}
	if e.behind != nil { // the datapath knows whom the answer is of, and nobody knows a pod with the address
		behind := e.behind.endpoint(on, form)
		return &flow.Endpoint{Identity: behind.Identity, Labels: behind.Labels}
	}
	if e.pod == nil {
		return &flow.Endpoint{Identity: e.identity(on), Labels: e.entity(on)}
	}
	p := &flow.Endpoint{
		Identity: 16384 + crc32.ChecksumIEEE([]byte(e.pod.workload.String()))%32768, ClusterName: "default",
		Namespace: e.pod.namespace, PodName: e.pod.name, Labels: e.pod.identityLabels(),
	}
	if e.pod.node == on {
		p.ID = crc32.ChecksumIEEE([]byte(e.pod.name+e.pod.start.String()))%65000 + 1
		if !form.NoWorkloads {
			p.Workloads = []*flow.Workload{{Name: e.pod.workload.name, Kind: e.pod.kind}}
		}
	}
	return p
}

func (e end) entity(on *node) (labels []string) {
	switch {
	case e.node == nil:
		return []string{"reserved:world"}
	case e.node.controlPlane:
		labels = append(labels, "reserved:kube-apiserver")
	}
	if e.node == on {
		return append(labels, "reserved:host")
	}
	return append(labels, "reserved:remote-node")
}

// identity is the number that the datapath reserves for an entity.
func (e end) identity(on *node) uint32 {
	const host, world, remoteNode, kubeAPIServer = 1, 2, 6, 7
	switch {
	case e.node == nil:
		return world
	case e.node == on:
		return host
	case e.node.controlPlane:
		return kubeAPIServer
	}
	return remoteNode
}

// identityLabels are the labels that make a pod's identity: not those of a revision or replica.
func (p *pod) identityLabels() []string {
	labels := []string{
		"k8s:io.cilium.k8s.namespace.labels." + corev1.LabelMetadataName + "=" + p.namespace,
		"k8s:io.cilium.k8s.policy.cluster=default", "k8s:io.cilium.k8s.policy.serviceaccount=default",
		"k8s:io.kubernetes.pod.namespace=" + p.namespace,
	}
	for _, k := range slices.Sorted(maps.Keys(p.template.Labels)) {
		if !strings.Contains(k, "kubernetes.io/") || strings.HasPrefix(k, "app.kubernetes.io/") {
			labels = append(labels, "k8s:"+k+"="+p.template.Labels[k])
		}
	}
	slices.Sort(labels)
	return labels
}
