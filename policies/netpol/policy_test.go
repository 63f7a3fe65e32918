// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// policyOf is a policy shop/api with the given spec in YAML's flow style.
func policyOf(tb testing.TB, spec string) *networkingv1.NetworkPolicy {
	tb.Helper()
	return objectsOf(tb, "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: api, "+
		"annotations: {bulkhead.dev/approved-commit: c0ffee}}, spec: "+spec+"}").Policies[0]
}

func objectsOf(tb testing.TB, documents ...string) netpol.Objects {
	tb.Helper()
	objs, err := corpus.ParseObjects([]byte(strings.Join(documents, "\n---\n")))
	if err != nil {
		tb.Fatal(err)
	}
	return objs
}

func compiled(tb testing.TB, documents ...string) *netpol.Snapshot {
	tb.Helper()
	s, err := netpol.Compile(objectsOf(tb, documents...))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// rulePeers is the number of peers that the object gives the rule of a view.
func rulePeers(np *networkingv1.NetworkPolicy, r netpol.RuleView) int {
	if r.Direction == netpol.Egress.String() {
		return len(np.Spec.Egress[r.Index].To)
	}
	return len(np.Spec.Ingress[r.Index].From)
}

// The messages say what is wrong, with the value, and what would be right.
func TestValidateMessages(t *testing.T) {
	for _, tc := range []struct{ spec, want string }{
		{`{policyTypes: [ingress]}`, `spec.policyTypes[0]: "ingress" is neither Ingress nor Egress`},
		{`{policyTypes: [Ingress, Egress, Egress]}`, `spec.policyTypes: at most Ingress and Egress, got 3 entries`},
		{`{podSelector: {matchExpressions: [{key: app, operator: Is}]}}`, `spec.podSelector: invalid label selector: "Is" is not a valid label selector operator`},
		{`{ingress: [{from: [{}]}]}`, `spec.ingress[0].from[0]: one of podSelector, namespaceSelector and ipBlock is required`},
		{`{ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}`, `spec.ingress[0].from[0]: ipBlock cannot be combined with podSelector or namespaceSelector; make them two entries`},
		{`{egress: [{to: [{ipBlock: {cidr: 10.0.0.0}}]}]}`, `spec.egress[0].to[0].ipBlock.cidr: "10.0.0.0" is not a range of addresses such as 10.0.0.0/8 or 2001:db8::/32`},
		{`{egress: [{to: [{ipBlock: {cidr: "::ffff:10.0.0.0/104"}}]}]}`, `spec.egress[0].to[0].ipBlock.cidr: "::ffff:10.0.0.0/104" is an IPv4-mapped IPv6 range; write it as IPv4`},
		{`{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]}`, `spec.egress[0].to[0].ipBlock.except[0]: 11.0.0.0/16 is not a strict part of 10.0.0.0/8`},
		{`{ingress: [{ports: [{port: 70000}]}]}`, `spec.ingress[0].ports[0].port: 70000 is not between 1 and 65535`},
		{`{ingress: [{ports: [{port: 0, endPort: 70}]}]}`, `spec.ingress[0].ports[0].port: 0 is not between 1 and 65535`},
		{`{ingress: [{ports: [{port: 80, endPort: 70}]}]}`, `spec.ingress[0].ports[0].endPort: 70 is not between port 80 and 65535`},
		{`{ingress: [{ports: [{endPort: 70}]}]}`, `spec.ingress[0].ports[0].endPort: endPort needs port, the first of the range`},
		{`{ingress: [{ports: [{port: web, endPort: 70}]}]}`, `spec.ingress[0].ports[0].endPort: endPort cannot be used with the named port "web"`},
		{`{ingress: [{ports: [{port: "80"}]}]}`, `spec.ingress[0].ports[0].port: "80": must contain at least one letter`},
		{`{ingress: [{ports: [{protocol: ICMP}]}]}`, `spec.ingress[0].ports[0].protocol: "ICMP" is none of TCP, UDP and SCTP`},
	} {
		faults := netpol.Validate(policyOf(t, tc.spec))
		if len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), "NetworkPolicy shop/api: "+tc.want) {
			t.Errorf("%s:\n got  %v\n want NetworkPolicy shop/api: %s", tc.spec, faults, tc.want)
		}
	}
}

func TestValidateSound(t *testing.T) {
	np := policyOf(t, `{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{to: [{ipBlock: {cidr: "::/0"}}]}]}`)
	if faults := netpol.Validate(np); faults != nil {
		t.Errorf("faults of a sound policy: %v", faults)
	}
}

func TestValidateNames(t *testing.T) {
	np := policyOf(t, `{}`)
	np.Name, np.Namespace = "", ""
	faults := netpol.Validate(np)
	if len(faults) != 2 || faults[0].Path != "metadata.name" || faults[1].Path != "metadata.namespace" {
		t.Errorf("faults without a name: %v", faults)
	}
	np.Name, np.Namespace = "ok", "Not Ok"
	if faults = netpol.Validate(np); len(faults) != 1 || !strings.Contains(faults[0].Problem, `"Not Ok"`) {
		t.Errorf("faults of a bad namespace: %v", faults)
	}
}

