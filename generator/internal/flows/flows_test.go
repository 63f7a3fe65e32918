// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const sample = "../proposal/testdata/three-tier/flows.jsonl"

func sampleLines(t testing.TB) []string {
	t.Helper()
	data, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// TestSameAsProtojson holds the fast decoder to the reading of the protobuf library.
func TestSameAsProtojson(t *testing.T) {
	compared := 0
	for i, line := range sampleLines(t) {
		var response observer.GetFlowsResponse
		if protojson.Unmarshal([]byte(line), &response) != nil || response.GetFlow() == nil {
			continue // a bare flow, or no flow
		}
		// The JSON names of protobuf must be understood as well as the names that hubble prints.
		camel, err := protojson.Marshal(&response)
		if err != nil {
			t.Fatal(err)
		}
		want, wantErr := fromProto(response.GetFlow(), response.GetNodeName())
		for _, text := range []string{line, string(camel)} {
			var got Record
			_, gotErr := newDecoder().decode([]byte(text), &got)
			if !sameError(gotErr, wantErr) {
				t.Fatalf("line %d: error %v, protojson says %v", i+1, gotErr, wantErr)
			}
			if wantErr == nil && !reflect.DeepEqual(&got, want) {
				t.Errorf("line %d:\n got %+v\nwant %+v", i+1, got, *want)
			}
		}
		wire, err := proto.Marshal(&response)
		if err != nil {
			t.Fatal(err)
		}
		sameAsLibrary(t, wire)
		compared++
	}
	if compared < 30 {
		t.Errorf("only %d lines compared", compared)
	}
}

// TestServices: a Service is named on either side, and turned round with a reply.
func TestServices(t *testing.T) {
	const line = `{"flow":{"time":"2026-11-20T10:00:00Z","verdict":"FORWARDED","IP":{"source":"10.96.0.1","destination":"10.0.0.2"},"l4":{"UDP":{"source_port":53,"destination_port":40000}},` +
		`"Type":"L3_L4","source_service":{"name":"dns","namespace":"kube-system"},"is_reply":%s,"traffic_direction":"EGRESS"}}`
	for reply, want := range map[string]Record{
		"true":  {Destination: Endpoint{ServiceNamespace: "kube-system", Service: "dns"}},
		"false": {Source: Endpoint{ServiceNamespace: "kube-system", Service: "dns"}},
	} {
		text := fmt.Appendf(nil, line, reply)
		var rec Record
		if _, err := newDecoder().decode(text, &rec); err != nil || rec.Source.Service != want.Source.Service || rec.Destination.Service != want.Destination.Service ||
			rec.Destination.ServiceNamespace != want.Destination.ServiceNamespace {
			t.Errorf("reply %s: %+v, %v", reply, rec, err)
		}
		var response observer.GetFlowsResponse
		if err := protojson.Unmarshal(text, &response); err != nil {
			t.Fatal(err)
		}
		wire, err := proto.Marshal(&response)
		if err != nil {
			t.Fatal(err)
		}
		sameAsLibrary(t, wire)
	}
}

// sameAsLibrary compares the reading of a message with that of the protobuf library, if that takes it.
func sameAsLibrary(t *testing.T, message []byte) {
	t.Helper()
	var (
		response observer.GetFlowsResponse
		got      Record
	)
	lost, gotErr := newDecoder().response(message, &got)
	if proto.Unmarshal(message, &response) != nil {
		return // the library also looks at what is not read here
	}
	if l := response.GetLostEvents(); l != nil {
		queue := l.GetSource().String()
		if l.GetSource() == 0 {
			queue = ""
		}
		if !isNode(response.GetNodeName()) {
			if gotErr == nil {
				t.Errorf("the node %q is accepted", response.GetNodeName())
			}
			return
		}
		if gotErr != nil || lost.flows != l.GetNumEventsLost() || lost.queue != queue || lost.node != response.GetNodeName() {
			t.Errorf("loss %+v, %v; want %v", lost, gotErr, &response)
		}
		return
	}
	want, wantErr := fromProto(response.GetFlow(), response.GetNodeName())
	if !sameError(gotErr, wantErr) {
		t.Errorf("error %v, the library's reading has %v", gotErr, wantErr)
	}
	if wantErr == nil && !reflect.DeepEqual(&got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, *want)
	}
}

// sameError wants the same reason where a record is ignored.
func sameError(got, want error) bool {
	var g, w ignored
	return errors.As(got, &g) == errors.As(want, &w) && g == w && (got == nil) == (want == nil)
}

