// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"math"
	"net/netip"
	"strconv"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// policyVerdict is the number of Hubble's event type for the outcome of a policy.
const policyVerdict = 5

// Flow is a record of the datapath, and what it speaks of by name. Hubble's message of it is made when it is asked for:
// it takes some kilobytes where many policies decided, and a Flow a few hundred bytes.
type Flow struct {
	record           dataplane.Flow
	uuid             uuid.UUID
	node             string
	local, remote    *flowpb.Endpoint // shared
	deciding, staged []*netpol.Origin // shared
	service          *flowpb.Service  // that the pod asked for, shared; nil: none, or it is not known
	names            []string         // of the other side; nil: none, or it has better ones
}

// Flows names the datapath's records, in the same order.
func (b *Book) Flows(records []dataplane.Flow) []*Flow {
	flows := make([]*Flow, len(records))
	for i := range records {
		// One at a time, so that changes need not wait for all of them.
		flows[i] = b.flow(&records[i])
	}
	return flows
}

func (b *Book) flow(r *dataplane.Flow) *Flow {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := &Flow{
		record: *r, uuid: uuid.New(), node: b.node, local: b.localEndpoint(r), remote: b.endpointAt(r.Remote, r.Last),
		deciding: b.deciding(r.Set, r.Rule, r.Direction, r.Verdict),
	}
	if s := r.Staged; s != nil {
		f.staged = b.deciding(s.Set, s.Rule, r.Direction, s.Verdict)
	}
	f.service = b.serviceOf(r)
	f.names = b.namesOf(f)
	return f
}

// Message describes the flow as Hubble does. Source is who opened the connection, whichever side the record is from;
// its aggregate counts connections, and is zero for open ones that were judged again.
func (f *Flow) Message() *flowpb.Flow {
	r := &f.record
	m := &flowpb.Flow{
		Time:      timestamppb.New(r.Last),
		Uuid:      f.uuid.String(),
		Emitter:   &flowpb.Emitter{Name: "Bulkhead"},
		NodeName:  f.node,
		Type:      flowpb.FlowType_L3_L4,
		EventType: &flowpb.CiliumEventType{Type: policyVerdict},
		L4:        layer4(r),
		IsReply:   isReply(r),
		Interface: &flowpb.NetworkInterface{Index: r.Ifindex},

		DestinationService: f.service,
	}
	//lint:ignore SA1019 Hubble's command prints it, and nothing in its place
	m.Summary = summary(r)
	count := uint32(min(r.Connections, math.MaxUint32))
	if r.Direction == netpol.Egress {
		m.TrafficDirection = flowpb.TrafficDirection_EGRESS
		m.Source, m.Destination, m.IP = f.local, f.remote, ip(r.Local, r.Remote)
		m.DestinationNames = f.names
		m.Aggregate = &flowpb.Aggregate{EgressFlowCount: count}
	} else {
		m.TrafficDirection = flowpb.TrafficDirection_INGRESS
		m.Source, m.Destination, m.IP = f.remote, f.local, ip(r.Remote, r.Local)
		m.SourceNames = f.names
		m.Aggregate = &flowpb.Aggregate{IngressFlowCount: count}
	}
	f.decide(m)
	return m
}

// localEndpoint is the pod behind the interface, whatever address it sent from.
func (b *Book) localEndpoint(r *dataplane.Flow) *flowpb.Endpoint {
	if pod := b.interfaces.at(r.Ifindex, r.Last); pod != nil {
		return b.describe(pod)
	}
	return b.endpointAt(r.Local, r.Last)
}

// isReply is nil if no opening was seen: then which side opened is not known.
func isReply(r *dataplane.Flow) *wrapperspb.BoolValue {
	if r.Connections > 0 && r.Adopted >= r.Connections {
		return nil
	}
	return wrapperspb.Bool(false)
}

func ip(source, destination netip.Addr) *flowpb.IP {
	version := flowpb.IPVersion_IPv4
	if destination.Is6() {
		version = flowpb.IPVersion_IPv6
	}
	return &flowpb.IP{Source: source.String(), Destination: destination.String(), IpVersion: version}
}

// summary is what Hubble's command shows at the end of a line: how many of these there were.
func summary(r *dataplane.Flow) string {
	switch {
	case r.Verdict == dataplane.Denied && r.Connections == 1:
		return "1 packet"
	case r.Verdict == dataplane.Denied:
		return strconv.FormatUint(r.Connections, 10) + " packets"
	case r.Connections == 0:
		return "open before"
	case r.Connections == 1:
		return "1 connection"
	}
	return strconv.FormatUint(r.Connections, 10) + " connections"
}