func TestObjectErrors(t *testing.T) {
	_, err := netpol.Compile(netpol.Objects{Policies: []*networkingv1.NetworkPolicy{
		policyOf(t, `{policyTypes: [a, b]}`), policyOf(t, `{}`),
	}})
	wrapped := fmt.Errorf("load the policies: %w", fmt.Errorf("again: %w", err))
	for _, e := range []error{err, wrapped, errors.Join(errors.New("another"), wrapped)} {
		got := netpol.ObjectErrors(e)
		if len(got) != 3 || got[0].Path != "spec.policyTypes[0]" || got[2].Path != "metadata.name" {
			t.Errorf("faults in %q: %v", e, got)
		}
	}
	if one := netpol.ObjectErrors(netpol.ObjectErrors(err)[1]); len(one) != 1 || one[0].Path != "spec.policyTypes[1]" {
		t.Errorf("faults of one fault: %v", one)
	}
	if got := netpol.ObjectErrors(errors.New("another")); got != nil {
		t.Errorf("faults in an error of another kind: %v", got)
	}
	if got := netpol.ObjectErrors(nil); got != nil {
		t.Errorf("faults of nil: %v", got)
	}
}

func TestView(t *testing.T) {
	for _, tc := range []struct{ name, spec, want string }{
		{"default deny", `{podSelector: {}}`, `{"namespace":"shop","name":"api","selectsAll":true,"isolates":["Ingress"],"allows":[]}`},
		{
			"everything", `{podSelector: {matchLabels: {app: api}}, ingress: [{}], policyTypes: [Ingress, Egress]}`,
			`{"namespace":"shop","name":"api","selectsAll":false,"isolates":["Ingress","Egress"],"allows":[
			 {"direction":"Ingress","index":0,"path":"spec.ingress[0]","everyone":true,"allPorts":true,"peers":[],"ports":[]}]}`,
		},
		{"a direction that does not isolate", `{podSelector: {}, policyTypes: [Egress], ingress: [{}]}`, `{"namespace":"shop","name":"api","selectsAll":true,"isolates":["Egress"],"allows":[]}`},
		{
			"peers", `{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}, {namespaceSelector: {}},
			 {namespaceSelector: {matchLabels: {team: ops}}, podSelector: {}}, {ipBlock: {cidr: 10.1.2.3/8, except: [10.9.0.0/16]}}]}]}`,
			`{"namespace":"shop","name":"api","selectsAll":true,"isolates":["Ingress"],"allows":[
			 {"direction":"Ingress","index":0,"path":"spec.ingress[0]","everyone":false,"allPorts":true,"ports":[],"peers":[
			 {"path":"spec.ingress[0].from[0]","allNamespaces":false,"allPods":false,"namespaceSelector":"kubernetes.io/metadata.name=shop","podSelector":"app=web"},
			 {"path":"spec.ingress[0].from[1]","allNamespaces":true,"allPods":true},
			 {"path":"spec.ingress[0].from[2]","allNamespaces":false,"allPods":true,"namespaceSelector":"team=ops"},
			 {"path":"spec.ingress[0].from[3]","allNamespaces":false,"allPods":false,"cidr":"10.0.0.0/8","except":["10.9.0.0/16"]}]}]}`,
		},
		{
			"ports", `{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 443}, {protocol: UDP}, {port: 1, endPort: 9, protocol: SCTP}, {port: http}]}]}`,
			`{"namespace":"shop","name":"api","selectsAll":true,"isolates":["Egress"],"allows":[
			 {"direction":"Egress","index":0,"path":"spec.egress[0]","everyone":true,"allPorts":false,"peers":[],"ports":[
			 {"path":"spec.egress[0].ports[0]","protocol":"TCP","from":443,"to":443},
			 {"path":"spec.egress[0].ports[1]","protocol":"UDP","from":0,"to":65535},
			 {"path":"spec.egress[0].ports[2]","protocol":"SCTP","from":1,"to":9},
			 {"path":"spec.egress[0].ports[3]","protocol":"TCP","from":0,"to":0,"name":"http"}]}]}`,
		},
		{
			"faults are left out, and the index stays", `{podSelector: {matchExpressions: [{key: a, operator: b}]}, ingress: [{from: [{}]},
			 {from: [{}, {podSelector: {}}, {namespaceSelector: {}, podSelector: {matchLabels: {-: x}}}]}]}`,
			`{"namespace":"shop","name":"api","selectsAll":false,"isolates":["Ingress"],"allows":[
			 {"direction":"Ingress","index":1,"path":"spec.ingress[1]","everyone":false,"allPorts":true,"ports":[],"peers":[
			 {"path":"spec.ingress[1].from[1]","allNamespaces":false,"allPods":true,"namespaceSelector":"kubernetes.io/metadata.name=shop"}]}]}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := json.Marshal(netpol.View(policyOf(t, tc.spec)))
			if err != nil {
				t.Fatal(err)
			}
			if !sameJSON(t, got, []byte(tc.want)) {
				t.Errorf("view of %s:\n got  %s\n want %s", tc.spec, got, tc.want)
			}
		})
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var canonical [2]string
	for i, data := range [][]byte{a, b} {
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		canonical[i] = string(again)
	}
	return canonical[0] == canonical[1]
}

// The order of a map must not show in what people read, nor make an old fault look new.
func TestFaultsOfLabelsAreAlwaysTheSame(t *testing.T) {
	np := &networkingv1.NetworkPolicy{}
	np.Namespace, np.Name = "shop", "api"
	np.Spec.PodSelector.MatchLabels = map[string]string{"b b": "1", "a a": "1", "c": "-", "d": "fine"}
	for range 20 {
		if f := netpol.Validate(np); len(f) != 1 || !strings.Contains(f[0].Problem, `"a a"`) {
			t.Fatalf("got %v, want one fault, about the first label in order", f)
		}
	}
}
