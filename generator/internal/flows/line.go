// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/valyala/fastjson"
	corev1 "k8s.io/api/core/v1"
)

// ignored is a line that is well-formed and says nothing about policies.
type ignored string

func (i ignored) Error() string { return "not a connection record: " + string(i) }

// Why a record is ignored.
const (
	ignoredICMP        ignored = "ICMP"
	ignoredApplication ignored = "application layer" // its connection is reported too
	ignoredSocket      ignored = "trace of a socket"
	ignoredOther       ignored = "of another kind" // node status, agent events, other protocols
)

// decoder reads one line or message at a time. It reads only the fields that are needed, because protojson
// takes ten times as long; a test holds it to protojson's reading.
type decoder struct {
	parser    fastjson.Parser
	wire      wireFlow
	names     map[string]string
	addresses map[string]netip.Addr
	weight    uint64 // connections that the last record stands for
	labels    bool   // also of pods whose workload is known
	list      []byte // of the labels that are being read
	lists     map[string]labels
	pods      map[string]who
	day       day // of the last time
}

func newDecoder(options ...Option) *decoder {
	d := &decoder{names: map[string]string{}, addresses: map[string]netip.Addr{}, lists: map[string]labels{}, pods: map[string]who{}}
	for _, o := range options {
		o(d)
	}
	return d
}

// loss is an observer's report that it lost flows.
type loss struct {
	node, queue string // empty: not known
	flows       uint64
}

// decode reads a line into rec, or returns the loss that the line reports: then rec is as it was. The error is of type ignored or says what is wrong and in which field.
func (d *decoder) decode(line []byte, rec *Record) (*loss, error) {
	d.weight = 1
	if d.wire.readLine(line) {
		if err, ok := d.usual(rec); ok {
			return nil, err
		}
	}
	return d.parse(line, rec)
}

// usual makes the record of a line that was read in the usual form. false: something is wrong with it.
func (d *decoder) usual(rec *Record) (error, bool) {
	w := &d.wire
	if w.seconds, w.nanos, w.timed = d.usualTime(w.time); !w.timed {
		return nil, false
	}
	*rec = Record{Node: d.intern(w.node)}
	err := d.fill(w, rec)
	_, skipped := err.(ignored)
	return err, err == nil || skipped
}

// parse does what decode does with a line of any form.
func (d *decoder) parse(line []byte, rec *Record) (*loss, error) {
	v, err := d.parser.ParseBytes(line)
	if err != nil {
		return nil, fmt.Errorf("not JSON: %s", firstLine(err.Error()))
	}
	if v.Type() != fastjson.TypeObject {
		return nil, fmt.Errorf("a JSON %s, not an object", v.Type())
	}
	if f := v.Get("flow"); f != nil {
		return nil, d.flow(f, rec, member(v, "node_name", "nodeName"))
	}
	if l := member(v, "lost_events", "lostEvents"); l != nil {
		n, err := number(member(l, "num_events_lost", "numEventsLost"))
		if err != nil {
			return nil, fmt.Errorf("num_events_lost: %w", err)
		}
		report := &loss{d.text(member(v, "node_name", "nodeName")), d.text(l.Get("source")), n}
		if !isNode(report.node) || !isPlain(report.queue, "_") {
			return nil, errors.New("lost_events: a name of a node or a queue that cannot be")
		}
		return report, nil
	}
	for _, other := range []string{"node_status", "agent_event", "debug_event", "nodeStatus", "agentEvent", "debugEvent"} {
		if v.Exists(other) {
			return nil, ignoredOther
		}
	}
	if isCalico(v) {
		d.weight, err = d.calico(line, v, rec)
		return nil, err
	}
	if !v.Exists("verdict") && !v.Exists("IP") {
		return nil, errors.New("neither a flow of Hubble or Calico nor a report of lost flows")
	}
	return nil, d.flow(v, rec, nil)
}

