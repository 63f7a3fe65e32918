// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// translated is a cluster with every way to reach a Service.
const translated = `
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {addresses: [{type: InternalIP, address: 10.9.0.1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: shop, name: stable}
spec:
  selector: {matchLabels: {app: api, track: stable}}
  template:
    metadata: {labels: {app: api, track: stable}}
    spec: {containers: [{name: api, ports: [{name: http, containerPort: 3000}, {name: http, protocol: UDP, containerPort: 3001}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: shop, name: canary}
spec:
  selector: {matchLabels: {app: api, track: canary}}
  template:
    metadata: {labels: {app: api, track: canary}}
    spec: {containers: [{name: api, ports: [{name: http, containerPort: 4000}]}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: api}
spec: {clusterIP: 10.96.0.1, selector: {app: api}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: stable}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.2
  clusterIPs: [10.96.0.2, "fd00::2"]
  externalIPs: [198.51.100.7]
  selector: {track: stable}
  ports: [{name: web, port: 80, nodePort: 30080, targetPort: http}, {name: raw, port: 81, protocol: UDP, targetPort: http}, {name: same, port: 82}]
status: {loadBalancer: {ingress: [{ip: 203.0.113.9}, {hostname: lb.example.org}]}}
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: labelled}
spec: {clusterIP: 10.96.0.3, selector: {by: hand}, ports: [{port: 80, targetPort: 9}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: stable-1, labels: {app: api, track: stable, by: hand}, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: stable, uid: a, controller: true}]}
spec: {containers: [{name: api, ports: [{name: http, containerPort: 3000}]}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: legacy}
spec: {clusterIP: 10.96.0.4, ports: [{name: db, port: 5432, targetPort: 1}, {name: two, port: 7}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: legacy-x, labels: {kubernetes.io/service-name: legacy}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.44]}]
ports: [{name: db, port: 6432}]
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: old}
spec: {clusterIP: 10.96.0.5, ports: [{port: 1}]}
---
apiVersion: v1
kind: Endpoints
metadata: {namespace: shop, name: old}
subsets: [{addresses: [{ip: 10.1.1.1, targetRef: {kind: Pod, name: stable-1}}], ports: [{port: 3000}]}]
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: headless}
spec: {clusterIP: None, selector: {app: api}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: elsewhere}
spec: {type: ExternalName, externalName: example.org}
---
apiVersion: v1
kind: Service
metadata: {namespace: kube-system, name: on-host}
spec: {clusterIP: 10.96.0.6, selector: {on: host}, ports: [{port: 443, targetPort: 6443}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: kube-system, name: on-host, labels: {on: host}}
spec: {hostNetwork: true, containers: [{name: a}]}
status: {podIP: 10.9.0.1, phase: Running}
`

func translatedInventory(t *testing.T) *inventory.Inventory {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(translated), 0o600); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.FromDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func to(addr, protocol string, port uint16) *flows.Record {
	r := &flows.Record{
		Time: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), Oriented: true, Side: flows.Egress, Verdict: flows.Forwarded,
		Protocol: "TCP", DestinationPort: port, ID: uint64(port),
		Source: flows.Endpoint{Namespace: "shop", Pod: "web-1", Kind: "Deployment", Workload: "web"}, Destination: flows.Endpoint{Addr: netip.MustParseAddr(addr)},
	}
	if protocol == "UDP" {
		r.Protocol = "UDP"
	}
	return r
}

