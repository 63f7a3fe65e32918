// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

const (
	podWeb = `{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web, labels: {app: web}}, status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}}`
	podAPI = `{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: api, labels: {app: api}}, status: {podIP: 10.0.0.2}, spec: {containers: [
	 {name: a, ports: [{name: http, containerPort: 8080}, {name: http, containerPort: 80}, {name: dns, containerPort: 53, protocol: UDP}]},
	 {name: b, ports: [{name: http, containerPort: 8080}, {name: huge, containerPort: 70000}]}]}}`
	podHost  = `{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: host, labels: {app: api}}, spec: {hostNetwork: true, nodeName: n1}, status: {podIP: 172.16.0.1}}`
	podDone  = `{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: done, labels: {app: api}}, status: {phase: Failed, podIP: 10.0.0.3}}`
	policyIn = `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: in, annotations: {bulkhead.dev/approved-commit: c0ffee}},
	 spec: {podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}]}, {ports: [{port: 9090}]}]}}`
	policyAll = `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: all}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}`
)

func shop(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "shop", Name: name}
}

func TestEndpoints(t *testing.T) {
	s := compiled(t, podWeb, podHost, podDone, podAPI)
	var got []string
	for e := range s.Endpoints() {
		got = append(got, e.Pod().Name+" "+e.Addr.String())
	}
	if want := []string{"api 10.0.0.2", "web 10.0.0.1", "web fd00::1"}; !slices.Equal(got, want) {
		t.Errorf("endpoints %q, want %q", got, want)
	}
	for range s.Endpoints() {
		break // a caller may stop early
	}
}

func TestEndpointAt(t *testing.T) {
	s := compiled(t, podWeb, podHost, podDone, podAPI)
	for addr, want := range map[string]string{
		"10.0.0.1": "web", "fd00::1": "web", "::ffff:10.0.0.2": "api", "10.0.0.3": "", "172.16.0.1": "", "192.0.2.1": "",
	} {
		if e := s.EndpointAt(netip.MustParseAddr(addr)); e.Pod().Name != want || e.Addr.Is4In6() {
			t.Errorf("%s is pod %q at %s, want %q", addr, e.Pod().Name, e.Addr, want)
		}
	}
}

// Pods of a cluster are many, and most have the labels of others.
func TestLabelsAreKeptOnce(t *testing.T) {
	again := strings.NewReplacer("name: api", "name: api2", "10.0.0.2", "10.0.0.4").Replace(podAPI)
	s := compiled(t, podWeb, podAPI, again)
	labels := s.Labels(shop("api"))
	if labels["app"] != "api" || s.Labels(shop("web"))["app"] != "web" || s.Labels(shop("none")) != nil {
		t.Errorf("api has %v, web %v, none %v", labels, s.Labels(shop("web")), s.Labels(shop("none")))
	}
	if reflect.ValueOf(labels).Pointer() != reflect.ValueOf(s.Labels(shop("api2"))).Pointer() {
		t.Error("pods with the same labels have a map each")
	}
}

// An IPv4 address is the same address when an object writes it as IPv6.
func TestMappedAddresses(t *testing.T) {
	s := compiled(
		t,
		`{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: "::ffff:172.16.0.1"}]}}`,
		`{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web, labels: {app: web}}, spec: {nodeName: n1}, status: {podIP: "::ffff:10.0.0.1"}}`,
		`{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: web}, spec: {clusterIP: "::ffff:10.96.0.1", selector: {app: web}, ports: [{port: 80}]}}`,
	)
	if e := s.EndpointAt(netip.MustParseAddr("10.0.0.1")); e.Pod() != shop("web") {
		t.Errorf("10.0.0.1 is pod %v", e.Pod())
	}
	from := netpol.Peer{Addr: netip.MustParseAddr("172.16.0.1")}
	v := s.Evaluate(netpol.Connection{From: from, To: netpol.Peer{Addr: netip.MustParseAddr("10.96.0.1")}, Port: 80})
	if v.Resolved == nil || v.Resolved.Backend != shop("web") || v.Ingress.Reason != netpol.OwnNode {
		t.Errorf("from the node to the Service: %+v", v)
	}
}

func TestEndpoint(t *testing.T) {
	s := compiled(t, podWeb, podHost, podDone, podAPI)
	if e := s.Endpoint(shop("web")); e.Pod() != shop("web") || e.Addr.String() != "10.0.0.1" {
		t.Errorf("endpoint of web: %v at %v", e.Pod(), e.Addr)
	}
	for _, name := range []string{"host", "done", "nosuch"} {
		if e := s.Endpoint(shop(name)); e != (netpol.Endpoint{}) {
			t.Errorf("%s has no identity, yet its endpoint is %v at %v", name, e.Pod(), e.Addr)
		}
	}
}

