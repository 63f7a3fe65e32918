// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

const probedWeb = `apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {addresses: [{type: InternalIP, address: 10.9.0.1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}}
        livenessProbe: {tcpSocket: {port: 8081}}
        startupProbe: {exec: {command: ["true"]}}
      - name: admission
        livenessProbe: {grpc: {port: 8082}}
`

// TestKubelet: where the API server is on a pod's own node, what comes to a probed port is the kubelet's, which needs no rule; anything
// else is the API server's.
func TestKubelet(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(probedWeb), 0o600); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.FromDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	node, inner := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.1.0.1")
	web := flows.Endpoint{Addr: netip.MustParseAddr("10.1.0.7"), Namespace: "shop", Pod: "web-x", Kind: "Deployment", Workload: "web"}
	tests := []struct {
		name string
		from flows.Endpoint
		node string
		port uint16
		want string
	}{
		{"a probe, by the port's name", flows.Endpoint{Addr: node, Entity: "kube-apiserver"}, "node-1", 8080, "host"},
		{"a probe, by the port's number", flows.Endpoint{Addr: node, Entity: "kube-apiserver"}, "node-1", 8081, "host"},
		{"a probe of the second container", flows.Endpoint{Addr: node, Entity: "kube-apiserver"}, "node-1", 8082, "host"},
		{"from the node's address of the pods' range", flows.Endpoint{Addr: inner, Entity: "kube-apiserver", Host: true}, "node-1", 8080, "host"},
		{"a port that nobody probes", flows.Endpoint{Addr: node, Entity: "kube-apiserver", Host: true}, "node-1", 9443, "kube-apiserver"},
		{"a port that is not named", flows.Endpoint{Addr: node, Entity: "kube-apiserver"}, "node-1", 0, "kube-apiserver"},
		{"to another node", flows.Endpoint{Addr: node, Entity: "kube-apiserver"}, "node-2", 8080, "kube-apiserver"},
		{"from an address that no node has", flows.Endpoint{Addr: inner, Entity: "kube-apiserver"}, "node-1", 8080, "kube-apiserver"},
	}
	for _, tt := range tests {
		r := &flows.Record{Time: time.Unix(1e9, 0), Node: tt.node, Oriented: true, Side: flows.Ingress, Source: tt.from, Destination: web, Protocol: "TCP", DestinationPort: tt.port}
		if got := inv.Key(r).From.Entity; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
