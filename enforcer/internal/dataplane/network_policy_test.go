// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// somePolicies let different things in and out of the pods, by names and numbers of ports, pods and ranges.
const somePolicies = defaultDeny + `
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: server}, spec: {podSelector: {matchLabels: {app: server}},
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: web}, {port: 8081, protocol: UDP}]}, {from: [{ipBlock: {cidr: "fd99:1::4/128"}}]}],
  egress: [{to: [{podSelector: {}}], ports: [{port: 8080}]}]}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: client}, spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Egress],
  egress: [{to: [{podSelector: {matchLabels: {app: server}}}]}, {to: [{ipBlock: {cidr: 10.99.1.0/24, except: [10.99.1.2/32]}}], ports: [{port: 8080, protocol: UDP}]}]}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: stranger}, spec: {podSelector: {matchExpressions: [{key: app, operator: In, values: [stranger, other]}]},
  ingress: [{from: [{podSelector: {}}]}], egress: [{}]}}
---
{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: no-8081}, spec: {tier: Admin, priority: 1, subject: {namespaces: {}},
  ingress: [{action: Deny, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: other}}}}], protocols: [{tcp: {destinationPort: {number: 8081}}}]}]}}
`

// TestSocketsAgreeWithEvaluator connects every pod with every other and with the node, by TCP and UDP, IPv4 and
// IPv6, at two ports.
func TestSocketsAgreeWithEvaluator(t *testing.T) {
	c := newCluster(t, newConfig(t), somePolicies)
	snapshot, err := netpol.Compile(c.objects)
	if err != nil {
		t.Fatal(err)
	}
	ports := []int{8080, 8081}
	for _, port := range ports {
		for name := range c.pods {
			c.serve(t, name, port)
		}
		serve(t, nil, port, node.Gateway4.String(), node.Gateway6.String())
	}
	ends := map[string][]netip.Addr{"node": {node.Gateway4, node.Gateway6}}
	for name, pod := range c.pods {
		ends[name] = pod.Addrs
	}
	wanted, allowed := map[string]attemptWanted{}, 0
	for from := range ends {
		for to, addrs := range ends {
			for family, addr := range addrs {
				for network, protocol := range map[string]corev1.Protocol{"tcp": corev1.ProtocolTCP, "udp": corev1.ProtocolUDP} {
					for _, port := range ports {
						v := snapshot.Evaluate(netpol.Connection{
							From: peerOf(from, ends[from][family]), To: peerOf(to, addr), Protocol: protocol, Port: uint16(port),
						})
						a := attempt{from: c.pods[from], network: network, to: net.JoinHostPort(addr.String(), fmt.Sprint(port))}
						wanted[fmt.Sprintf("%s to %s, %s %s", from, to, network, a.to)] = attemptWanted{a, v.Allowed}
						if v.Allowed {
							allowed++
						}
					}
				}
			}
		}
	}
	if denied := len(wanted) - allowed; allowed < 50 || denied < 50 {
		t.Fatalf("%d attempts are allowed and %d denied: want at least 50 of each", allowed, denied)
	}
	must(t, wanted)
}

// peerOf is a pod of the cluster, or the node.
func peerOf(name string, addr netip.Addr) netpol.Peer {
	if name == "node" {
		return netpol.Peer{Addr: addr}
	}
	return netpol.Peer{Pod: types.NamespacedName{Namespace: "shop", Name: name}, Addr: addr}
}