func TestNamedPorts(t *testing.T) {
	s := compiled(t, podWeb, podAPI)
	api := s.EndpointAt(netip.MustParseAddr("10.0.0.2"))
	for _, tc := range []struct {
		name     string
		protocol corev1.Protocol
		want     []uint16
	}{
		{"http", corev1.ProtocolTCP, []uint16{80, 8080}},
		{"http", corev1.ProtocolUDP, nil},
		{"dns", corev1.ProtocolUDP, []uint16{53}},
		{"huge", corev1.ProtocolTCP, nil},
		{"nosuch", corev1.ProtocolTCP, nil},
	} {
		if got := api.NamedPorts(tc.name, tc.protocol); !slices.Equal(got, tc.want) {
			t.Errorf("%s %s: %v, want %v", tc.protocol, tc.name, got, tc.want)
		}
	}
	if got := (netpol.Endpoint{}).NamedPorts("http", corev1.ProtocolTCP); got != nil {
		t.Errorf("an address has named ports %v", got)
	}
}

func TestRuleSet(t *testing.T) {
	s := compiled(t, podWeb, podHost, podDone, podAPI, policyIn, policyAll)
	set := s.RuleSet(shop("api"), netpol.Ingress)
	if !set.Isolated || len(set.Tiers[netpol.NetworkPolicies]) != 2 || set.Key() == "" {
		t.Fatalf("ingress of api: isolated %v, %d rules, key %q", set.Isolated, len(set.Tiers[netpol.NetworkPolicies]), set.Key())
	}
	if got := set.By[0].Name + " " + set.By[1].Name; got != "all in" {
		t.Errorf("isolated by %q, want all and in, in order of name", got)
	}
	want := netpol.Origin{Kind: "NetworkPolicy", Namespace: "shop", Name: "in", Index: 1, Path: "spec.ingress[1]", Commit: "c0ffee"}
	if set.Tiers[netpol.NetworkPolicies][1].Origin != want {
		t.Errorf("origin %+v, want %+v", set.Tiers[netpol.NetworkPolicies][1].Origin, want)
	}
	if by := *set.By[0]; by.Index != -1 || by.Path != "spec" || by.Direction != netpol.Ingress {
		t.Errorf("the origin of a policy as a whole is %+v", by)
	}
	if set = s.RuleSet(shop("api"), netpol.Egress); !set.Isolated || len(set.By) != 1 || len(set.Tiers[netpol.NetworkPolicies]) != 0 {
		t.Errorf("egress of api: %+v", set)
	}
	for _, name := range []string{"host", "done", "nosuch"} {
		if set = s.RuleSet(shop(name), netpol.Ingress); set.Isolated || set.By != nil || set.Tiers[netpol.NetworkPolicies] != nil {
			t.Errorf("%s has no identity, yet is governed by %+v", name, set)
		}
	}
}

// Keys decide which pods share rules; names with faults must not make two sets look alike.
func TestRuleSetKeyIsUnambiguous(t *testing.T) {
	labelled := func(name, pod string) string {
		return `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: "` + name +
			`"}, spec: {podSelector: {matchLabels: {` + pod + `: "1"}}, ingress: [{ports: [{port: ` + pod[1:] + `}]}]}}`
	}
	pod := func(name string) string {
		return `{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: ` + name + `, labels: {` + name + `: "1"}}, status: {podIP: 10.0.0.` + name[1:] + `}}`
	}
	objs := objectsOf(t, pod("p1"), pod("p2"), labelled("a;shop/b", "p1"), labelled("a", "p2"), labelled("b", "p2"))
	objs.Policies[2].Spec.Ingress = nil
	s, err := netpol.Compile(objs)
	if len(netpol.ObjectErrors(err)) != 1 {
		t.Fatalf("faults: %v", err)
	}
	for _, port := range []uint16{1, 2} {
		c := netpol.Connection{From: netpol.Peer{Addr: netip.MustParseAddr("192.0.2.1")}, To: netpol.Peer{Pod: shop("p2")}, Port: port}
		if v := s.Evaluate(c); v.Allowed != (port == 2) {
			t.Errorf("port %d of p2: allowed %v by %s", port, v.Allowed, v.Ingress.Rule)
		}
	}
}