func (d *decoder) flow(f *fastjson.Value, rec *Record, node *fastjson.Value) error {
	if f.Type() != fastjson.TypeObject {
		return fmt.Errorf("flow: a JSON %s, not an object", f.Type())
	}
	switch t := string(f.GetStringBytes("Type")); t {
	case "", "L3_L4", "UNKNOWN_TYPE":
	case "L7":
		return ignoredApplication
	case "SOCK":
		return ignoredSocket
	default:
		return ignoredOther
	}
	code, err := enum(f.Get("verdict"), flow.Verdict_value)
	if err != nil {
		return fmt.Errorf("flow.verdict: %w", err)
	}
	*rec = Record{}
	ok := false
	if rec.Verdict, ok = verdictOf(flow.Verdict(code)); !ok {
		return ignoredVerdict(flow.Verdict(code))
	}
	var s state
	if err := d.ports(f.Get("l4"), rec, &s); err != nil {
		if endsErr := d.ends(f, rec); err == ignoredICMP && endsErr != nil {
			return endsErr
		}
		return err
	}
	if rec.Time, err = parseTime(f.GetStringBytes("time")); err != nil {
		return fmt.Errorf("flow.time: %w", err)
	}
	if node == nil {
		node = member(f, "node_name", "nodeName")
	}
	rec.Node = d.text(node)
	if err := d.ends(f, rec); err != nil {
		return err
	}
	direction, err := enum(member(f, "traffic_direction", "trafficDirection"), flow.TrafficDirection_value)
	if err != nil {
		return fmt.Errorf("flow.traffic_direction: %w", err)
	}
	s.direction = flow.TrafficDirection(direction)
	// A point that is not known yet says nothing.
	point, _ := enum(member(f, "trace_observation_point", "traceObservationPoint"), flow.TraceObservationPoint_value)
	s.point = flow.TraceObservationPoint(point)
	if reply := member(f, "is_reply", "isReply"); reply != nil && reply.Type() != fastjson.TypeNull {
		s.known = true
		if s.reply, err = reply.Bool(); err != nil {
			return errors.New("flow.is_reply: not true or false")
		}
	}
	if s.tcp && s.ack && !s.syn && s.known && !s.reply {
		s.fresh = string(member(f, "trace_reason", "traceReason").GetStringBytes()) == "NEW" || member(f, "event_type", "eventType").GetInt("type") == policyVerdict
	}
	if err := rec.check(); err != nil {
		return fmt.Errorf("flow.%w", err)
	}
	rec.identify(f.GetStringBytes("uuid"))
	rec.orient(s)
	if areDifferent(member(f.Get("source"), "cluster_name", "clusterName").GetStringBytes(), member(f.Get("destination"), "cluster_name", "clusterName").GetStringBytes()) {
		rec.abroad()
	}
	return nil
}

func (d *decoder) ports(l4 *fastjson.Value, rec *Record, s *state) (err error) {
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP} {
		p := l4.Get(string(protocol))
		if p == nil {
			continue
		}
		rec.Protocol = protocol
		if rec.SourcePort, err = port(member(p, "source_port", "sourcePort")); err != nil {
			return fmt.Errorf("flow.l4.%s.source_port: %w", protocol, err)
		}
		if rec.DestinationPort, err = port(member(p, "destination_port", "destinationPort")); err != nil {
			return fmt.Errorf("flow.l4.%s.destination_port: %w", protocol, err)
		}
		if protocol == corev1.ProtocolTCP {
			s.tcp, s.syn, s.ack = true, p.GetBool("flags", "SYN"), p.GetBool("flags", "ACK")
		}
		return nil
	}
	if l4.Exists("ICMPv4") || l4.Exists("ICMPv6") {
		return ignoredICMP
	}
	return ignoredOther // nothing above the network layer
}