func TestServiceKinds(t *testing.T) {
	inv := translatedInventory(t)
	for _, tt := range []struct {
		name, addr, protocol string
		port                 uint16
		want                 string
	}{
		{"two workloads with one named port", "10.96.0.1", "TCP", 80, "service 10.96.0.1 TCP/80"},
		{"a named port", "10.96.0.2", "TCP", 80, "Deployment shop/stable TCP/3000"},
		{"of the other family", "fd00::2", "TCP", 80, "Deployment shop/stable TCP/3000"},
		{"the name of another protocol", "10.96.0.2", "UDP", 81, "Deployment shop/stable UDP/3001"},
		{"the same port", "10.96.0.2", "TCP", 82, "Deployment shop/stable TCP/82"},
		{"an external address", "198.51.100.7", "TCP", 80, "Deployment shop/stable TCP/3000"},
		{"a load balancer's address", "203.0.113.9", "TCP", 80, "Deployment shop/stable TCP/3000"},
		{"a node port", "10.9.0.1", "TCP", 30080, "Deployment shop/stable TCP/3000"},
		{"a port of the node itself", "10.9.0.1", "TCP", 10250, "remote-node 10.9.0.1 TCP/10250"},
		{"labels that only the pod has", "10.96.0.3", "TCP", 80, "Deployment shop/stable TCP/9"},
		{"an EndpointSlice", "10.96.0.4", "TCP", 5432, "192.0.2.44 TCP/6432"},
		{"a port that no slice has", "10.96.0.4", "TCP", 7, "service 10.96.0.4 TCP/7"},
		{"Endpoints with a pod", "10.96.0.5", "TCP", 1, "Deployment shop/stable TCP/3000"},
		{"a pod on its node's network", "10.96.0.6", "TCP", 443, "remote-node 10.9.0.1 TCP/6443"},
	} {
		if got := inv.Key(to(tt.addr, tt.protocol, tt.port)).String(); got != "Deployment shop/web → "+tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestServiceByName: what an observer calls a Service is one, with or without its address in the inventory.
func TestServiceByName(t *testing.T) {
	inv := translatedInventory(t)
	for _, tt := range []struct {
		name, service string
		port          uint16
		want          string
	}{
		{"of which the inventory has another address", "stable", 80, "Deployment shop/stable TCP/3000"},
		{"with several workloads", "api", 80, "service 192.0.2.80 TCP/80"},
		{"that the inventory does not have", "gone", 80, "service 192.0.2.80 TCP/80"},
		{"an endpoint after translation", "legacy", 6432, "192.0.2.80 TCP/6432"},
	} {
		r := to("192.0.2.80", "TCP", tt.port)
		r.Destination.ServiceNamespace, r.Destination.Service = "shop", tt.service
		if got := inv.Key(r).String(); got != "Deployment shop/web → "+tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestTranslate: a connection through a Service with several workloads is one edge before and after the
// translation, whatever comes first.
func TestTranslate(t *testing.T) {
	inv := translatedInventory(t)
	service := to("10.96.0.1", "TCP", 80)
	backend := func(workload string, port uint16) *flows.Record {
		r := to("10.1.1.1", "TCP", port)
		r.Destination = flows.Endpoint{Namespace: "shop", Pod: workload + "-x", Kind: "Deployment", Workload: workload}
		return r
	}
	stable, canary := "Deployment shop/web → Deployment shop/stable TCP/3000", "Deployment shop/web → Deployment shop/canary TCP/4000"
	alone := "Deployment shop/web → service 10.96.0.1 TCP/80"
	for _, tt := range []struct {
		name    string
		records []*flows.Record
		want    []string
		flows   uint64 // of the first edge
	}{
		{"never seen after translation", []*flows.Record{service}, []string{alone}, 1},
		{"one workload reached", []*flows.Record{service, backend("stable", 3000)}, []string{stable}, 2},
		{"both reached", []*flows.Record{backend("stable", 3000), service, backend("canary", 4000)}, []string{canary, stable}, 1},
		{"another port of the workload", []*flows.Record{service, backend("stable", 3001)}, []string{"Deployment shop/web → Deployment shop/stable TCP/3001", alone}, 1},
	} {
		slices.Reverse(tt.records)
		fold, err := inv.Translate(foldOf(attribute(t, inv, tt.records)))
		if err != nil {
			t.Fatal(err)
		}
		edges := fold.Edges()
		var got []string
		for _, e := range edges {
			got = append(got, e.Key.String())
		}
		n, _ := edges[0].Flows.Value()
		if !slices.Equal(got, tt.want) || n != tt.flows {
			t.Errorf("%s: %v with %d flows, want %v with %d", tt.name, got, n, tt.want, tt.flows)
		}
	}
	found := evidence.Sort(attribute(t, inv, []*flows.Record{service}), inv, evidence.Criteria{})
	want := "observe after service translation; behind the address is one of Deployment shop/canary:4000, Deployment shop/stable:3000"
	if len(found.Listed) != 1 || found.Listed[0].Detail != want {
		t.Errorf("listed %+v, want %q", found.Listed, want)
	}
}

func foldOf(edges []edge.Edge) *edge.Fold {
	fold := edge.NewFold(len(edges))
	for _, e := range edges {
		_ = fold.Put(e.Key, &e) // it fits
	}
	return fold
}
