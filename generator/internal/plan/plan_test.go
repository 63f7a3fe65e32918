// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

const header = "apiVersion: bulkhead.dev/v1alpha1\nkind: Plan\ndecisions:\n"

func pod(kind, namespace, name string) edge.Endpoint {
	return edge.Endpoint{Kind: kind, Namespace: namespace, Name: name}
}

func address(text string) edge.Endpoint { return edge.Endpoint{Addr: netip.MustParseAddr(text)} }

func TestDecide(t *testing.T) {
	p, err := Parse([]byte(header + `
- {reject: {from: evil/scanner, to: shop/*}, reason: we know it}
- {accept: {from: evil/*, to: Deployment shop/api, ports: [TCP/80, UDP/8000-8010]}, reason: the others are ours}
- {accept: {from: world, to: shop/web, ports: [TCP/443]}, reason: it is the shop}
- {accept: {from: shop/api, to: 203.0.113.0/28}, reason: the bank}
- {accept: {from: shop/api, to: "2001:db8::7"}, reason: the bank}
`))
	if err != nil {
		t.Fatal(err)
	}
	api, web := pod("Deployment", "shop", "api"), pod("StatefulSet", "shop", "web")
	for _, c := range []struct {
		from, to edge.Endpoint
		protocol corev1.Protocol
		port     uint16
		want     int // index of the decision; -1: none
		block    string
	}{
		{pod("Pod", "evil", "scanner"), api, "TCP", 80, 0, ""},
		{pod("Pod", "evil", "other"), api, "TCP", 80, 1, ""},
		{pod("Pod", "evil", "other"), api, "UDP", 8010, 1, ""},
		{pod("Pod", "evil", "other"), api, "UDP", 8011, -1, ""},
		{pod("Pod", "evil", "other"), api, "UDP", 80, -1, ""},
		{pod("Pod", "evil", "other"), pod("StatefulSet", "shop", "api"), "TCP", 80, -1, ""},
		{pod("Pod", "evil2", "other"), api, "TCP", 80, -1, ""},
		{address("198.51.100.7"), web, "TCP", 443, 2, "0.0.0.0/0"},
		{address("2001:db8::1"), web, "TCP", 443, 2, "::/0"},
		{api, web, "TCP", 443, -1, ""},
		{api, address("203.0.113.15"), "SCTP", 1, 3, "203.0.113.0/28"},
		{api, address("203.0.113.16"), "TCP", 1, -1, ""},
		{api, address("2001:db8::7"), "TCP", 1, 4, "2001:db8::7/128"},
	} {
		d := p.Decide(c.from, c.to, c.protocol, c.port)
		if c.want < 0 && d != nil || c.want >= 0 && d != &p.Decisions[c.want] {
			t.Errorf("%s → %s %s/%d: decided by %v, want %d", c.from, c.to, c.protocol, c.port, d, c.want)
			continue
		}
		addr := c.to.Addr
		if c.to.IsPod() {
			addr = c.from.Addr
		}
		if c.block != "" && d.Block(addr).String() != c.block {
			t.Errorf("%s is widened to %s, want %s", addr, d.Block(addr), c.block)
		}
	}
	if (*Plan)(nil).Decide(api, web, "TCP", 1) != nil {
		t.Error("no plan decides")
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"": "write apiVersion:", "kind: Pod": "write apiVersion:", "a: [": "yaml", header + "- {}": "decisions[0]: give either",
		header + "- {accept: {from: a/b, to: a/c}}":                                                       "decisions[0].reason",
		header + "- {accept: {from: a/b, to: a/c}, reject: {from: a/b, to: a/c}, reason: x}":              "give either",
		header + "- {accept: {from: a, to: a/c}, reason: x}":                                              `.accept.from "a": write a workload`,
		header + "- {accept: {from: '*/*', to: a/c}, reason: x}":                                          "write a workload",
		header + "- {accept: {from: '', to: a/c}, reason: x}":                                             "write a workload",
		header + "- {reject: {from: a/b, to: 10.0.0.1/8}, reason: x}":                                     ".reject.to \"10.0.0.1/8\": 10.0.0.0/8 is meant",
		header + "- {accept: {from: a/b, to: a/c, ports: ['80']}, reason: x}":                             ".accept.ports[0]",
		header + "- {accept: {from: a/b, to: a/c, ports: [TCP/0]}, reason: x}":                            "such as TCP/443",
		header + "- {accept: {from: a/b, to: a/c, ports: [TCP/9-8]}, reason: x}":                          "such as TCP/443",
		header + "- {accept: {from: a/b, to: a/c, ports: [ICMP/8]}, reason: x}":                           "such as TCP/443",
		header + "- {accept: {from: a/b, to: a/c, port: 80}, reason: x}":                                  `unknown field "port"`,
		header + "- {accept: {from: a/b, to: a/c}, reason: x}\n- {reject: {from: a/b, to: b}, reason: x}": "decisions[1].reject.to",
		strings.Repeat(" ", maxBytes+1):                                                                   "at most",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: got %v, want %q", text, err, want)
		}
	}
}

// FuzzParse: no plan makes it fail in another way than by an error.
func FuzzParse(f *testing.F) {
	f.Add(header + "- {accept: {from: world, to: shop/*, ports: [TCP/1-2]}, reason: x}")
	f.Add(header + "- {reject: {from: 'Deployment a/b', to: '::/0'}, reason: x}")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse([]byte(text))
		if err != nil {
			return
		}
		for i := range p.Decisions {
			if p.Decisions[i].Reason == "" {
				t.Error("a decision without a reason")
			}
		}
		p.Decide(pod("Pod", "a", "b"), address("::1"), "TCP", 1)
	})
}