// layer4 is nil for protocols that Hubble has no name for.
func layer4(r *dataplane.Flow) *flowpb.Layer4 {
	source, destination := uint32(r.SourcePort), uint32(r.Port)
	switch r.Protocol {
	case unix.IPPROTO_TCP:
		return &flowpb.Layer4{Protocol: &flowpb.Layer4_TCP{TCP: &flowpb.TCP{SourcePort: source, DestinationPort: destination}}}
	case unix.IPPROTO_UDP:
		return &flowpb.Layer4{Protocol: &flowpb.Layer4_UDP{UDP: &flowpb.UDP{SourcePort: source, DestinationPort: destination}}}
	case unix.IPPROTO_SCTP:
		return &flowpb.Layer4{Protocol: &flowpb.Layer4_SCTP{SCTP: &flowpb.SCTP{SourcePort: source, DestinationPort: destination}}}
	case unix.IPPROTO_ICMP:
		return &flowpb.Layer4{Protocol: &flowpb.Layer4_ICMPv4{ICMPv4: &flowpb.ICMPv4{}}}
	case unix.IPPROTO_ICMPV6:
		return &flowpb.Layer4{Protocol: &flowpb.Layer4_ICMPv6{ICMPv6: &flowpb.ICMPv6{}}}
	}
	return nil
}

// decide writes the verdict, and the policies that it is from as far as they were known. What staged policies would
// have decided otherwise stands beside it, labelled as staged.
func (f *Flow) decide(m *flowpb.Flow) {
	r := &f.record
	deciding := policies("", f.deciding...)
	var allowing, denying []*flowpb.Policy
	switch r.Verdict {
	case dataplane.Allowed:
		m.Verdict, allowing = flowpb.Verdict_FORWARDED, deciding
	case dataplane.WouldDeny:
		m.Verdict, denying = flowpb.Verdict_AUDIT, deciding
	case dataplane.Denied:
		m.Verdict, denying = flowpb.Verdict_DROPPED, deciding
		m.DropReasonDesc = dropReason(r)
	}
	if s := r.Staged; s != nil && (s.Verdict == dataplane.Allowed) != (r.Verdict == dataplane.Allowed) {
		staged := policies(netpol.AnnotationStaged+"=true", f.staged...)
		if s.Verdict == dataplane.Allowed {
			allowing = staged
		} else {
			denying = staged
		}
	}
	if r.Direction == netpol.Egress {
		m.EgressAllowedBy, m.EgressDeniedBy = allowing, denying
	} else {
		m.IngressAllowedBy, m.IngressDeniedBy = allowing, denying
	}
}

// Deciders are what a verdict of a policy set is from: the rule of that number, or, where none decided and the
// connection is not allowed, the policies that isolate the pod. Nil: neither, or they are not known (any more).
func (b *Book) Deciders(set uint32, rule int, d netpol.Direction, v dataplane.Verdict) []*netpol.Origin {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.deciding(set, rule, d, v)
}

// deciding is the rule of a policy set, or the policies that isolate the pod where no rule matches.
func (b *Book) deciding(number uint32, rule int, d netpol.Direction, v dataplane.Verdict) []*netpol.Origin {
	switch set := b.sets[number]; {
	case set == nil:
	case rule >= 0 && rule < len(set.rules[d]):
		return set.rules[d][rule : rule+1]
	case v != dataplane.Allowed:
		return set.isolation[d]
	}
	return nil
}

func dropReason(r *dataplane.Flow) flowpb.DropReason {
	switch {
	case r.Reason == dataplane.ByForeignSource:
		return flowpb.DropReason_INVALID_SOURCE_IP
	case r.Set == dataplane.NoSet:
		return flowpb.DropReason_NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION
	case r.Reason == dataplane.ByDenyRule:
		return flowpb.DropReason_POLICY_DENY
	}
	return flowpb.DropReason_POLICY_DENIED
}

// policies names the objects that decided; labels say which rule, which commit approved it, and also label if it
// is not empty.
func policies(label string, origins ...*netpol.Origin) []*flowpb.Policy {
	var named []*flowpb.Policy
	for _, o := range origins {
		p := &flowpb.Policy{Name: o.Name, Namespace: o.Namespace, Kind: o.Kind, Labels: []string{"bulkhead.dev/rule=" + o.Path}}
		if o.Commit != "" {
			p.Labels = append(p.Labels, baseline.AnnotationApprovedCommit+"="+o.Commit)
		}
		if label != "" {
			p.Labels = append(p.Labels, label)
		}
		named = append(named, p)
	}
	return named
}
