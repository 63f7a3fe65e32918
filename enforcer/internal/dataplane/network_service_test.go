// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// services are a Service with two backends, and two that the node's ports lead to.
const services = `
{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: web}, spec: {clusterIP: 10.96.0.80, clusterIPs: [10.96.0.80, "fd96::80"], selector: {web: "yes"}, ports: [{port: 80, targetPort: 8080}, {port: 80, protocol: UDP, targetPort: 8080}]}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: cluster}, spec: {type: NodePort, clusterIP: 10.96.0.81, clusterIPs: [10.96.0.81], selector: {app: server}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: local}, spec: {type: NodePort, externalTrafficPolicy: Local, clusterIP: 10.96.0.82, clusterIPs: [10.96.0.82], selector: {app: server}, ports: [{port: 80, targetPort: 8080, nodePort: 30081}]}}
`

// kubeProxy translates as kube-proxy does: destinations before routing, and sources at the end, of what is marked.
// Of the backends of 10.96.0.80, the client's odd ports get the server and its even ones the other, so that a test
// knows which.
const kubeProxy = `
  chain services {
    ip daddr 10.96.0.80 meta l4proto { tcp, udp } th dport 80 th sport & 1 == 1 goto server
    ip daddr 10.96.0.80 meta l4proto { tcp, udp } th dport 80 goto other
    ip6 daddr fd96::80 meta l4proto { tcp, udp } th dport 80 th sport & 1 == 1 goto server
    ip6 daddr fd96::80 meta l4proto { tcp, udp } th dport 80 goto other
    fib daddr type local tcp dport 30080 meta mark set meta mark | 0x4000 goto server
    fib daddr type local tcp dport 30081 goto server
  }
  chain server {
    ip saddr 10.99.1.2 meta mark set meta mark | 0x4000
    ip6 saddr fd99:1::2 meta mark set meta mark | 0x4000
    meta nfproto ipv4 meta l4proto { tcp, udp } dnat ip to 10.99.1.2:8080
    meta nfproto ipv6 meta l4proto { tcp, udp } dnat ip6 to [fd99:1::2]:8080
  }
  chain other {
    ip saddr 10.99.1.3 meta mark set meta mark | 0x4000
    ip6 saddr fd99:1::3 meta mark set meta mark | 0x4000
    meta nfproto ipv4 meta l4proto { tcp, udp } dnat ip to 10.99.1.3:8080
    meta nfproto ipv6 meta l4proto { tcp, udp } dnat ip6 to [fd99:1::3]:8080
  }
  chain prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    meta mark & 0x4000 == 0x4000 meta mark set meta mark ^ 0x4000 masquerade fully-random
  }
`

func runKubeProxy(t *testing.T) {
	t.Helper()
	node.LoadTable(t, "kube-proxy", kubeProxy)
}

// clientToServer lets the client reach the server's port, and so one backend of two.
const clientToServer = defaultDeny + `
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: client}, spec: {podSelector: {matchLabels: {app: client}},
  policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: server}}}], ports: [{port: 8080}, {port: 8080, protocol: UDP}]}]}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: server}, spec: {podSelector: {matchExpressions: [{key: app, operator: In, values: [server, other]}]},
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 8080}, {port: 8080, protocol: UDP}]}]}}
`

// Each connection to a Service is judged by the backend that it got, at the backend's port. A connection that leads
// back to the pod itself passes (pitfall 9), though the pod may go nowhere and sees the node as its client.
func TestServiceBackends(t *testing.T) {
	c := newCluster(t, newConfig(t), services, clientToServer)
	runKubeProxy(t)
	c.serve(t, "server", 8080)
	c.serve(t, "other", 8080)
	wanted, port := map[string]attemptWanted{}, 40000
	for _, address := range []string{"10.96.0.80", "fd96::80"} {
		for _, network := range []string{"tcp", "udp"} {
			for from, allowed := range map[string][2]bool{ // the other backend, the server
				"client": {false, true}, "server": {false, true}, "other": {true, false}, "stranger": {false, false},
			} {
				for backend, want := range allowed {
					port += 2
					a := attempt{from: c.pods[from], network: network, to: net.JoinHostPort(address, "80"), port: port + backend}
					wanted[fmt.Sprintf("%s by %s to %s, backend %d", from, network, address, backend)] = attemptWanted{a, want}
				}
			}
		}
	}
	must(t, wanted)
}

// What comes through a port of the node is judged by the source that the pod sees: the node if it is masqueraded, and
// the client if it is not. Replies go out in either case, though those to a masqueraded client carry its address again
// when they are forwarded. The evaluator says the same.
func TestNodePorts(t *testing.T) {
	c := newCluster(t, newConfig(t), services, clientToServer)
	runKubeProxy(t)
	c.serve(t, "server", 8080)
	outside := node.NewPod(t, "outside", "192.0.2.9")
	letIn := `
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: outside}, spec: {podSelector: {matchLabels: {app: server}},
  ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 8080}]}]}}
`
	for policies, local := range map[string]bool{clientToServer: false, clientToServer + "---" + letIn: true} {
		c.apply(t, policies)
		snapshot, err := netpol.Compile(c.objects)
		if err != nil {
			t.Fatal(err)
		}
		for port, want := range map[uint16]bool{30080: true, 30081: local} {
			said := snapshot.Evaluate(netpol.Connection{
				From: netpol.Peer{Addr: outside.Addrs[0]}, To: netpol.Peer{Addr: node.Gateway4}, Protocol: corev1.ProtocolTCP, Port: port,
			})
			if said.Allowed != want {
				t.Errorf("the evaluator says %v of port %d", said.Allowed, port)
			}
			must(t, map[string]attemptWanted{
				fmt.Sprintf("port %d with %v", port, local): {attempt{from: outside, network: "tcp", to: netip.AddrPortFrom(node.Gateway4, port).String()}, want},
			})
		}
	}
}