func (d *decoder) ends(f *fastjson.Value, rec *Record) (err error) {
	ip := f.Get("IP")
	if rec.Source.Addr, err = d.address(ip.GetStringBytes("source")); err != nil {
		return fmt.Errorf("flow.IP.source: %w", err)
	}
	if rec.Destination.Addr, err = d.address(ip.GetStringBytes("destination")); err != nil {
		return fmt.Errorf("flow.IP.destination: %w", err)
	}
	d.endpoint(f.Get("source"), member(f, "source_service", "sourceService"), &rec.Source)
	rec.Source.answers()
	d.endpoint(f.Get("destination"), member(f, "destination_service", "destinationService"), &rec.Destination)
	rec.Source.Names = dnsNames(d.texts(member(f, "source_names", "sourceNames")))
	rec.Destination.Names = dnsNames(d.texts(member(f, "destination_names", "destinationNames")))
	return nil
}

func (d *decoder) endpoint(v, service *fastjson.Value, e *Endpoint) {
	if e.Service = d.text(service.Get("name")); e.Service != "" {
		e.ServiceNamespace = d.text(service.Get("namespace"))
	}
	e.Pod = d.text(member(v, "pod_name", "podName"))
	if e.Pod != "" {
		e.Namespace = d.text(v.Get("namespace"))
		if w := v.Get("workloads", "0"); w != nil {
			e.Kind, e.Workload = d.text(w.Get("kind")), d.text(w.Get("name"))
		}
	}
	if e.IsPassing() || d.labels {
		e.setLabels(d.labelList(v.Get("labels")))
	}
}

// IsPassing reports whether the end's workload is not known, or may be one that is made for one run: what others of the kind are alike
// in is only in the labels.
func (e *Endpoint) IsPassing() bool {
	switch e.Kind {
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "CronJob":
		return e.Workload == ""
	}
	return true
}

// setLabels also sets the entity.
func (e *Endpoint) setLabels(l labels) {
	e.Labels, e.Entity, e.Host = l.list, l.entity, l.host
	if l.pod && e.Pod == "" && precedence(l.entity) <= precedence(EntityPod) {
		e.Entity = EntityPod
	}
}

// answers takes an end that an observer names a Service for by the address that a packet is from: it is the Service's, and the labels
// are of who answered for it.
func (e *Endpoint) answers() {
	if e.Service != "" {
		e.Entity, e.Host = "", false
	}
}

func (d *decoder) text(v *fastjson.Value) string { return d.intern(v.GetStringBytes()) }

func (d *decoder) texts(v *fastjson.Value) []string {
	list := v.GetArray()
	if len(list) == 0 {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, item := range list {
		out = append(out, d.text(item))
	}
	return out
}

// member reads a field by its name in the protobuf definition, which is what hubble prints, or by
// its JSON name, which other printers of protobuf use.
func member(v *fastjson.Value, proto, json string) *fastjson.Value {
	if m := v.Get(proto); m != nil {
		return m
	}
	return v.Get(json)
}

func port(v *fastjson.Value) (uint16, error) {
	if v == nil {
		return 0, nil // protobuf leaves zero out
	}
	n, err := v.Uint()
	if err != nil || n > 65535 {
		return 0, fmt.Errorf("%s is not a port number", clip(v.String()))
	}
	return uint16(n), nil
}

// number reads a uint64, which protobuf's JSON writes as a string.
func number(v *fastjson.Value) (uint64, error) {
	if v == nil {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.Trim(v.String(), `"`), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a count", clip(v.String()))
	}
	return n, nil
}

// enum reads an enumeration by name or number; a missing one is 0.
func enum(v *fastjson.Value, values map[string]int32) (int32, error) {
	if v == nil {
		return 0, nil
	}
	if v.Type() == fastjson.TypeString {
		if n, ok := values[string(v.GetStringBytes())]; ok {
			return n, nil
		}
	} else if n, err := v.Int(); err == nil {
		return int32(n), nil
	}
	return 0, fmt.Errorf("%s is not a known word", clip(v.String()))
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return clip(s)
}

// clip keeps a message short and on one line when it quotes input.
func clip(s string) string {
	const limit = 120
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s), "?")
}
