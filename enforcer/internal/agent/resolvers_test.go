// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// dnsObjects are the cluster's DNS, and what must not be taken for it.
const dnsObjects = `
{apiVersion: v1, kind: Service, metadata: {namespace: kube-system, name: kube-dns}, spec: {clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10, "fd96::a"], selector: {k8s-app: kube-dns}, ports: [{port: 53, protocol: UDP}]}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: kube-system, name: metrics}, spec: {clusterIP: 10.96.0.11, selector: {k8s-app: metrics}, ports: [{port: 443}]}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: kube-dns, labels: {k8s-app: kube-dns}}, spec: {clusterIP: 10.96.0.12, selector: {k8s-app: kube-dns}, ports: [{port: 53, protocol: UDP}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: kube-system, name: coredns, labels: {k8s-app: kube-dns}}, status: {podIPs: [{ip: 10.0.0.2}, {ip: "fd00::2"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: kube-system, name: host, labels: {k8s-app: kube-dns}}, spec: {hostNetwork: true}, status: {podIPs: [{ip: 192.0.2.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: kube-system, name: metrics, labels: {k8s-app: metrics}}, status: {podIPs: [{ip: 10.0.0.3}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: coredns, labels: {k8s-app: kube-dns}}, status: {podIPs: [{ip: 10.0.0.4}]}}
`

func TestResolvers(t *testing.T) {
	objects, err := corpus.ParseObjects([]byte(dnsObjects))
	if err != nil {
		t.Fatal(err)
	}
	r := newResolvers(types.NamespacedName{}, nil)
	node := []netip.Addr{netip.MustParseAddr("169.254.20.10"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1")}
	check := func(what, want string) {
		t.Helper()
		if got := fmt.Sprint(r.addresses(node)); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	check("nothing is known", "[169.254.20.10]")
	r.apply(netpol.Change{Set: objects})
	check("all is known", "[10.0.0.2 10.96.0.10 169.254.20.10 fd00::2 fd96::a]")
	moved := objects.Pods[0].DeepCopy()
	moved.Labels = nil
	r.apply(netpol.Change{Set: netpol.Objects{Pods: append(objects.Pods[:0:0], moved)}})
	check("a pod is relabelled", "[10.96.0.10 169.254.20.10 fd96::a]")
	r.apply(netpol.Change{Set: netpol.Objects{Pods: objects.Pods[:1]}, Deleted: []netpol.Key{{Kind: "Pod", Namespace: "shop", Name: "coredns"}}})
	check("and back", "[10.0.0.2 10.96.0.10 169.254.20.10 fd00::2 fd96::a]")
	r.apply(netpol.Change{Deleted: []netpol.Key{{Kind: "Pod", Namespace: "kube-system", Name: "coredns"}}})
	check("a pod is gone", "[10.96.0.10 169.254.20.10 fd96::a]")
	r.apply(netpol.Change{Deleted: []netpol.Key{{Kind: "Service", Namespace: "kube-system", Name: "kube-dns"}}})
	check("the Service is gone", "[169.254.20.10]")

	r = newResolvers(types.NamespacedName{Namespace: "shop", Name: "kube-dns"}, []net.IP{net.ParseIP("fd00::10"), net.ParseIP("169.254.20.10")})
	r.apply(netpol.Change{Set: objects})
	check("one is configured", "[10.0.0.2 10.0.0.4 10.96.0.10 10.96.0.12 169.254.20.10 fd00::2 fd00::10 fd96::a]")
}