func TestDirection(t *testing.T) {
	const line = `{"flow":{"time":"2026-11-20T10:00:00Z","verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{%s},%s"Type":"L3_L4"}}`
	tcp := func(flags string) string {
		return `"TCP":{"source_port":1000,"destination_port":2000,"flags":{` + flags + `}}`
	}
	udp := `"UDP":{"source_port":1000,"destination_port":2000}`
	tests := []struct {
		name, l4, rest string
		oriented       bool
		port           uint16 // of the side that was connected to
	}{
		{"said to be no reply", udp, `"is_reply":false,"traffic_direction":"EGRESS",`, true, 2000},
		{"said to be a reply", udp, `"is_reply":true,"traffic_direction":"EGRESS",`, true, 1000},
		{"first packet of a handshake", tcp(`"SYN":true`), `"traffic_direction":"INGRESS",`, true, 2000},
		{"second packet of a handshake", tcp(`"SYN":true,"ACK":true`), `"traffic_direction":"INGRESS",`, true, 1000},
		{"middle of a connection", tcp(`"ACK":true`), `"traffic_direction":"INGRESS",`, false, 2000},
		{"UDP that nobody tracked", udp, `"traffic_direction":"EGRESS",`, false, 2000},
		{"UDP that leaves the one that opened it", udp, `"trace_observation_point":"TO_STACK","traffic_direction":"EGRESS",`, true, 2000},
		{"UDP that comes back to it", udp, `"trace_observation_point":"TO_ENDPOINT","traffic_direction":"EGRESS",`, true, 1000},
		{"UDP that reaches the other end", udp, `"trace_observation_point":"TO_ENDPOINT","traffic_direction":"INGRESS",`, true, 2000},
		{"UDP that leaves the other end", udp, `"trace_observation_point":"TO_OVERLAY","traffic_direction":"INGRESS",`, true, 1000},
		{"UDP on its way", udp, `"trace_observation_point":"FROM_NETWORK","traffic_direction":"INGRESS",`, false, 2000},
		{"a point that is not known yet", udp, `"trace_observation_point":"ON_THE_MOON","traffic_direction":"INGRESS",`, false, 2000},
		{"UDP without a direction", udp, `"trace_observation_point":"TO_STACK",`, false, 2000},
		{"UDP that leaves somebody, as old observers have it", udp, `"trace_observation_point":"FROM_ENDPOINT","traffic_direction":"EGRESS",`, false, 2000},
		{"the answer of a handshake that tracking takes for its beginning", tcp(`"SYN":true,"ACK":true`), `"is_reply":false,"traffic_direction":"EGRESS",`, true, 1000},
		{"the beginning of a handshake on a port that was just used the other way", tcp(`"SYN":true`), `"is_reply":true,"traffic_direction":"INGRESS",`, true, 2000},
		{"new to connection tracking, and not the beginning", tcp(`"ACK":true`), `"is_reply":false,"traffic_direction":"EGRESS","trace_reason":"NEW",`, false, 2000},
		{"new to a policy, and not the beginning", tcp(`"ACK":true,"FIN":true`), `"is_reply":false,"traffic_direction":"EGRESS","event_type":{"type":5},`, false, 2000},
		{"new to a policy, from an observer that has no flags", tcp(``), `"is_reply":false,"traffic_direction":"EGRESS","event_type":{"type":5},`, true, 2000},
		{"known to connection tracking", tcp(`"ACK":true`), `"is_reply":false,"traffic_direction":"EGRESS","trace_reason":"ESTABLISHED","event_type":{"type":4},`, true, 2000},
		{"null is not false", udp, `"is_reply":null,"traffic_direction":"EGRESS",`, false, 2000},
		{"side not known", tcp(`"SYN":true`), ``, false, 2000},
		{"a well-known source port proves nothing", `"UDP":{"source_port":53,"destination_port":40000}`, `"traffic_direction":"EGRESS",`, false, 40000},
	}
	for _, tt := range tests {
		var rec Record
		if _, err := newDecoder().decode(fmt.Appendf(nil, line, tt.l4, tt.rest), &rec); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if rec.Oriented != tt.oriented || rec.DestinationPort != tt.port {
			t.Errorf("%s: oriented %v, port %d; want %v, %d", tt.name, rec.Oriented, rec.DestinationPort, tt.oriented, tt.port)
		}
	}
}

