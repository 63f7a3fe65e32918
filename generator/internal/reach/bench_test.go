// SPDX-License-Identifier: Apache-2.0

package reach_test

import (
	"fmt"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/reach"
)

// large is namespaces of 20 workloads, each reached by three of its own namespace and one of
// another, with default-deny, name lookups, a monitoring namespace and some ranges of addresses.
func large(namespaces int) (all []string) {
	const each = 20
	for n := range namespaces {
		ns := fmt.Sprintf("team-%d", n)
		all = append(all, namespace(ns, fmt.Sprintf("tier: t%d", n%4)), policy(ns, "default", "", denyAll),
			policy(ns, "dns", "", "egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{port: 53, protocol: UDP}]}], policyTypes: [Egress]"))
		for w := range each {
			app := fmt.Sprintf("app-%d", w)
			all = append(all, deployment(ns, app, fmt.Sprint(8000+w)))
			other := fmt.Sprintf("{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: team-%d}}, podSelector: {matchLabels: {app: app-%d}}}", (n+1)%namespaces, w)
			all = append(all, policy(ns, app, app, fmt.Sprintf(
				"ingress: [{from: [%s, %s, %s, %s], ports: [{port: http}]}, {from: [{namespaceSelector: {matchLabels: {name: monitoring}}}], ports: [{port: 9090}]}], "+
					"egress: [{to: [%s, %s, %s, %s]}, {to: [{ipBlock: {cidr: 10.%d.0.0/16}}], ports: [{port: 443}]}]",
				from(fmt.Sprintf("app-%d", (w+1)%each)), from(fmt.Sprintf("app-%d", (w+2)%each)), from(fmt.Sprintf("app-%d", (w+3)%each)), other,
				from(fmt.Sprintf("app-%d", (w+each-1)%each)), from(fmt.Sprintf("app-%d", (w+each-2)%each)), from(fmt.Sprintf("app-%d", (w+each-3)%each)), other, w%10)))
		}
	}
	return all
}

// BenchmarkFind is the target of one thousand workloads in two seconds on two cores; the policies are
// compiled in it.
func BenchmarkFind(b *testing.B) {
	for _, bb := range []struct {
		name      string
		manifests []string
	}{
		{"workloads=1000", large(50)},
		{"workloads=1000/open", func() (open []string) {
			for n := range 1000 {
				open = append(open, deployment(fmt.Sprintf("team-%d", n/20), fmt.Sprintf("app-%d", n), "80"))
			}
			return open
		}()},
	} {
		b.Run(bb.name, func(b *testing.B) {
			in := input(b, bb.manifests...)
			b.ReportAllocs()
			lines := 0
			for b.Loop() {
				c, err := reach.New(in)
				if err != nil {
					b.Fatal(err)
				}
				m, err := reach.Find(c, true)
				if err != nil {
					b.Fatal(err)
				}
				lines = len(m.Lines)
			}
			b.ReportMetric(float64(lines), "lines")
		})
	}
}

// BenchmarkDiff compares a thousand workloads with the same but for one policy.
func BenchmarkDiff(b *testing.B) {
	manifests := large(50)
	before := cluster(b, manifests...)
	after := cluster(b, append(manifests, policy("team-7", "more", "app-3", "ingress: [{from: [{ipBlock: {cidr: 10.3.4.0/24}}]}]"))...)
	b.ReportAllocs()
	for b.Loop() {
		changes, err := reach.Diff(before, after)
		if err != nil || len(changes) != 1 {
			b.Fatal(err, changes)
		}
	}
}
