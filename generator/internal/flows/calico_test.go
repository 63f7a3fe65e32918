// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// felix is a line of Felix's flow log; the fields of which nothing is read are left out.
const felix = `{"start_time":1795168800,"end_time":1795169100,"source_ip":"10.0.0.1","source_name":"web-5d8c7-abcde","source_name_aggr":"web-5d8c7-*",` +
	`"source_namespace":"shop","source_port":40000,"source_type":"wep","source_labels":{"labels":["app=web"]},` +
	`"dest_ip":"10.0.0.2","dest_name":"api-0","dest_name_aggr":"api-*","dest_namespace":"shop","dest_port":3000,"dest_type":"wep","dest_labels":{"labels":["app=api"]},` +
	`"dest_service_namespace":"shop","dest_service_name":"api","dest_service_port":"http","proto":"tcp","action":"allow","reporter":"src",` +
	`"num_flows":3,"num_flows_started":2,"num_flows_completed":1,"host":"node-1"}`

func TestCalico(t *testing.T) {
	whole := Record{
		Time: time.Unix(1795169100, 0).UTC(), Since: time.Unix(1795168800, 0).UTC(), Node: "node-1", Verdict: Forwarded, Side: Egress, Oriented: true,
		Source:      Endpoint{Addr: netip.MustParseAddr("10.0.0.1"), Namespace: "shop", Pod: "web-5d8c7-abcde", Labels: []string{"app=web"}},
		Destination: Endpoint{Addr: netip.MustParseAddr("10.0.0.2"), Namespace: "shop", Pod: "api-0", Labels: []string{"app=api"}},
		Protocol:    "TCP", SourcePort: 40000, DestinationPort: 3000,
	}
	for _, tt := range []struct {
		name, old, new string
		want           func(*Record)
	}{
		{"as it is", "", "", func(*Record) {}},
		{"at the destination, denied", `"allow","reporter":"src"`, `"deny","reporter":"dst"`, func(r *Record) { r.Verdict, r.Side = Dropped, Ingress }},
		{"another protocol, by number", `"tcp"`, `"17"`, func(r *Record) { r.Protocol = "UDP" }},
		{"pods aggregated", `"10.0.0.1","source_name":"web-5d8c7-abcde"`, `null,"source_name":"-"`, func(r *Record) { r.Source.Addr, r.Source.Pod = netip.Addr{}, "web-5d8c7-*" }},
		{"source port aggregated", `40000`, `null`, func(r *Record) { r.SourcePort = 0 }},
		{"destination port aggregated", `3000`, `"-"`, func(r *Record) { r.DestinationPort = 0 }},
		{
			"a public address", `"api-0","dest_name_aggr":"api-*","dest_namespace":"shop","dest_port":3000,"dest_type":"wep"`,
			`"-","dest_name_aggr":"pub","dest_namespace":"-","dest_port":3000,"dest_type":"net","dest_domains":["example.org"]`, func(r *Record) {
				r.Destination = Endpoint{Addr: r.Destination.Addr, Entity: "world", Names: []string{"example.org"}}
			},
		},
		{
			"a public address, aggregated", `"10.0.0.2","dest_name":"api-0","dest_name_aggr":"api-*","dest_namespace":"shop","dest_port":3000,"dest_type":"wep"`,
			`null,"dest_name":"-","dest_name_aggr":"pub","dest_namespace":"-","dest_port":3000,"dest_type":"net"`, func(r *Record) {
				r.Destination = Endpoint{Addr: netip.IPv4Unspecified(), Entity: EntityAggregated}
			},
		},
		{"a node", `"dest_type":"wep"`, `"dest_type":"hep"`, func(r *Record) { r.Destination = Endpoint{Addr: r.Destination.Addr, Entity: "remote-node"} }},
	} {
		line := strings.Replace(felix, tt.old, tt.new, 1)
		want := whole
		tt.want(&want)
		var ids []uint64
		stats, err := Read(strings.NewReader(line), "f", 0, func(r *Record) error {
			ids = append(ids, r.ID)
			got := *r
			got.ID = 0
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, want)
			}
			return nil
		})
		if err != nil || stats.Flows != 1 || len(ids) != 2 || ids[0] == ids[1] {
			t.Errorf("%s: %v, %d records read, given on as %v; want one record for two connections", tt.name, err, stats.Flows, ids)
		}
	}
}

