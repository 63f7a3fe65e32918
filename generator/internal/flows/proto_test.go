// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/cilium/api/v1/flow"
	corev1 "k8s.io/api/core/v1"
)

// fromProto reads one flow with the protobuf library. node is the name in the envelope; empty: the
// flow's own. With an error the record is nil, or of ICMP, of which only the ends are read.
func fromProto(f *flow.Flow, node string) (*Record, error) {
	switch {
	case f == nil:
		return nil, ignoredOther
	case f.GetType() == flow.FlowType_L7:
		return nil, ignoredApplication
	case f.GetType() == flow.FlowType_SOCK:
		return nil, ignoredSocket
	}
	rec := &Record{Node: node}
	ok := false
	if rec.Verdict, ok = verdictOf(f.GetVerdict()); !ok {
		return nil, ignoredVerdict(f.GetVerdict())
	}
	var s state
	if err := rec.protoPorts(f.GetL4(), &s); err != nil {
		if endsErr := rec.protoEnds(f); err == ignoredICMP && endsErr != nil {
			return nil, endsErr
		}
		return rec, err
	}
	if !f.GetTime().IsValid() || f.GetTime() == nil {
		return nil, errors.New("flow.time: missing or out of range")
	}
	rec.Time = f.GetTime().AsTime()
	if rec.Node == "" {
		rec.Node = f.GetNodeName()
	}
	if err := rec.protoEnds(f); err != nil {
		return nil, err
	}
	s.direction, s.point = f.GetTrafficDirection(), f.GetTraceObservationPoint()
	s.known, s.reply = f.GetIsReply() != nil, f.GetIsReply().GetValue()
	s.fresh = f.GetTraceReason() == flow.TraceReason_NEW || f.GetEventType().GetType() == 5
	if err := rec.check(); err != nil {
		return nil, fmt.Errorf("flow.%w", err)
	}
	rec.identify([]byte(f.GetUuid()))
	rec.orient(s)
	if from, to := f.GetSource().GetClusterName(), f.GetDestination().GetClusterName(); from != "" && to != "" && from != to {
		rec.abroad()
	}
	return rec, nil
}

func (r *Record) protoPorts(l4 *flow.Layer4, s *state) error {
	var from, to uint32
	switch {
	case l4.GetTCP() != nil:
		t := l4.GetTCP()
		r.Protocol, from, to = corev1.ProtocolTCP, t.GetSourcePort(), t.GetDestinationPort()
		s.tcp, s.syn, s.ack = true, t.GetFlags().GetSYN(), t.GetFlags().GetACK()
	case l4.GetUDP() != nil:
		r.Protocol, from, to = corev1.ProtocolUDP, l4.GetUDP().GetSourcePort(), l4.GetUDP().GetDestinationPort()
	case l4.GetSCTP() != nil:
		r.Protocol, from, to = corev1.ProtocolSCTP, l4.GetSCTP().GetSourcePort(), l4.GetSCTP().GetDestinationPort()
	case l4.GetICMPv4() != nil, l4.GetICMPv6() != nil:
		return ignoredICMP
	default:
		return ignoredOther
	}
	r.SourcePort, r.DestinationPort = uint16(from), uint16(to)
	if from > 65535 || to > 65535 {
		return fmt.Errorf("flow.l4.%s: %d or %d is not a port number", r.Protocol, from, to)
	}
	return nil
}

func (r *Record) protoEnds(f *flow.Flow) (err error) {
	if r.Source.Addr, err = newDecoder().address([]byte(f.GetIP().GetSource())); err != nil {
		return fmt.Errorf("flow.IP.source: %w", err)
	}
	if r.Destination.Addr, err = newDecoder().address([]byte(f.GetIP().GetDestination())); err != nil {
		return fmt.Errorf("flow.IP.destination: %w", err)
	}
	r.Source = protoEndpoint(f.GetSource(), f.GetSourceService(), r.Source.Addr, f.GetSourceNames())
	if r.Source.Service != "" {
		r.Source.Entity, r.Source.Host = "", false
	}
	r.Destination = protoEndpoint(f.GetDestination(), f.GetDestinationService(), r.Destination.Addr, f.GetDestinationNames())
	return nil
}

func protoEndpoint(p *flow.Endpoint, service *flow.Service, addr netip.Addr, names []string) Endpoint {
	e := Endpoint{Addr: addr, Pod: p.GetPodName(), Names: dnsNames(names)}
	if service.GetName() != "" {
		e.ServiceNamespace, e.Service = service.GetNamespace(), service.GetName()
	}
	if e.Pod != "" {
		e.Namespace = p.GetNamespace()
		if w := p.GetWorkloads(); len(w) > 0 {
			e.Kind, e.Workload = w[0].GetKind(), w[0].GetName()
		}
	}
	if e.IsPassing() {
		e.setLabels(readLabels(p.GetLabels()))
	}
	return e
}
