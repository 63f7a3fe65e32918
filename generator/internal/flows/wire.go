// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
)

// Responses of the Observer API are read from their bytes, because the protobuf library takes four times
// as long: it also makes all that is not needed. A test and a fuzz target hold this to the library's reading.

// errWire is a message that is cut off or no protobuf.
var errWire = errors.New("not a protobuf message")

// fields walks over the fields of a message.
type fields struct {
	rest   []byte
	number protowire.Number
	varint uint64 // of a field of that type
	bytes  []byte // of a field of that type; else nil
	err    error
}

// next moves to the next field of a type that is needed here: the others are skipped.
func (f *fields) next() bool {
	for len(f.rest) > 0 {
		number, kind, n := protowire.ConsumeTag(f.rest)
		if n < 0 {
			f.err = errWire
			return false
		}
		f.rest, f.number, f.bytes = f.rest[n:], number, nil
		switch kind {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(f.rest)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(f.rest)
		default:
			n = protowire.ConsumeFieldValue(number, kind, f.rest)
			f.number = 0
		}
		if n < 0 {
			f.err = errWire
			return false
		}
		if f.rest = f.rest[n:]; f.number != 0 {
			return true
		}
	}
	return false
}

// is reports whether the field is the one with that number, of type bytes.
func (f *fields) is(number protowire.Number) bool { return f.number == number && f.bytes != nil }

// value reports whether the field is the one with that number, of type varint.
func (f *fields) value(number protowire.Number) bool { return f.number == number && f.bytes == nil }

// wireFlow is a flow.Flow, as far as it is read. It points into the message.
type wireFlow struct {
	seconds, nanos                int64
	timed                         bool
	time                          []byte // of a line; nil: seconds and nanos have it
	verdict, kind                 int32
	direction, point              int32
	reason, event                 int32
	protocol                      protowire.Number // in flow.Layer4; 0: none
	from, to                      uint32
	syn, ack                      bool
	sourceIP, destinationIP       []byte
	node, uuid                    []byte
	source, destination           wireEnd
	sourceNames, destinationNames [][]byte
	replyKnown, reply             bool
}

type wireEnd struct {
	namespace, pod, kind, workload []byte
	cluster                        []byte // of a pod; empty: not known
	serviceNamespace, service      []byte
	workloads                      int
	known                          bool // the names of the pod need not be checked
	labels                         [][]byte
	labelText                      []byte // of a line, which has no labels then: as they are written
}

// response reads an observer.GetFlowsResponse into rec, or returns the loss that it reports: then rec is as it
// was. The error is of type ignored or says what is wrong; rec has the ends of an ignored record of ICMP.
func (d *decoder) response(message []byte, rec *Record) (*loss, error) {
	var (
		kind   protowire.Number // of response
		report loss
		node   []byte
	)
	w := &d.wire
	w.reset()
	f := fields{rest: message}
	for f.next() {
		switch {
		case f.is(1):
			if err := w.read(f.bytes); err != nil {
				return nil, err
			}
			kind = 1
		case f.is(2):
			kind = 2
		case f.is(3):
			if err := report.read(f.bytes); err != nil {
				return nil, err
			}
			kind = 3
		case f.is(1000):
			node = f.bytes
		}
	}
	switch {
	case f.err != nil:
		return nil, f.err
	case kind == 3:
		if report.node = d.intern(node); !isNode(report.node) {
			return nil, errors.New("lost_events: a name of a node that cannot be")
		}
		return &report, nil
	case kind != 1:
		return nil, ignoredOther
	}
	if len(node) == 0 {
		node = w.node
	}
	*rec = Record{Node: d.intern(node)}
	return nil, d.fill(w, rec)
}

func (l *loss) read(message []byte) error {
	f := fields{rest: message}
	for f.next() {
		switch {
		case f.value(1):
			l.queue = ""
			if source := flow.LostEventSource(int32(f.varint)); source != flow.LostEventSource_UNKNOWN_LOST_EVENT_SOURCE {
				l.queue = source.String()
			}
		case f.value(2):
			l.flows = f.varint
		}
	}
	return f.err
}

// fill makes the record of what was read.
func (d *decoder) fill(w *wireFlow, rec *Record) error {
	switch flow.FlowType(w.kind) {
	case flow.FlowType_L7:
		return ignoredApplication
	case flow.FlowType_SOCK:
		return ignoredSocket
	}
	ok := false
	if rec.Verdict, ok = verdictOf(flow.Verdict(w.verdict)); !ok {
		return ignoredVerdict(flow.Verdict(w.verdict))
	}
	switch w.protocol {
	case 1:
		rec.Protocol = corev1.ProtocolTCP
	case 2:
		rec.Protocol = corev1.ProtocolUDP
	case 5:
		rec.Protocol = corev1.ProtocolSCTP
	case 3, 4:
		if err := d.wireEnds(w, rec); err != nil {
			return err
		}
		return ignoredICMP
	default:
		return ignoredOther
	}
	if w.from > 65535 || w.to > 65535 {
		return fmt.Errorf("flow.l4.%s: %d or %d is not a port number", rec.Protocol, w.from, w.to)
	}
	rec.SourcePort, rec.DestinationPort = uint16(w.from), uint16(w.to)
	if !w.timed || w.nanos < 0 || w.nanos >= int64(time.Second) {
		return errors.New("flow.time: missing or out of range")
	}
	rec.Time = time.Unix(w.seconds, w.nanos).UTC()
	if err := d.wireEnds(w, rec); err != nil {
		return err
	}
	if err := rec.checkBut(w.source.known, w.destination.known); err != nil {
		return fmt.Errorf("flow.%w", err)
	}
	rec.identify(w.uuid)
	rec.orient(state{
		direction: flow.TrafficDirection(w.direction), point: flow.TraceObservationPoint(w.point), known: w.replyKnown, reply: w.reply,
		tcp: w.protocol == 1, syn: w.syn, ack: w.ack, fresh: w.reason == int32(flow.TraceReason_NEW) || w.event == policyVerdict,
	})
	if areDifferent(w.source.cluster, w.destination.cluster) {
		rec.abroad()
	}
	return nil
}

func (d *decoder) wireEnds(w *wireFlow, rec *Record) (err error) {
	if rec.Source.Addr, err = d.address(w.sourceIP); err != nil {
		return fmt.Errorf("flow.IP.source: %w", err)
	}
	if rec.Destination.Addr, err = d.address(w.destinationIP); err != nil {
		return fmt.Errorf("flow.IP.destination: %w", err)
	}
	d.wireEnd(&w.source, &rec.Source)
	rec.Source.answers()
	d.wireEnd(&w.destination, &rec.Destination)
	rec.Source.Names = dnsNames(d.strings(w.sourceNames))
	rec.Destination.Names = dnsNames(d.strings(w.destinationNames))
	return nil
}

func (d *decoder) wireEnd(w *wireEnd, e *Endpoint) {
	if len(w.pod) > 0 {
		var names who
		names, w.known = d.who(w)
		e.Namespace, e.Pod, e.Kind, e.Workload = names.namespace, names.pod, names.kind, names.workload
	}
	if e.IsPassing() || d.labels {
		e.setLabels(d.wireLabels(w))
	}
	if len(w.service) > 0 {
		e.ServiceNamespace, e.Service = d.intern(w.serviceNamespace), d.intern(w.service)
	}
}

func (d *decoder) strings(list [][]byte) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = d.intern(b)
	}
	return out
}
