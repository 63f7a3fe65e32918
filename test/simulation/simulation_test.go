// SPDX-License-Identifier: Apache-2.0

package simulation_test

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/test/simulation"
)

// everything is as much at once as there is.
var everything = simulation.Options{
	Seed: 9, Duration: 2 * time.Hour, Rollouts: 3, KubeProxy: true, DNSPort: 5353, AllPoints: true, Duplicates: 0.1, Disorder: 20e9, Skew: 1e9,
	Noise: simulation.Noise{Denied: 20, Scans: 1, ICMP: 20, Strays: 5, Strangers: 5, Hairpins: 5}, Loss: simulation.Loss{Rate: 0.1, BusyNode: true},
}

// TestSameSeed: a trace can be had again, byte by byte, and a simulation leaves no trace in its application.
func TestSameSeed(t *testing.T) {
	for _, name := range simulation.Names() {
		app, err := simulation.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		var first, second, other []byte
		o := everything
		for _, into := range []*[]byte{&first, &second} {
			*into = output(t, app, o)
		}
		o.Seed++
		other = output(t, app, o)
		if !bytes.Equal(first, second) {
			t.Errorf("%s: the same seed gave other bytes", name)
		}
		if bytes.Equal(first, other) {
			t.Errorf("%s: another seed gave the same bytes", name)
		}
	}
}

