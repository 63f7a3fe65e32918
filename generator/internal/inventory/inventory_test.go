// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

const testdata = "../proposal/testdata/"

func load(t *testing.T, name string) *inventory.Inventory {
	t.Helper()
	inv, err := inventory.FromDir(testdata + name + "/inventory")
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// TestAttribution: an address belongs to whoever had it at that time, and nobody is guessed.
func TestAttribution(t *testing.T) {
	then := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	api := flows.Endpoint{Addr: netip.MustParseAddr("10.1.1.1"), Namespace: "app", Pod: "api-x", Kind: "Deployment", Workload: "api"}
	tests := []struct {
		name string
		inv  string
		from flows.Endpoint
		at   time.Time
		node string
		want string
	}{
		{"pod of the inventory", "overlap", flows.Endpoint{Namespace: "app", Pod: "web-1"}, then, "", "Pod app/web-1"},
		{"the address that a pod has", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.1.0.1")}, then, "", "Pod app/web-1"},
		{"the address before the pod had it", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.1.0.1")}, then.AddDate(0, 0, -2), "", "pod-address 10.1.0.1"},
		{"the record's own node", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.9.0.1")}, then, "node-1", "host 10.9.0.1"},
		{"another node", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.9.0.1")}, then, "node-2", "remote-node 10.9.0.1"},
		{"a pod on a node's network", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.9.0.2"), Namespace: "kube-system", Pod: "kube-apiserver"}, then, "node-1", "remote-node 10.9.0.2"},
		{"the API server on another node", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.9.0.1"), Entity: "kube-apiserver"}, then, "node-2", "kube-apiserver 10.9.0.1"},
		{"the API server on the record's own node", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.9.0.1"), Entity: "kube-apiserver"}, then, "node-1", "kube-apiserver 10.9.0.1"},
		{"the API server outside of the cluster", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("192.0.2.1"), Entity: "kube-apiserver"}, then, "node-1", "kube-apiserver 192.0.2.1"},
		{"the record's own node, by a relay", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.9.0.1")}, then, "prod/node-1", "host 10.9.0.1"},
		{"a pod that the observer cannot name", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.200.0.1"), Entity: flows.EntityPod}, then, "", "pod-address 10.200.0.1"},
		{"a pod that the observer cannot name, and the inventory can", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.1.0.1"), Entity: flows.EntityPod}, then, "", "Pod app/web-1"},
		{"a node that sends what a pod asked for", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.9.0.1"), Entity: flows.EntityPod}, then, "node-2", "remote-node 10.9.0.1"},
		{"a proxy at an address of the pods' range", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.1.0.1"), Entity: "ingress"}, then, "", "ingress 10.1.0.1"},
		{"a pod of another cluster, where one here has the address", "overlap", flows.Endpoint{Addr: netip.MustParseAddr("10.1.0.1"), Entity: flows.EntityOtherCluster}, then, "", "other-cluster 10.1.0.1"},
		{"labels of a canary", "overlap", flows.Endpoint{Namespace: "app", Pod: "gone", Labels: []string{"k8s:app=api", "k8s:track=canary"}}, then, "", "Deployment app/api-canary"},
		{"labels that several selectors match", "overlap", flows.Endpoint{Namespace: "app", Pod: "gone", Labels: []string{"k8s:app=web"}}, then, "", "Pod app/gone"},
		{"labels that one selector matches", "overlap", flows.Endpoint{Namespace: "app", Pod: "gone", Labels: []string{"k8s:app=baseline"}}, then, "", "StatefulSet app/baseline"},
		{"labels of another namespace", "overlap", flows.Endpoint{Namespace: "other", Pod: "gone", Labels: []string{"k8s:app=baseline"}}, then, "", "Pod other/gone"},
		{"a ReplicaSet", "three-tier", flows.Endpoint{Namespace: "shop", Pod: "gone", Kind: "ReplicaSet", Workload: "frontend-5d8c7"}, then, "", "Deployment shop/frontend"},
		{"a ReplicaSet that is gone", "three-tier", flows.Endpoint{Namespace: "shop", Pod: "gone", Kind: "ReplicaSet", Workload: "frontend-6c965d68c9"}, then, "", "Deployment shop/frontend"},
		{"a ReplicaSet of a Deployment that is gone", "three-tier", flows.Endpoint{Namespace: "shop", Pod: "gone", Kind: "ReplicaSet", Workload: "ghost-6c965d68c9"}, then, "", "ReplicaSet shop/ghost-6c965d68c9"},
		{"a Job that is gone", "three-tier", flows.Endpoint{Namespace: "shop", Pod: "gone", Kind: "Job", Workload: "report-29111111"}, then, "", "CronJob shop/report"},
		{"a Job", "three-tier", flows.Endpoint{Namespace: "shop", Pod: "gone", Kind: "Job", Workload: "report-29000000"}, then, "", "CronJob shop/report"},
	}
	for _, tt := range tests {
		r := &flows.Record{Time: tt.at, Node: tt.node, Oriented: true, Side: flows.Ingress, Source: tt.from, Destination: api, Protocol: "TCP", DestinationPort: 1}
		if got := load(t, tt.inv).Key(r).From.String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestServiceAddress(t *testing.T) {
	inv := load(t, "three-tier")
	for _, tt := range []struct {
		addr     string
		protocol string
		port     uint16
		want     string
	}{
		{"10.96.0.30", "TCP", 80, "StatefulSet shop/database TCP/5432"},
		{"10.96.0.30", "TCP", 81, "service 10.96.0.30 TCP/81"}, // the Service has no such port
		{"10.96.0.30", "UDP", 80, "service 10.96.0.30 UDP/80"},
		{"10.96.0.10", "UDP", 53, "Deployment kube-system/coredns UDP/5353"},
		{"10.96.0.99", "UDP", 53, "10.96.0.99 UDP/53"},
	} {
		r := &flows.Record{
			Oriented: true, Side: flows.Egress, Protocol: "TCP", DestinationPort: tt.port,
			Source: flows.Endpoint{Addr: netip.MustParseAddr("192.0.2.1")}, Destination: flows.Endpoint{Addr: netip.MustParseAddr(tt.addr)},
		}
		if tt.protocol == "UDP" {
			r.Protocol = "UDP"
		}
		if got := inv.Key(r).String(); got != "192.0.2.1 → "+tt.want {
			t.Errorf("%s %s/%d: %s, want %s", tt.addr, tt.protocol, tt.port, got, tt.want)
		}
	}
}

func TestSelectors(t *testing.T) {
	inv := load(t, "three-tier")
	for _, w := range inv.Workloads() {
		if w.Selector == nil || len(w.Selector.MatchLabels)+len(w.Selector.MatchExpressions) == 0 {
			t.Errorf("%s has no selector, or one that selects everything", w.Endpoint())
		}
	}
	if w := load(t, "overlap").Workload(edge.Endpoint{Kind: "Pod", Namespace: "app", Name: "nameless"}); w == nil || w.Selector != nil {
		t.Errorf("a pod without labels got the selector %+v", w)
	}
}
