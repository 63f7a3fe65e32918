// SPDX-License-Identifier: Apache-2.0

package evidence_test

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	goruntime "runtime"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
)

func workload(namespace, name string) edge.Endpoint {
	return edge.Endpoint{Kind: "Deployment", Namespace: namespace, Name: name}
}

func address(text string) edge.Endpoint {
	return edge.Endpoint{Addr: netip.MustParseAddr(text), Entity: "world"}
}

var (
	web, api, other = workload("shop", "web"), workload("shop", "api"), workload("bank", "other")
	inv             = inventory.New([]runtime.Object{deployment(web), deployment(api), deployment(other)})
	criteria        = evidence.Criteria{MinFlows: 2, ScanPorts: 3, ScanTargets: 3}
)

func deployment(e edge.Endpoint) runtime.Object {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: e.Name},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": e.Name}}},
	}
}

// seen is one connection and how often it was seen.
type seen struct {
	from, to edge.Endpoint
	port     uint16
	flows    int
	verdict  flows.Verdict
}

func sort(t *testing.T, all ...seen) evidence.Evidence {
	t.Helper()
	fold := edge.NewFold(1 << 20)
	for i, s := range all {
		k := edge.Key{From: s.from, To: s.to, Protocol: corev1.ProtocolTCP, Port: s.port, Side: flows.Egress, Verdict: s.verdict}
		for n := range s.flows {
			if err := fold.Add(k, edge.Observation{ID: uint64(i*1000 + n), Time: time.Unix(int64(n), 0)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	e := evidence.Sort(fold.Edges(), inv, criteria)
	return e
}

func parse(t *testing.T, decisions string) *plan.Plan {
	t.Helper()
	p, err := plan.Parse([]byte("apiVersion: bulkhead.dev/v1alpha1\nkind: Plan\ndecisions:\n" + decisions))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// decide returns what is learned for the shop, and the reasons of what is not.
func decide(t *testing.T, e evidence.Evidence, p *plan.Plan, approved evidence.Approved) (learned []string, listed map[string]evidence.Reason, d *evidence.Decided) {
	t.Helper()
	d, err := e.Decide("shop", p, approved)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range d.Connections {
		learned = append(learned, c.String())
	}
	listed = map[string]evidence.Reason{}
	for _, l := range d.Listed {
		k := l.Edge.Key
		listed[edge.Key{From: k.From, To: k.To, Protocol: k.Protocol, Port: k.Port}.String()] = l.Reason
	}
	return learned, listed, d
}

func TestDoubts(t *testing.T) {
	const pass, drop = flows.Forwarded, flows.Dropped
	everyday := seen{web, api, 80, 9, pass}
	scan := func(n int, flows int, to func(i int) (edge.Endpoint, uint16)) (all []seen) {
		for i := range n {
			end, port := to(i)
			all = append(all, seen{web, end, port, flows, pass})
		}
		return all
	}
	ports := func(i int) (edge.Endpoint, uint16) { return api, uint16(1000 + i) }
	targets := func(i int) (edge.Endpoint, uint16) { return address(fmt.Sprintf("203.0.113.%d", i)), 22 }
	for name, c := range map[string]struct {
		all      []seen
		approved evidence.Approved
		learned  int
		reason   evidence.Reason // of all that is not learned
	}{
		"seen often":              {[]seen{everyday}, nil, 1, ""},
		"seen once":               {[]seen{everyday, {web, api, 81, 1, pass}}, nil, 1, evidence.OneOff},
		"dropped":                 {[]seen{everyday, {web, api, 81, 9, drop}}, nil, 1, evidence.Denied},
		"passed and dropped":      {[]seen{everyday, {web, api, 80, 9, drop}}, nil, 1, evidence.Denied},
		"a few ports":             {scan(3, 2, ports), nil, 3, ""},
		"many ports":              {append(scan(4, 2, ports), everyday), nil, 1, evidence.Scan},
		"many ports, again":       {scan(9, 18, ports), nil, 0, evidence.Scan},
		"many ports in use":       {scan(9, 19, ports), nil, 9, ""},
		"many targets":            {append(scan(4, 2, targets), everyday), nil, 1, evidence.Scan},
		"many targets in use":     {scan(9, 19, targets), nil, 9, ""},
		"from the outside":        {[]seen{{address("203.0.113.1"), web, 443, 99, pass}}, nil, 0, evidence.Outside},
		"from a node":             {[]seen{{edge.Endpoint{Addr: netip.MustParseAddr("10.0.0.9"), Entity: inventory.EntityRemoteNode}, web, 443, 9, pass}}, nil, 1, ""},
		"from elsewhere":          {[]seen{{other, api, 80, 9, pass}}, nil, 1, ""},
		"from elsewhere, new":     {[]seen{{other, api, 80, 9, pass}}, approved(), 0, evidence.NewPeer},
		"from elsewhere, known":   {[]seen{{other, api, 80, 9, pass}}, approved(seen{other, web, 80, 9, pass}), 2, ""},
		"to elsewhere, new":       {[]seen{{api, other, 80, 9, pass}}, approved(), 1, ""},
		"approved, seen once":     {[]seen{{web, api, 80, 1, pass}}, approved(seen{web, api, 80, 9, pass}), 1, ""},
		"approved, not seen":      {nil, approved(seen{web, api, 80, 9, pass}), 1, ""},
		"approved, dropped":       {[]seen{{web, api, 80, 9, drop}}, approved(seen{web, api, 80, 9, pass}), 1, evidence.Denied},
		"not of the namespace":    {[]seen{{other, address("203.0.113.1"), 80, 1, drop}}, nil, 0, ""},
		"of an unknown workload":  {[]seen{{workload("shop", "ghost"), api, 80, 9, pass}}, nil, 0, evidence.NoWorkload},
		"dropped, of an unknown":  {[]seen{{workload("shop", "ghost"), api, 80, 9, drop}}, nil, 0, evidence.Denied},
		"to a Service, unsettled": {[]seen{{web, edge.Endpoint{Addr: netip.MustParseAddr("10.96.0.1"), Entity: inventory.EntityService}, 80, 9, pass}}, nil, 0, evidence.ServiceAddress},
	} {
		learned, listed, _ := decide(t, sort(t, c.all...), nil, c.approved)
		if len(learned) != c.learned {
			t.Errorf("%s: learned %q, want %d", name, learned, c.learned)
		}
		for connection, reason := range listed {
			if reason != c.reason {
				t.Errorf("%s: %s is listed as %s, want %q", name, connection, reason, c.reason)
			}
		}
		if (len(listed) > 0) != (c.reason != "") {
			t.Errorf("%s: listed %v", name, listed)
		}
	}
}

// approved is what a namespace's evidence.json says of connections.
func approved(all ...seen) evidence.Approved {
	out := evidence.Approved{}
	for _, s := range all {
		k := edge.Key{From: s.from, To: s.to, Protocol: corev1.ProtocolTCP, Port: s.port}
		out[k] = edge.Edge{Key: k, Evidence: edge.Evidence{First: time.Unix(1, 0), Last: time.Unix(2, 0)}}
	}
	return out
}

// TestApprovedStays: what was approved needs no second proof, and goes when its workload or the plan says so.
func TestApprovedStays(t *testing.T) {
	ghost := workload("shop", "ghost")
	before := approved(seen{web, api, 80, 9, ""}, seen{web, api, 81, 9, ""}, seen{ghost, api, 80, 9, ""})
	learned, listed, d := decide(t, sort(t, seen{web, api, 80, 9, flows.Forwarded}), parse(t, "- {reject: {from: shop/web, to: shop/api, ports: [TCP/81]}, reason: no}\n"), before)
	if len(learned) != 1 || len(listed) != 1 || !slices.Equal(d.Gone, []string{"Deployment shop/ghost → Deployment shop/api TCP/80"}) {
		t.Errorf("learned %q, listed %v, gone %q", learned, listed, d.Gone)
	}
	if e := d.Connections[0].Evidence; !e.First.Equal(time.Unix(0, 0)) || !e.Last.Equal(time.Unix(8, 0)) {
		t.Errorf("seen from %s to %s: newer evidence counts", e.First, e.Last)
	}
}

// TestTooMany: what had no place in a sample of edges is listed, with all that was seen of it.
func TestTooMany(t *testing.T) {
	fold := edge.NewSample(edge.Limits{Group: 2})
	add := func(from edge.Endpoint, port uint16) {
		k := edge.Key{From: from, To: web, Protocol: corev1.ProtocolTCP, Port: port, Side: flows.Ingress, Verdict: flows.Forwarded}
		if err := fold.Add(k, edge.Observation{ID: uint64(port)<<16 | uint64(from.Addr.As16()[15]), Time: time.Unix(1, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range byte(5) {
		add(edge.Endpoint{Addr: netip.AddrFrom4([4]byte{203, 0, 113, n})}, 8080)
		add(api, 9000+uint16(n))
	}
	edges := fold.Edges()
	for _, o := range fold.Overflows() {
		edges = append(edges, o.Edge())
	}
	e := evidence.Sort(edges, inv, criteria)
	listed := map[string]uint64{}
	for _, l := range e.Listed {
		if l.Reason == evidence.TooMany {
			listed[l.Edge.String()], _ = l.Edge.Flows.Value()
		}
	}
	want := map[string]uint64{"others → Deployment shop/web TCP/8080": 3, "Deployment shop/api → Deployment shop/web TCP": 3}
	if !maps.Equal(listed, want) || len(e.Listed) != len(want) {
		t.Errorf("listed are %v, want %v", listed, want)
	}
}

// TestKnownEnds: what is observed without a direction is no question where the same ends are observed with one.
func TestKnownEnds(t *testing.T) {
	passed, dropped := flows.Forwarded, flows.Dropped
	unknown := edge.Key{From: api, To: web, Protocol: corev1.ProtocolTCP, Verdict: passed}
	change := func(f func(*edge.Key)) edge.Key { k := unknown; f(&k); return k }
	service := func(k *edge.Key) { k.From, k.To = web, address("10.96.0.9") }
	tests := []struct {
		name string
		key  edge.Key // without a direction
		also seen
		want evidence.Reason
	}{
		{"a connection the other way", unknown, seen{web, api, 80, 9, passed}, evidence.KnownEnds},
		{"a connection the same way", unknown, seen{api, web, 80, 9, passed}, evidence.KnownEnds},
		{"one that was denied", unknown, seen{web, api, 80, 9, dropped}, evidence.DirectionUnknown},
		{"one of other ends", unknown, seen{web, other, 80, 9, passed}, evidence.DirectionUnknown},
		{"another protocol", change(func(k *edge.Key) { k.Protocol = corev1.ProtocolUDP }), seen{web, api, 80, 9, passed}, evidence.DirectionUnknown},
		{"a Service's address", change(service), seen{web, api, 80, 9, passed}, evidence.KnownEnds},
		{"a Service's address, and others", change(service), seen{api, other, 80, 9, passed}, evidence.DirectionUnknown},
		{"an address by another word", change(func(k *edge.Key) { k.To = edge.Endpoint{Addr: netip.MustParseAddr("192.0.2.1"), Entity: "unknown"} }), seen{address("192.0.2.1"), api, 80, 9, passed}, evidence.KnownEnds},
		{"it was dropped itself", change(func(k *edge.Key) { k.Verdict = dropped }), seen{web, api, 80, 9, passed}, evidence.Denied},
	}
	behind := deployment(api).(*appsv1.Deployment)
	behind.Spec.Template.Labels = map[string]string{"app": "api"}
	inv := inventory.New([]runtime.Object{deployment(web), behind, deployment(other), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "api"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.9", Selector: map[string]string{"app": "api"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}})
	for _, tt := range tests {
		fold := edge.NewFold(1 << 10)
		also := edge.Key{From: tt.also.from, To: tt.also.to, Protocol: corev1.ProtocolTCP, Port: tt.also.port, Side: flows.Egress, Verdict: tt.also.verdict}
		for i, k := range []edge.Key{tt.key, also} {
			if err := fold.Add(k, edge.Observation{ID: uint64(i), Time: time.Unix(1, 0)}); err != nil {
				t.Fatal(err)
			}
		}
		got := evidence.Sort(fold.Edges(), inv, criteria)
		i := slices.IndexFunc(got.Listed, func(l evidence.Listed) bool { return l.Edge.Side == flows.SideUnknown })
		if i < 0 || got.Listed[i].Reason != tt.want {
			t.Errorf("%s: listed %+v, want %s", tt.name, got.Listed, tt.want)
		}
	}
}

func TestPlanDecides(t *testing.T) {
	e := sort(t, seen{web, api, 80, 9, flows.Forwarded}, seen{web, api, 80, 3, flows.Dropped}, seen{web, api, 81, 1, flows.Forwarded},
		seen{api, web, 8080, 9, flows.Forwarded}, seen{address("203.0.113.9"), web, 443, 9, flows.Forwarded})
	learned, listed, d := decide(t, e, parse(t, `
- {accept: {from: shop/web, to: shop/api}, reason: nightly job}
- {reject: {from: shop/api, to: shop/web}, reason: a bug}
- {accept: {from: 203.0.113.0/28, to: shop/web}, reason: the office}
- {reject: {from: evil/*, to: shop/*}, reason: who is that}
`), nil)
	want := []string{"Deployment shop/web → Deployment shop/api TCP/80", "Deployment shop/web → Deployment shop/api TCP/81", "203.0.113.9 → Deployment shop/web TCP/443"}
	if !slices.Equal(learned, want) {
		t.Errorf("learned %q, want %q", learned, want)
	}
	if !maps.Equal(listed, map[string]evidence.Reason{"Deployment shop/api → Deployment shop/web TCP/8080": evidence.Rejected}) {
		t.Errorf("listed %v", listed)
	}
	if len(d.Unused) != 1 || d.Unused[0] != "reject evil/* → shop/*" {
		t.Errorf("unused %q", d.Unused)
	}
	if n, _ := d.Connections[0].Evidence.Flows.Value(); n != 12 {
		t.Errorf("%d flows, want those that passed and those that were dropped", n)
	}
	if got := d.Connections[2].Block().String(); got != "203.0.113.0/28" {
		t.Errorf("the office is %s", got)
	}
}

// TestAgreed: what two namespaces take part in counts if both learn it.
func TestAgreed(t *testing.T) {
	e := sort(t, seen{web, api, 80, 9, flows.Forwarded}, seen{other, api, 80, 9, flows.Forwarded})
	refusal := map[string]*plan.Plan{"bank": parse(t, "- {reject: {from: bank/other, to: shop/api}, reason: no}\n")}
	for _, c := range []struct {
		namespaces []string
		want       int
	}{{[]string{"shop"}, 2}, {[]string{"shop", "bank"}, 1}, {[]string{"bank"}, 0}, {nil, 0}} {
		got, err := e.Agreed(c.namespaces, refusal)
		if err != nil || len(got) != c.want {
			t.Errorf("%v: %d connections, %v, want %d", c.namespaces, len(got), err, c.want)
		}
	}
}

// TestSortOnManyCores: what is in doubt does not depend on how many cores there are.
func TestSortOnManyCores(t *testing.T) {
	var all []seen
	for i := range uint16(1500) { // of each source more than a part
		all = append(all, seen{web, api, 1000 + i, 1 + int(i%3), flows.Forwarded}, seen{api, other, 1000 + i%40, 9, flows.Dropped},
			seen{address(fmt.Sprintf("203.0.%d.%d", i/256, i%256)), web, 443, 9, flows.Forwarded}, seen{other, workload("bank", "ghost"), i, 1, flows.Forwarded})
	}
	decided := func(cores int) (out []any) {
		defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(cores))
		e := sort(t, all...)
		for _, namespace := range e.Namespaces() {
			d, err := e.Decide(namespace, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, namespace, d)
		}
		return append(out, e.Elsewhere(func(string) bool { return false }))
	}
	if one, four := decided(1), decided(4); len(one) != 5 || !reflect.DeepEqual(one, four) {
		t.Errorf("%d cores decide otherwise than one", 4)
	}
}