func TestMalformed(t *testing.T) {
	const good = `{"flow":{"time":"2026-11-20T10:00:00Z","verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"UDP":{"destination_port":53}},"Type":"L3_L4"}}`
	for bad, want := range map[string]string{
		`{`:             "not JSON",
		`[]`:            "not an object",
		`{"hello":1}`:   "neither a flow",
		`{"flow":"no"}`: "not an object",
		strings.Replace(good, "10.0.0.1", "10.0.0.x", 1):          `flow.IP.source: "10.0.0.x" is not an IP address`,
		strings.Replace(good, "10.0.0.2", "", 1):                  "flow.IP.destination: missing",
		strings.Replace(good, "FORWARDED", "PERHAPS", 1):          "flow.verdict",
		strings.Replace(good, "53", "70000", 1):                   "flow.l4.UDP.destination_port: 70000",
		strings.Replace(good, "2026", "x", 1):                     "flow.time",
		strings.Replace(good, "2026", "1970", 1):                  "flow.time: the year 1970",
		strings.Replace(good, `"Type"`, `"is_reply":1,"Type"`, 1): "flow.is_reply",
		strings.Repeat("x", maxLine+1):                            "longer than",
	} {
		input := good + "\n" + bad + "\n\n" + good // the last without an end
		stats, err := Read(strings.NewReader(input), "f.json", 1, func(*Record) error { return nil })
		if err != nil {
			t.Errorf("%.40s: one malformed line is allowed, but: %v", bad, err)
		}
		if stats.Flows != 2 || stats.Malformed != 1 || len(stats.Problems) != 1 ||
			!strings.HasPrefix(stats.Problems[0], "f.json:2: ") || !strings.Contains(stats.Problems[0], want) {
			t.Errorf("%.40s: %+v, want f.json:2: …%s", bad, stats, want)
		}
		_, err = Read(strings.NewReader(input), "f.json", 0, func(*Record) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "f.json:2") {
			t.Errorf("%.40s: beyond the limit the error is %v", bad, err)
		}
	}
}

func TestGzipLossAndStop(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(strings.Join(sampleLines(t), "\n"))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "flows.gz")
	if err := os.WriteFile(file, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	stats, err := ReadFile(file, 0, func(*Record) error { return nil })
	if err != nil || stats.Flows != 34 || stats.Lost != 5 || stats.Ignored != 2 {
		t.Errorf("%+v, %v; want 34 flows, 5 lost, 2 ignored", stats, err)
	}
	stop := errors.New("enough")
	if _, err := ReadFile(file, 0, func(*Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the consumer's error became %v", err)
	}
	if _, err := ReadFile(file+"x", 0, nil); err == nil {
		t.Error("a file that is not there was read")
	}
	cut := filepath.Join(t.TempDir(), "cut.gz")
	if err := os.WriteFile(cut, packed.Bytes()[:packed.Len()/2], 0o600); err != nil {
		t.Fatal(err)
	}
	stats, err = ReadFile(cut, 0, func(*Record) error { return nil })
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s, line %d, after %d flows: the gzip data is cut off", cut, stats.Flows+1, stats.Flows)) {
		t.Errorf("half a gzip file: %v (%d flows)", err, stats.Flows)
	}
}