// output is everything that a simulation writes.
func output(t *testing.T, app *simulation.Application, o simulation.Options) []byte {
	t.Helper()
	trace, err := simulation.Run(app, o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := trace.WriteFlows(&out, simulation.Form{}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := trace.WriteInventory(dir); err != nil {
		t.Fatal(err)
	}
	if err := trace.WriteTruth(filepath.Join(dir, "truth.json")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(data)
	}
	return out.Bytes()
}

// responses reads a trace back as the protobuf messages that it claims to be.
func responses(t *testing.T, trace *simulation.Trace) (all []*observer.GetFlowsResponse) {
	t.Helper()
	var out bytes.Buffer
	if err := trace.WriteFlows(&out, simulation.Form{}); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		r := &observer.GetFlowsResponse{}
		if err := protojson.Unmarshal(lines.Bytes(), r); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		all = append(all, r)
	}
	if len(all) != trace.Flows() {
		t.Fatalf("%d lines, want %d", len(all), trace.Flows())
	}
	return all
}

// TestKinds: what a trace has, and what it has not unless it was asked for.
func TestKinds(t *testing.T) {
	kinds := []struct {
		name string
		is   func(*observer.GetFlowsResponse) bool
		in   string // the options that it takes
		with simulation.Options
	}{
		{"socket translations", func(r *observer.GetFlowsResponse) bool { return r.GetFlow().GetType() == flow.FlowType_SOCK }, "none", simulation.Options{}},
		{"flows to Services", toService, "KubeProxy", simulation.Options{KubeProxy: true}},
		{"drops", func(r *observer.GetFlowsResponse) bool { return r.GetFlow().GetVerdict() == flow.Verdict_DROPPED }, "Denied", simulation.Options{Noise: simulation.Noise{Denied: 1}}},
		{"resets", func(r *observer.GetFlowsResponse) bool { return r.GetFlow().GetL4().GetTCP().GetFlags().GetRST() }, "Scans", simulation.Options{Noise: simulation.Noise{Scans: 1}}},
		{"pings", func(r *observer.GetFlowsResponse) bool { return r.GetFlow().GetL4().GetICMPv4() != nil }, "ICMP", simulation.Options{Noise: simulation.Noise{ICMP: 1}}},
		{"reports of loss", func(r *observer.GetFlowsResponse) bool { return r.GetLostEvents().GetNumEventsLost() > 0 }, "BusyNode", simulation.Options{Loss: simulation.Loss{BusyNode: true}}},
		{"answers of Services", fromService, "PacketLB", simulation.Options{PacketLB: true}},
		{"late answers", forgotten, "Mistracked", simulation.Options{Mistracked: 0.1}},
		{"flows that leave pods", fromEndpoint, "AllPoints", simulation.Options{AllPoints: true}},
		{"handshakes", handshake, "none", simulation.Options{}},
	}
	plain := responses(t, simulate(t, "three-tier", simulation.Options{}))
	for _, k := range kinds {
		if got := slices.ContainsFunc(plain, k.is); got != (k.in == "none") {
			t.Errorf("%s without options: %v", k.name, got)
		}
		if k.in != "none" && !slices.ContainsFunc(responses(t, simulate(t, "three-tier", k.with)), k.is) {
			t.Errorf("no %s with %s", k.name, k.in)
		}
	}
	if slices.ContainsFunc(responses(t, simulate(t, "three-tier", simulation.Options{Loss: simulation.Loss{Handshakes: true}})), handshake) {
		t.Error("handshakes, where they are lost")
	}
}

func toService(r *observer.GetFlowsResponse) bool {
	f := r.GetFlow()
	return f.GetType() == flow.FlowType_L3_L4 && strings.HasPrefix(f.GetIP().GetDestination(), "10.96.")
}

// fromService is an answer that comes from a Service's address, of which the datapath knows whose pod gave it.
func fromService(r *observer.GetFlowsResponse) bool {
	f := r.GetFlow()
	return f.GetSourceService() != nil && f.GetIsReply().GetValue() && len(f.GetSource().GetLabels()) > 1 && f.GetSource().GetPodName() == ""
}

// fromRange is a node's packet from an address of its own range for pods.
func fromRange(r *observer.GetFlowsResponse) bool {
	f := r.GetFlow()
	return slices.Contains(f.GetSource().GetLabels(), "reserved:remote-node") && strings.HasPrefix(f.GetIP().GetSource(), "10.10")
}

// forgotten is an answer that connection tracking takes for the first packet of a connection.
func forgotten(r *observer.GetFlowsResponse) bool {
	f := r.GetFlow()
	return f.GetTraceReason() == flow.TraceReason_NEW && f.GetL4().GetTCP().GetFlags().GetRST()
}

// TestTunnel: nodes talk to pods of others from addresses of their ranges for pods.
func TestTunnel(t *testing.T) {
	for tunnel, o := range map[bool]simulation.Options{false: {}, true: {Tunnel: true}} {
		if got := slices.ContainsFunc(responses(t, simulate(t, "mesh", o)), fromRange); got != tunnel {
			t.Errorf("tunnel %v: addresses of ranges: %v", tunnel, got)
		}
	}
}

// TestServiceNames: an observer finds Services by the addresses that are in the packet.
func TestServiceNames(t *testing.T) {
	for name, o := range map[string]simulation.Options{"at the socket": {}, "in the stack": {KubeProxy: true}, "at the pod": {PacketLB: true, AllPoints: true}} {
		for _, r := range responses(t, simulate(t, "three-tier", o)) {
			f := r.GetFlow()
			from, to := strings.HasPrefix(f.GetIP().GetSource(), "10.96."), strings.HasPrefix(f.GetIP().GetDestination(), "10.96.")
			if from != (f.GetSourceService() != nil) || to != (f.GetDestinationService() != nil) {
				t.Fatalf("translated %s: %v", name, f)
			}
		}
	}
}

func fromEndpoint(r *observer.GetFlowsResponse) bool {
	f := r.GetFlow()
	return f.GetTraceObservationPoint() == flow.TraceObservationPoint_FROM_ENDPOINT && f.GetIsReply() == nil && f.GetTrafficDirection() == 0
}

func handshake(r *observer.GetFlowsResponse) bool {
	return r.GetFlow().GetL4().GetTCP().GetFlags().GetSYN()
}

// TestLoss: the loss is the one that was asked for.
func TestLoss(t *testing.T) {
	all := simulate(t, "boutique", simulation.Options{}).Flows()
	for _, rate := range []float64{0.3, 0.9} {
		left := simulate(t, "boutique", simulation.Options{Loss: simulation.Loss{Rate: rate}}).Flows()
		if got := 1 - float64(left)/float64(all); got < rate-0.01 || got > rate+0.01 {
			t.Errorf("lost %.3f of the flows, want %.3f", got, rate)
		}
	}
	var seen, lost float64
	for _, r := range responses(t, simulate(t, "boutique", simulation.Options{Loss: simulation.Loss{BusyNode: true}})) {
		if l := r.GetLostEvents(); l != nil {
			lost += float64(l.GetNumEventsLost())
		} else if r.GetNodeName() == "node-1" {
			seen++
		}
	}
	if got := lost / (seen + lost); got < 0.80 || got > 0.86 {
		t.Errorf("the busy node reports %.3f of its flows as lost, want 0.84", got)
	}
}

// TestMeasureCanFail: policies that are too wide or too narrow are found to be.
func TestMeasureCanFail(t *testing.T) {
	trace := simulate(t, "three-tier", simulation.Options{})
	deny := func(spec networkingv1.NetworkPolicySpec) *networkingv1.NetworkPolicy {
		return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "deny"}, Spec: spec}
	}
	all := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	anyIngress := networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{}}, PolicyTypes: all[:1]}
	tests := []struct {
		name     string
		policies []*networkingv1.NetworkPolicy
		missing  int
		excess   string // one of them
		noDNS    int
	}{
		{"no policies", nil, 0, "", 0},
		{"nothing allowed", []*networkingv1.NetworkPolicy{deny(networkingv1.NetworkPolicySpec{PolicyTypes: all})}, 4, "", 3},
		{"all ingress allowed", []*networkingv1.NetworkPolicy{deny(anyIngress)}, 0, "192.0.2.52 → Deployment shop/web all", 0},
		{"a pod to its like", []*networkingv1.NetworkPolicy{deny(anyIngress)}, 0, "Deployment shop/api → Deployment shop/api all", 0},
	}
	for _, tt := range tests {
		got, err := trace.Measure(tt.policies)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Missing) != tt.missing || len(got.NoDNS) != tt.noDNS || tt.excess != "" && !slices.Contains(got.Excess, tt.excess) {
			t.Errorf("%s: %s\nmissing %q\nexcess %q\nwithout DNS %q", tt.name, got, got.Missing, got.Excess, got.NoDNS)
		}
		if (len(tt.policies) == 0) != slices.Equal(got.NoPolicy, []string{"shop"}) {
			t.Errorf("%s: namespaces without a policy: %q", tt.name, got.NoPolicy)
		}
		if (tt.excess == "") != (got.Precision() == 1) || (tt.missing == 0) != (got.Recall() == 1) {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}