// TestCalicoAPI reads what Calico's own flow API gives.
func TestCalicoAPI(t *testing.T) {
	const line = `{"start_time":"2026-11-20T10:00:00Z","end_time":"2026-11-20T10:05:00Z","action":"Allow","source_name":"web-5d8c7-*","source_namespace":"shop",` +
		`"source_labels":"app=web | tier=front","dest_name":"PUBLIC NETWORK","dest_namespace":"-","dest_labels":"","protocol":"tcp","dest_port":443,"reporter":"Src"}`
	var rec Record
	if _, err := newDecoder().decode([]byte(line), &rec); err != nil {
		t.Fatal(err)
	}
	if rec.Source.Pod != "web-5d8c7-*" || !reflect.DeepEqual(rec.Source.Labels, []string{"app=web", "tier=front"}) ||
		rec.Destination.Entity != EntityAggregated || rec.Protocol != "TCP" || rec.DestinationPort != 443 || rec.Side != Egress {
		t.Errorf("%+v", rec)
	}
}

func TestCalicoRefused(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{`"reporter":"src"`, `"reporter":"both"`, "reporter"},
		{`"allow"`, `"log"`, "action"},
		{`1795168800`, `-1`, "start_time"},
		{`"end_time":1795169100`, `"end_time":1795168799`, "end_time"},
		{`10.0.0.1`, `10.0.0`, "source_ip"},
		{`"source_type":"wep"`, `"source_type":"pod"`, "source_type"},
		{`"web-5d8c7-abcde","source_name_aggr":"web-5d8c7-*"`, `"-","source_name_aggr":"-"`, "source_name"},
		{`3000`, `70000`, "dest_port"},
		{`"proto"`, `"roto"`, "proto"},
		{`"num_flows_started":2`, `"num_flows_started":-2`, "num_flows_started"},
	} {
		var rec Record
		_, err := newDecoder().decode([]byte(strings.Replace(felix, tt.old, tt.new, 1)), &rec)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want+":") {
			t.Errorf("%s: %v, want an error about %s", tt.new, err, tt.want)
		}
	}
}

// TestBothFormats: one file may have flows of both, and what says nothing about policies is counted by its
// kind, the pairs of ICMP among it.
func TestBothFormats(t *testing.T) {
	const icmp = `{"flow":{"time":"2026-11-20T10:00:00Z","verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"ICMPv4":{"type":8}},"Type":"L3_L4",` +
		`"source":{"namespace":"shop","pod_name":"web-1","workloads":[{"kind":"Deployment","name":"web"}]},"is_reply":false,"traffic_direction":"EGRESS"}}`
	input := strings.Join(append(sampleLines(t), felix, icmp, icmp,
		strings.Replace(felix, `"tcp"`, `"icmp"`, 1), strings.Replace(felix, `"src"`, `"fwd"`, 1),
		strings.Replace(icmp, "FORWARDED", "TRANSLATED", 1), strings.Replace(icmp, "L3_L4", "L7", 1),
	), "\n")
	stats, err := Read(strings.NewReader(input), "f", 0, func(*Record) error { return nil })
	want := Reasons{ICMP: 4, Application: 1, Socket: 1, Other: 2}
	if err != nil || stats.Flows != 35 || stats.IgnoredAs != want || stats.Ignored != 8 {
		t.Errorf("%+v, %v; want 35 flows, ignored %+v", stats, err, want)
	}
	var sum Stats
	sum.Add(stats)
	pairs := []PairCount{{Pair{"Deployment shop/web", "10.0.0.2"}, 2}, {Pair{"10.0.1.10", "10.0.1.20"}, 1}, {Pair{"Pod shop/web-5d8c7-abcde", "Pod shop/api-0"}, 1}}
	if got := sum.ICMP(); !reflect.DeepEqual(got, pairs) {
		t.Errorf("ICMP between %v, want %v", got, pairs)
	}
}
