// SPDX-License-Identifier: Apache-2.0

package explain_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/explain"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

func world(tb testing.TB, stream string) *explain.World {
	tb.Helper()
	objs, err := corpus.ParseObjects([]byte(stream))
	if err != nil {
		tb.Fatal(err)
	}
	return explain.NewWorld(objs, inventory.New(podObjects(objs)))
}

func ask(tb testing.TB, w *explain.World, from, to string, port uint16) *explain.Report {
	tb.Helper()
	f, err := w.From(from)
	if err != nil {
		tb.Fatal(err)
	}
	d, err := w.To(to)
	if err != nil {
		tb.Fatal(err)
	}
	return w.Explain(f, d, corev1.ProtocolTCP, port)
}

// What stands in objects cannot steer the terminal, and colours are there only when asked for.
func TestTextOnATerminal(t *testing.T) {
	w := world(t, `{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web, labels: {app: "\e[2Jx\nDENIED"}}, status: {podIP: 10.0.0.1}}`)
	report := ask(t, w, "shop/web", "192.0.2.7", 80)
	var without, with bytes.Buffer
	if err := errors.Join(report.Text(&without, false), report.Text(&with, true)); err != nil {
		t.Fatal(err)
	}
	if text := without.String(); strings.Contains(text, "\x1b") || !strings.Contains(text, "app=?[2Jx?DENIED") {
		t.Errorf("without colours:\n%q", text)
	}
	if text := with.String(); !strings.HasPrefix(text, "\x1b[1;32mPod shop/web") || strings.Contains(text, "\x1b[2J") {
		t.Errorf("with colours:\n%q", text)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestTextReportsFailedWrites(t *testing.T) {
	w := world(t, `{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web}, status: {podIP: 10.0.0.1}}`)
	if err := ask(t, w, "shop/web", "192.0.2.7", 80).Text(fullDisk{}, false); err == nil {
		t.Error("nothing was written, and nothing was said")
	}
}

// Of several ways the one that opens least is suggested, and what it opens is counted.
func TestSuggestionOpensLeast(t *testing.T) {
	const pods = `
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web, labels: {app: web, pod-template-hash: x}}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: api, labels: {app: api}}, status: {podIP: 10.0.0.2}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: other, labels: {app: other}}, status: {podIP: 10.0.0.3}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: p}, spec: `
	for _, tc := range []struct {
		name, spec, to string
		verb           explain.Verb
		opens          explain.Opening
	}{
		{"the rule has no other peers", "{podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 1}]}]}}", "shop/api", explain.AddPort, explain.Opening{Pairs: 1, Ports: 1}},
		{"the rule has another peer", "{podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 1}]}]}}", "shop/api", explain.AddRule, explain.Opening{Pairs: 1, Ports: 1}},
		{"the rule has just this port", "{podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: other}}}], ports: [{port: 80}]}]}}", "shop/api", explain.AddPeer, explain.Opening{Pairs: 1, Ports: 1}},
		{"the rule has all ports", "{podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: other}}}]}]}}", "shop/api", explain.AddRule, explain.Opening{Pairs: 1, Ports: 1}},
		{"the policy selects every pod", "{podSelector: {}}}", "shop/api", explain.AddPolicy, explain.Opening{Pairs: 1, Ports: 1}},
		{"addresses outside", "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 1}]}]}}", "203.0.113.9", explain.AddRule, explain.Opening{Pairs: 1, Ports: 1}},
		{"a peer that matches somebody", "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}, podSelector: {matchLabels: {app: other}}}], ports: [{port: 80}]}]}}", "shop/api", explain.AddPeer, explain.Opening{Pairs: 1, Ports: 1}},
	} {
		report := ask(t, world(t, pods+tc.spec), "shop/web", tc.to, 80)
		if report.Suggestion == nil || len(report.Suggestion.Steps) != 1 {
			t.Errorf("%s: %+v", tc.name, report.Suggestion)
			continue
		}
		if s := report.Suggestion.Steps[0]; s.Verb != tc.verb || s.Opens != tc.opens || strings.Contains(s.Fragment, "pod-template-hash") {
			t.Errorf("%s: %s opens %+v; want %s, %+v\n%s", tc.name, s.Verb, s.Opens, tc.verb, tc.opens, s.Fragment)
		}
	}
}

// A Service of a manifest has no address yet; its port is translated all the same.
func TestServiceOfAManifest(t *testing.T) {
	w := world(t, `
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: api, labels: {app: api}}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: entry}, spec: {selector: {app: api}, ports: [{port: 80, targetPort: 3000}]}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: elsewhere}, spec: {type: ExternalName, externalName: db.example.com}}`)
	if r := ask(t, w, "shop/web", "shop/entry", 80); !r.Allowed || r.Ingress.Port != "TCP/3000" {
		t.Errorf("%s, at the pod %s", r.Answer, r.Ingress.Port)
	}
	if r := ask(t, w, "shop/web", "shop/elsewhere", 80); r.Allowed || !strings.Contains(r.Suggestion.None, "db.example.com") {
		t.Errorf("%s: %s", r.Answer, r.Suggestion.None)
	}
}

// BenchmarkReport is a denied connection with its suggestion, in a namespace of a large cluster.
func BenchmarkReport(b *testing.B) {
	var objs strings.Builder
	const namespaces, pods = 100, 50
	for i := range namespaces * pods {
		fmt.Fprintf(&objs, "{apiVersion: v1, kind: Pod, metadata: {namespace: ns-%d, name: pod-%d, labels: {app: app-%d}}, status: {podIP: 10.1.%d.%d}}\n---\n", i/pods, i%pods, i%10, i/250, i%250)
	}
	for i := range namespaces {
		fmt.Fprintf(&objs, "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: ns-%d, name: all}, spec: {podSelector: {}, "+
			"ingress: [{from: [{podSelector: {matchLabels: {app: app-1}}}], ports: [{port: 80}]}, {from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 443}]}]}}\n---\n", i)
	}
	w := world(b, objs.String())
	for b.Loop() {
		if r := ask(b, w, "ns-1/pod-3", "ns-2/pod-4", 80); r.Allowed || len(r.Suggestion.Steps) != 1 {
			b.Fatal(r.Answer)
		}
	}
}