// Pitfall 8: under default-deny the kubelet still reaches its node's pods, by both families, and nobody else does.
// Pods do not reach the node.
func TestProbesPassDefaultDeny(t *testing.T) {
	c := newCluster(t, newConfig(t), defaultDeny)
	c.serve(t, "server", 8080)
	serve(t, nil, 8080, node.Gateway4.String(), node.Gateway6.String())
	wanted := map[string]attemptWanted{}
	for family, gateway := range []netip.Addr{node.Gateway4, node.Gateway6} {
		pod := net.JoinHostPort(c.pods["server"].Addrs[family].String(), "8080")
		own := net.JoinHostPort(gateway.String(), "8080")
		for _, network := range []string{"tcp", "udp"} {
			wanted["probe by "+network+" "+pod] = attemptWanted{attempt{from: nil, network: network, to: pod}, true}
			wanted["other pod by "+network+" "+pod] = attemptWanted{attempt{from: c.pods["client"], network: network, to: pod}, false}
			wanted["pod to its node by "+network+" "+own] = attemptWanted{attempt{from: c.pods["client"], network: network, to: own}, false}
		}
	}
	must(t, wanted)
}

// toHosts lets the client out to a host's address, and that host in to the server.
const toHosts = defaultDeny + `
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: client}, spec: {podSelector: {matchLabels: {app: client}},
  egress: [{to: [{ipBlock: {cidr: 10.99.0.1/32}}, {ipBlock: {cidr: 10.98.0.2/32}}], ports: [{port: 8080}]}]}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: server}, spec: {podSelector: {matchLabels: {app: server}},
  ingress: [{from: [{ipBlock: {cidr: 10.98.0.2/32}}], ports: [{port: 8080}]}]}}
`

// Pods on the network of a node, this one or another, are addresses: an ipBlock lets them in and out, and a pod's
// selector does not.
func TestHostNetworkPeers(t *testing.T) {
	c := newCluster(t, newConfig(t), toHosts)
	there := node.NewPod(t, "there", "10.98.0.2", "fd98::2") // not attached: another node
	for _, port := range []int{8080, 8081} {
		c.serve(t, "server", port)
		serve(t, there, port, "10.98.0.2", "fd98::2")
		serve(t, nil, port, node.Gateway4.String())
	}
	client, server := c.pods["client"], c.pods["server"].Addrs[0].String()
	must(t, map[string]attemptWanted{
		"pod to a pod of its own node's network":             {attempt{from: client, network: "tcp", to: "10.99.0.1:8080"}, true},
		"pod to another port there":                          {attempt{from: client, network: "tcp", to: "10.99.0.1:8081"}, false},
		"pod to a pod of another node's network":             {attempt{from: client, network: "tcp", to: "10.98.0.2:8080"}, true},
		"pod to another port there, too":                     {attempt{from: client, network: "tcp", to: "10.98.0.2:8081"}, false},
		"pod to another address there":                       {attempt{from: client, network: "tcp", to: "[fd98::2]:8080"}, false},
		"pod of another node's network to a pod":             {attempt{from: there, network: "tcp", to: server + ":8080"}, true},
		"pod of another node's network to another port":      {attempt{from: there, network: "tcp", to: server + ":8081"}, false},
		"pod of another node's network to another pod":       {attempt{from: there, network: "tcp", to: c.pods["client"].Addrs[0].String() + ":8080"}, false},
		"pod of the own node's network, which needs no rule": {attempt{from: nil, network: "tcp", to: server + ":8081"}, true},
	})
}

// Pitfall 11: the parts of a large datagram pass if the first one does, and not if it does not.
func TestLargeDatagrams(t *testing.T) {
	c := newCluster(t, newConfig(t), somePolicies)
	c.serve(t, "server", 8081)
	c.serve(t, "other", 8081)
	wanted := map[string]attemptWanted{}
	for family := range 2 {
		server := net.JoinHostPort(c.pods["server"].Addrs[family].String(), "8081")
		other := net.JoinHostPort(c.pods["other"].Addrs[family].String(), "8081")
		wanted["allowed "+server] = attemptWanted{attempt{from: c.pods["client"], network: "udp", to: server, size: 4000}, true}
		wanted["denied "+other] = attemptWanted{attempt{from: c.pods["client"], network: "udp", to: other, size: 4000}, false}
	}
	must(t, wanted)
}