func TestVerdictJSON(t *testing.T) {
	s := compiled(t, podWeb, podAPI, policyIn)
	v := s.Evaluate(netpol.Connection{From: netpol.Peer{Pod: shop("web")}, To: netpol.Peer{Pod: shop("api")}, Port: 80})
	got, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"allowed":true,"egress":{"allowed":true,"isolated":false,"reason":"NotIsolated"},
	 "ingress":{"allowed":true,"isolated":true,"reason":"RuleMatched","rule":{"kind":"NetworkPolicy","namespace":"shop","name":"in",
	 "direction":"Ingress","index":0,"path":"spec.ingress[0]","commit":"c0ffee"}}}`
	if !sameJSON(t, got, []byte(want)) {
		t.Errorf("verdict\n got  %s\n want %s", got, want)
	}
}

func TestDecider(t *testing.T) {
	allow, deny := netpol.Decision{Allowed: true}, netpol.Decision{}
	for _, tc := range []struct {
		v    netpol.Verdict
		want netpol.Direction
	}{
		{netpol.Verdict{Egress: allow, Ingress: allow}, netpol.Ingress},
		{netpol.Verdict{Egress: allow, Ingress: deny}, netpol.Ingress},
		{netpol.Verdict{Egress: deny, Ingress: allow}, netpol.Egress},
		{netpol.Verdict{Egress: deny, Ingress: deny}, netpol.Egress},
	} {
		if d, _ := tc.v.Decider(); d != tc.want {
			t.Errorf("%+v is decided by %s, want %s", tc.v, d, tc.want)
		}
	}
}

func TestDirection(t *testing.T) {
	if got := netpol.Ingress.String() + netpol.Egress.String(); got != "IngressEgress" {
		t.Errorf("directions are called %s", got)
	}
}

func TestStrings(t *testing.T) {
	s := compiled(t, podAPI, `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: api}, spec: {podSelector: {},
	 ingress: [{ports: [{port: 443}, {port: 1000, endPort: 2000, protocol: UDP}, {port: http}, {protocol: SCTP}]}]}}`)
	set := s.RuleSet(shop("api"), netpol.Ingress)
	var ports []string
	for _, p := range set.Tiers[netpol.NetworkPolicies][0].Ports {
		ports = append(ports, p.String())
	}
	if got := strings.Join(ports, " "); got != "TCP/443 UDP/1000-2000 TCP/http SCTP/*" {
		t.Errorf("ports %s", got)
	}
	if got := set.Tiers[netpol.NetworkPolicies][0].Origin.String(); got != "NetworkPolicy shop/api spec.ingress[0]" {
		t.Errorf("origin %s", got)
	}
	if got := (*netpol.Origin)(nil).String(); got != "" {
		t.Errorf("no origin is %q", got)
	}
}

func TestPeerMatchKey(t *testing.T) {
	s := compiled(t, podAPI, `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: api}, spec: {podSelector: {}, ingress: [{from: [
	 {podSelector: {}}, {namespaceSelector: {}}, {namespaceSelector: {}, podSelector: {}}, {namespaceSelector: {matchLabels: {a: b}}},
	 {ipBlock: {cidr: 10.0.0.0/8}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/9]}}, {ipBlock: {cidr: 10.1.1.1/8}}]}]}}`)
	rules := s.RuleSet(shop("api"), netpol.Ingress).Tiers[netpol.NetworkPolicies]
	same := map[string][]int{}
	for i := range rules[0].Peers {
		key := rules[0].Peers[i].Key()
		same[key] = append(same[key], i)
	}
	for key, peers := range same {
		alike := slices.Equal(peers, []int{1, 2}) || slices.Equal(peers, []int{4, 6})
		if len(peers) > 1 && !alike {
			t.Errorf("peers %v share the key %q", peers, key)
		}
	}
	if len(same) != 5 {
		t.Errorf("%d keys, want 5: %v", len(same), same)
	}
}

func TestMatchesPrefix(t *testing.T) {
	s := compiled(t, podAPI, `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: api}, spec: {podSelector: {}, ingress: [{from: [
	 {ipBlock: {cidr: 10.0.0.0/8, except: [10.9.0.0/16]}}, {podSelector: {}}]}]}}`)
	rules := s.RuleSet(shop("api"), netpol.Ingress).Tiers[netpol.NetworkPolicies]
	for prefix, want := range map[string]bool{
		"10.0.0.0/8": true, "10.1.0.0/16": true, "10.9.0.0/16": false, "10.9.1.0/24": false, "10.8.0.0/15": true,
		"0.0.0.0/0": false, "11.0.0.0/8": false, "::/0": false,
	} {
		if got := rules[0].Peers[0].MatchesPrefix(netip.MustParsePrefix(prefix)); got != want {
			t.Errorf("the block matches %s: %v, want %v", prefix, got, want)
		}
		if rules[0].Peers[1].MatchesPrefix(netip.MustParsePrefix(prefix)) {
			t.Errorf("a podSelector matches the range %s", prefix)
		}
	}
}

// Two ends with both families, in opposite order: the addresses compared must be of one family.
func TestOneFamilyAConnection(t *testing.T) {
	s := compiled(
		t, podWeb,
		`{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: six, labels: {app: six}}, status: {podIP: "fd00::6", podIPs: [{ip: "fd00::6"}, {ip: 10.0.0.6}]}}`,
		`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: out}, spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress],
		 egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}}`,
		`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: in}, spec: {podSelector: {matchLabels: {app: six}},
		 ingress: [{from: [{ipBlock: {cidr: "::/0"}}]}]}}`,
	)
	v := s.Evaluate(netpol.Connection{From: netpol.Peer{Pod: shop("web")}, To: netpol.Peer{Pod: shop("six")}, Port: 80})
	if v.Egress.Allowed == v.Ingress.Allowed {
		t.Errorf("IPv4 on one side and IPv6 on the other: egress %s, ingress %s", v.Egress.Reason, v.Ingress.Reason)
	}
}