// TestCraftedNames: a name that Kubernetes would not take makes the line malformed, a name of DNS that is none
// is left out, and what is taken has nothing in it that YAML, Markdown, HTML, paths or terminals act on.
func TestCraftedNames(t *testing.T) {
	const line = `{"flow":{"time":"2026-11-20T10:00:00Z","verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"UDP":{"destination_port":53}},"Type":"L3_L4",` +
		`"source":{"namespace":%q,"pod_name":%q,"workloads":[{"kind":%q,"name":%q}]},"destination":{"labels":[%q]},"destination_names":[%q,"example.org"]},"node_name":%q}`
	good := []any{"shop", "web-1.a", "Deployment", "web.a", "reserved:world", "_srv.example.org", "cluster-1/node_1.Example"}
	crafted := []string{
		"a: b", "a\nb", "../a", "a/b", "<b>", "[a](b)", "`a`", "a|b", "$(a)", "-a", "a-", "\u001b[2J", "\u202e", "ä", "a\u0000", strings.Repeat("a", 500),
	}
	decode := func(rec *Record, values []any) error {
		_, err := newDecoder().decode([]byte(strings.ReplaceAll(fmt.Sprintf(line, values...), `\\`, `\`)), rec)
		return err
	}
	for field, valid := range good {
		for _, bad := range append(crafted, valid.(string)) {
			values := slices.Clone(good)
			values[field] = bad
			var rec Record
			err := decode(&rec, values)
			switch {
			case bad == valid || field == 4:
				if err != nil || bad == valid && rec.Destination.Entity != "world" || bad != valid && rec.Destination.Entity != "" {
					t.Errorf("%.40q is taken as entity %q: %v", bad, rec.Destination.Entity, err)
				}
			case field == 5:
				if names := rec.Destination.Names; err != nil || len(names) != 1 && !isDNS(names[0]) {
					t.Errorf("%.40q is taken as names %q: %v", bad, names, err)
				}
			case err == nil && (field != 6 || !isNode(bad)):
				t.Errorf("%.40q is taken for %v", bad, valid)
			}
		}
	}
	for _, bad := range crafted { // nobody's kind is a name like any other
		values := slices.Clone(good)
		values[2], values[3] = bad, ""
		if rec := new(Record); decode(rec, values) == nil {
			t.Errorf("%.40q is taken as the kind of no workload: %+v", bad, rec.Source)
		}
	}
}

// TestLossByPlace: a loss says where it was, in lines as well as in responses of the Observer API.
func TestLossByPlace(t *testing.T) {
	report := func(node string, queue flow.LostEventSource, n uint64) *observer.GetFlowsResponse {
		return &observer.GetFlowsResponse{NodeName: node, ResponseTypes: &observer.GetFlowsResponse_LostEvents{
			LostEvents: &flow.LostEvent{Source: queue, NumEventsLost: n},
		}}
	}
	want := []SourceLoss{{Source{"node-1", "PERF_EVENT_RING_BUFFER"}, 50}, {Source{"node-2", "HUBBLE_RING_BUFFER"}, 7}, {Source{}, 3}}
	var byWire, sum Stats
	var lines []string
	for _, r := range []*observer.GetFlowsResponse{
		report("node-2", flow.LostEventSource_HUBBLE_RING_BUFFER, 7), report("node-1", flow.LostEventSource_PERF_EVENT_RING_BUFFER, 20),
		report("", 0, 3), report("node-1", flow.LostEventSource_PERF_EVENT_RING_BUFFER, 30),
	} {
		text, textErr := protojson.MarshalOptions{UseProtoNames: true}.Marshal(r)
		wire, wireErr := proto.Marshal(r)
		if err := errors.Join(textErr, wireErr, byWire.receive(newDecoder(), wire, new(Record), nil)); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(text))
	}
	byLine, err := Read(strings.NewReader(strings.Join(lines, "\n")), "f", 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	sum.Add(byLine)
	byWire.Flows = 140
	for name, s := range map[string]*Stats{"line": &byLine, "wire": &byWire, "sum": &sum} {
		if !reflect.DeepEqual(s.LostAt(), want) || s.Lost != 60 {
			t.Errorf("%s: %+v, %d in all; want %+v", name, s.LostAt(), s.Lost, want)
		}
	}
	if byWire.LostPart() != 0.3 || (&Stats{Flows: 9}).LostPart() != 0 {
		t.Errorf("the part that was lost is %v, want 0.3", byWire.LostPart())
	}
}

// TestSide: the answer of a handshake is seen at the other side than the one that connection tracking says, if that takes it for
// the beginning.
func TestSide(t *testing.T) {
	const line = `{"time":"2026-11-20T10:00:00Z","verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{"flags":{"SYN":true,"ACK":true}}},"is_reply":%t,"traffic_direction":"EGRESS"}`
	for reply, want := range map[bool]Side{true: Egress, false: Ingress} {
		var rec Record
		if _, err := newDecoder().decode(fmt.Appendf(nil, line, reply), &rec); err != nil || rec.Side != want {
			t.Errorf("is_reply %v: at the %s side, want %s (%v)", reply, rec.Side, want, err)
		}
	}
}

// TestWorstNode: a node that loses most of what it sees is told from those that lose little, in a file and in the sum of
// several.
func TestWorstNode(t *testing.T) {
	var all Stats
	for _, n := range []struct {
		node        string
		flows, lost uint64
	}{{"a", 100_000, 150}, {"busy", 190, 1000}, {"small", 1, 99}, {"", 0, 5000}, {"busy", 10, 50}} {
		var one Stats
		for range n.flows {
			if err := one.take(&Record{Node: n.node}, nil, 1, nil, func(*Record) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		one.lose(&loss{node: n.node, flows: n.lost})
		all.Add(one)
	}
	if got, want := all.WorstNode(), (NodeLoss{"busy", 200, 1050}); got != want || got.Share() != 0.84 {
		t.Errorf("the worst node is %+v, want %+v", got, want)
	}
	if got := new(Stats).WorstNode(); got != (NodeLoss{}) || got.Share() != 0 {
		t.Errorf("of nothing it is %+v", got)
	}
}
