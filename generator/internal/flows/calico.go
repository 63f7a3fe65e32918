// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/valyala/fastjson"
	corev1 "k8s.io/api/core/v1"
)

// EntityAggregated is an end of which the source of the flow left the address out, to write less. Its Addr
// is the unspecified address.
const EntityAggregated = "aggregated"

// maxWeight bounds the connections that one aggregated record is counted for.
const maxWeight = 256

// isCalico recognises a flow log of Calico: Felix's as it is written to files (source_ip, dest_ip, …), and
// the shorter form of Calico's own flow API. Hubble's flows have no reporter.
// https://docs.tigera.io/calico-enterprise/latest/observability/elastic/flow/datatypes
func isCalico(v *fastjson.Value) bool { return v.Exists("reporter") && v.Exists("action") }

// calico reads a flow log into rec and returns for how many connections it stands. Felix logs a
// connection, so the source is who opened it.
func (d *decoder) calico(line []byte, v *fastjson.Value, rec *Record) (weight uint64, err error) {
	*rec = Record{Oriented: true, Node: d.text(v.Get("host"))}
	switch reporter := string(v.GetStringBytes("reporter")); strings.ToLower(reporter) {
	case "src":
		rec.Side = Egress
	case "dst":
		rec.Side = Ingress
	case "fwd":
		return 0, ignoredOther // a gateway on the way; the ends report too
	default:
		return 0, fmt.Errorf("reporter: %q is neither src nor dst", clip(reporter))
	}
	verdict := Forwarded
	switch action := string(v.GetStringBytes("action")); strings.ToLower(action) {
	case "allow":
	case "deny":
		verdict = Dropped
	default:
		return 0, fmt.Errorf("action: %q is neither allow nor deny", clip(action))
	}
	if rec.Since, err = calicoTime(v.Get("start_time")); err != nil {
		return 0, fmt.Errorf("start_time: %w", err)
	}
	if rec.Time, err = calicoTime(v.Get("end_time")); err != nil {
		return 0, fmt.Errorf("end_time: %w", err)
	}
	if rec.Time.Before(rec.Since) {
		return 0, errors.New("end_time: before start_time")
	}
	if err := d.calicoEnd(v, "source", &rec.Source); err != nil {
		return 0, err
	}
	if err := d.calicoEnd(v, "dest", &rec.Destination); err != nil {
		return 0, err
	}
	if rec.Protocol, err = calicoProtocol(member(v, "proto", "protocol")); err != nil {
		return 0, err
	}
	if rec.SourcePort, err = calicoPort(v.Get("source_port")); err != nil {
		return 0, fmt.Errorf("source_port: %w", err)
	}
	if rec.DestinationPort, err = calicoPort(v.Get("dest_port")); err != nil {
		return 0, fmt.Errorf("dest_port: %w", err)
	}
	rec.Destination.Names = dnsNames(d.texts(v.Get("dest_domains")))
	if err := rec.check(); err != nil {
		return 0, err
	}
	rec.Verdict, rec.ID = verdict, xxhash.Sum64(line)
	started, err := number(v.Get("num_flows_started"))
	if err != nil {
		return 0, fmt.Errorf("num_flows_started: %w", err)
	}
	return min(max(started, 1), maxWeight), nil
}

// calicoEnd reads the fields of one end, which begin with "source_" or "dest_". A name that ends in "*"
// stands for several pods.
func (d *decoder) calicoEnd(v *fastjson.Value, side string, e *Endpoint) (err error) {
	if ip := v.Get(side + "_ip"); ip != nil && ip.Type() != fastjson.TypeNull {
		if e.Addr, err = d.address(ip.GetStringBytes()); err != nil {
			return fmt.Errorf("%s_ip: %w", side, err)
		}
	}
	namespace := d.given(v.Get(side + "_namespace"))
	kind := string(v.GetStringBytes(side + "_type"))
	if kind == "" && namespace != "" {
		kind = "wep"
	}
	name := d.given(v.Get(side + "_name"))
	if name == "" {
		name = d.given(v.Get(side + "_name_aggr"))
	}
	switch kind {
	case "wep":
		if name == "" || namespace == "" {
			return fmt.Errorf("%s_name: missing", side)
		}
		e.Namespace, e.Pod = namespace, name
		e.Labels = d.calicoLabels(v.Get(side + "_labels"))
		return nil
	case "hep":
		e.Entity = "remote-node"
	case "ns", "net", "":
		if name == "pub" {
			e.Entity = "world"
		}
	default:
		return fmt.Errorf("%s_type: %q is none of wep, hep, ns and net", side, clip(kind))
	}
	if !e.Addr.IsValid() {
		e.Addr, e.Entity = netip.IPv4Unspecified(), EntityAggregated
	}
	return nil
}

// given is a text, or empty for "-", which stands for none.
func (d *decoder) given(v *fastjson.Value) string {
	if s := d.text(v); s != "-" {
		return s
	}
	return ""
}

// calicoLabels reads {"labels": ["key=value"]}, or "key=value | key=value".
func (d *decoder) calicoLabels(v *fastjson.Value) []string {
	if v == nil {
		return nil
	}
	if v.Type() == fastjson.TypeString {
		return strings.Split(d.text(v), " | ")
	}
	return d.labelList(v.Get("labels")).list
}

// calicoTime reads seconds since 1970, or RFC 3339.
func calicoTime(v *fastjson.Value) (time.Time, error) {
	if v == nil {
		return time.Time{}, errors.New("missing")
	}
	if s := v.GetStringBytes(); s != nil {
		return parseTime(s)
	}
	n, err := v.Int64()
	if err != nil || n < 0 || n > math.MaxUint32 {
		return time.Time{}, errors.New("not a time in seconds since 1970")
	}
	return time.Unix(n, 0).UTC(), nil
}

// calicoProtocol reads a name or a number of a protocol.
func calicoProtocol(v *fastjson.Value) (corev1.Protocol, error) {
	if v == nil {
		return "", errors.New("proto: missing")
	}
	switch name := strings.ToLower(strings.Trim(v.String(), `"`)); name {
	case "tcp", "6":
		return corev1.ProtocolTCP, nil
	case "udp", "17":
		return corev1.ProtocolUDP, nil
	case "sctp", "132":
		return corev1.ProtocolSCTP, nil
	case "icmp", "icmp6", "icmpv6", "1", "58":
		return "", ignoredICMP
	}
	return "", ignoredOther
}

// calicoPort is 0 where the port was left out.
func calicoPort(v *fastjson.Value) (uint16, error) {
	if v == nil || v.Type() == fastjson.TypeNull || string(v.GetStringBytes()) == "-" {
		return 0, nil
	}
	return port(v)
}

// part is the id of one of the connections that a record stands for.
func part(id, i uint64) uint64 {
	if i == 0 {
		return id
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], id)
	binary.BigEndian.PutUint64(b[8:], i)
	return xxhash.Sum64(b[:])
}
