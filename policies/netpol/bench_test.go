// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// Judging a connection between pods is the inner loop of proofs and scans: it allocates nothing.
func TestEvaluateAllocatesNothing(t *testing.T) {
	s := compiled(t, podWeb, podAPI, policyIn)
	for name, c := range map[string]netpol.Connection{
		"rule, named port": {From: netpol.Peer{Pod: shop("web")}, To: netpol.Peer{Pod: shop("api")}, Protocol: corev1.ProtocolTCP, Port: 8080},
		"no rule":          {From: netpol.Peer{Pod: shop("web")}, To: netpol.Peer{Pod: shop("api")}, Protocol: corev1.ProtocolTCP, Port: 1},
		"not isolated":     {From: netpol.Peer{Pod: shop("api")}, To: netpol.Peer{Pod: shop("web")}, Protocol: corev1.ProtocolTCP, Port: 1},
		"addresses":        {From: netpol.Peer{Addr: netip.MustParseAddr("10.0.0.1")}, To: netpol.Peer{Addr: netip.MustParseAddr("10.0.0.2")}, Port: 8080},
		"unknown":          {From: netpol.Peer{Pod: shop("nosuch")}, To: netpol.Peer{Pod: shop("api")}, Port: 8080},
	} {
		if n := testing.AllocsPerRun(100, func() { s.Evaluate(c) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// cluster is pods and policies spread evenly over namespaces. Each policy selects the pods of one of
// its namespace's apps and lets in another app, a namespace, and a range.
func cluster(b *testing.B, namespaces, pods, policies int) netpol.Objects {
	b.Helper()
	var documents []string
	apps := max(policies/namespaces, 1)
	for i := range pods {
		documents = append(documents, fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {namespace: ns-%d, name: pod-%d, labels: {app: app-%d, pod-template-hash: h%d}}, "+
			"spec: {nodeName: node-%d, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}, status: {podIP: 10.%d.%d.1}}",
			i%namespaces, i, i/namespaces%apps, i%97, i%50, i/256, i%256))
	}
	for i := range policies {
		app := i / namespaces
		documents = append(documents, fmt.Sprintf("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: ns-%d, name: policy-%d}, "+
			"spec: {podSelector: {matchLabels: {app: app-%d}}, policyTypes: [Ingress, Egress], ingress: ["+
			"{from: [{podSelector: {matchLabels: {app: app-%d}}}], ports: [{port: 8080}]}, "+
			"{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ns-0}}}], ports: [{port: 9090}]}], "+
			"egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.255.0.0/16]}}], ports: [{port: 8080}]}]}}",
			i%namespaces, i, app%apps, (app+1)%apps))
	}
	var all netpol.Objects
	for _, d := range documents {
		one, err := corpus.ParseObjects([]byte(d))
		if err != nil {
			b.Fatal(err)
		}
		all.Pods = append(all.Pods, one.Pods...)
		all.Policies = append(all.Policies, one.Policies...)
	}
	return all
}

func BenchmarkCompile(b *testing.B) {
	for _, namespaces := range []int{50, 1} {
		b.Run(fmt.Sprintf("policies=1000/pods=2000/namespaces=%d", namespaces), func(b *testing.B) {
			objs := cluster(b, namespaces, 2000, 1000)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := netpol.Compile(objs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEvaluate(b *testing.B) {
	objs := cluster(b, 50, 2000, 1000)
	s, err := netpol.Compile(objs)
	if err != nil {
		b.Fatal(err)
	}
	peer := func(i int) netpol.Peer {
		return netpol.Peer{Pod: types.NamespacedName{Namespace: objs.Pods[i].Namespace, Name: objs.Pods[i].Name}}
	}
	for _, tc := range []struct {
		name    string
		c       netpol.Connection
		allowed bool
	}{
		{"allowed", netpol.Connection{From: peer(50), To: peer(0), Protocol: corev1.ProtocolTCP, Port: 8080}, true},
		{"denied", netpol.Connection{From: peer(1), To: peer(50), Protocol: corev1.ProtocolTCP, Port: 8080}, false},
		{"addresses", netpol.Connection{
			From: netpol.Peer{Addr: netip.MustParseAddr("10.0.50.1")}, To: netpol.Peer{Addr: netip.MustParseAddr("10.0.0.1")},
			Protocol: corev1.ProtocolTCP, Port: 8080,
		}, true},
	} {
		b.Run(tc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := s.Evaluate(tc.c); v.Allowed != tc.allowed {
					b.Fatalf("allowed %v: egress %+v, ingress %+v", v.Allowed, v.Egress, v.Ingress)
				}
			}
		})
	}
}
