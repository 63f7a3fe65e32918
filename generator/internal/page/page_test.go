// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"golang.org/x/net/html"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/readiness"
	"github.com/bulkhead-dev/bulkhead/generator/internal/synth"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

func TestSaysWhatIsKnown(t *testing.T) {
	p, stats := observed(t)
	text := textOf(parse(t, pagesOf(t, p, stats)["boutique.html"]))
	for _, want := range []string{
		"Not ready to be enforced", "observed on 2 of 7 days",
		"- reject: from: Deployment boutique/", "- accept: from: Deployment boutique/", "clusters/prod/boutique/plan.yaml",
		"Deployment boutique/checkoutservice Deployment boutique/paymentservice TCP/50051", "paymentservice.yaml spec.ingress[0]",
		"Dropped by a policy that is in place.", "one of 40 ports that were tried and hardly used",
		fmt.Sprintf("flows read %d", stats.Flows), "NetworkPolicy has no word for ICMP",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestSameBytes(t *testing.T) {
	p, stats := observed(t)
	want := pagesOf(t, p, stats)
	for range 5 {
		for name, content := range pagesOf(t, p, stats) {
			if !bytes.Equal(content, want[name]) {
				t.Fatalf("%s differs from one time to the next", name)
			}
		}
	}
}

// TestPlanLines pastes each text below the head of a plan: it must decide about every connection of its question.
func TestPlanLines(t *testing.T) {
	p, stats := observed(t)
	var head string
	var pasted []string
	for n := range parse(t, pagesOf(t, p, stats)["boutique.html"]).Descendants() {
		switch {
		case n.Type != html.ElementNode || n.Data != "pre":
		case strings.HasPrefix(n.FirstChild.Data, "apiVersion"):
			head = n.FirstChild.Data
		default:
			pasted = append(pasted, n.FirstChild.Data)
		}
	}
	decided := map[edge.Key]int{}
	for _, text := range pasted {
		decisions, err := plan.Parse([]byte(head + text))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		for _, l := range p.Namespaces[0].Listed {
			if d := decisions.Decide(l.Edge.From, l.Edge.To, l.Edge.Protocol, l.Edge.Port); d != nil {
				decided[l.Edge.Key]++
			}
		}
	}
	asked := 0
	for _, l := range p.Namespaces[0].Listed {
		if l.Reason != evidence.Denied && l.Reason != evidence.Scan {
			continue
		}
		asked++
		if decided[l.Edge.Key] != 3 { // reject, accept, and among all that are rejected
			t.Errorf("%s is decided by %d texts, want 3", l.Edge.Key, decided[l.Edge.Key])
		}
	}
	if asked < 40 {
		t.Errorf("only %d connections were to be decided", asked)
	}
}

// TestBounded: what anybody can make more of is cut, and counted.
func TestBounded(t *testing.T) {
	n := named("x")
	for i := range 3000 {
		pod := edge.Endpoint{Kind: "Deployment", Namespace: "shop", Name: fmt.Sprintf("workload-%d", i)}
		world := edge.Endpoint{Addr: netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})}
		e := seen(edge.Key{From: world, To: pod, Protocol: "TCP", Port: uint16(i + 1)})
		c := evidence.Connection{From: world, To: pod, Protocol: "TCP", Port: uint16(i + 1), Evidence: &e.Evidence}
		n.Connections = append(n.Connections, c)
		n.Rules = append(n.Rules, proof.Rule{Policy: pod.Name, Path: "spec.ingress[0]", Connections: []evidence.Connection{c}})
		n.Listed = append(n.Listed, evidence.Listed{Edge: e, Reason: evidence.OneOff, Detail: "x"})
		n.Readiness.Workloads = append(n.Readiness.Workloads, readiness.Workload{Workload: pod.String(), Why: []string{"x"}})
	}
	began := time.Now()
	content := pagesOf(t, &proposal.Proposal{Cluster: "prod", Namespaces: []*proposal.Namespace{n}}, &flows.Stats{})["shop.html"]
	t.Logf("%d bytes after %s", len(content), time.Since(began))
	if len(content) > 2<<20 {
		t.Errorf("%d bytes", len(content))
	}
	doc := parse(t, content)
	if !strings.Contains(textOf(doc), "and 2501 more that are not shown here") {
		t.Error("it does not say how many connections are left out")
	}
	boxes := 0
	for e := range doc.Descendants() {
		if strings.HasPrefix(attribute(e, "class"), "box ") {
			boxes++
		}
	}
	if boxes == 0 || boxes > 60 {
		t.Errorf("%d boxes in the picture", boxes)
	}
}

func TestNamespaceCalledIndex(t *testing.T) {
	a, b := named("x"), named("x")
	a.Name, b.Name = "index", "other"
	files := pagesOf(t, &proposal.Proposal{Cluster: "prod", Namespaces: []*proposal.Namespace{a, b}}, &flows.Stats{})
	if len(files) != 3 || !bytes.Contains(files["index.html"], []byte(`href="index.namespace.html"`)) {
		t.Errorf("%d files, or no link to the namespace", len(files))
	}
}

// TestForeign: a policy that is not in Git is at the top, and what it does has a section of its own.
func TestForeign(t *testing.T) {
	n := named("x")
	n.Report.Foreign = []proof.Foreign{{Policy: "NetworkPolicy shop/allow-all", AllIn: []string{"Deployment shop/api"}}, {Policy: "NetworkPolicy shop/old"}}
	n.Report.Blocked = []proof.Blocked{{Connection: "a → b", Direction: "Egress", Namespace: "data", By: []string{"NetworkPolicy data/isolate"}}}
	read := func() string {
		return textOf(parse(t, pagesOf(t, &proposal.Proposal{Cluster: "prod", Namespaces: []*proposal.Namespace{n}}, &flows.Stats{})["shop.html"]))
	}
	text := read()
	for _, want := range []string{
		"policies of the cluster that are not in Git 2", "NetworkPolicy shop/allow-all opens all lets everything in to 1 workloads (Deployment shop/api)",
		"NetworkPolicy shop/old opens nothing beyond", "a → b: its egress is denied by NetworkPolicy data/isolate until a policy of namespace data allows it",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	n.Report.Foreign, n.Report.Blocked = nil, nil
	if strings.Contains(read(), "not in Git") {
		t.Error("it speaks of policies that are not in Git, and there is none")
	}
}

// TestShared: workloads that no policy can tell apart are named.
func TestShared(t *testing.T) {
	n := named("x")
	read := func() string {
		return textOf(parse(t, pagesOf(t, &proposal.Proposal{Cluster: "prod", Namespaces: []*proposal.Namespace{n}}, &flows.Stats{})["shop.html"]))
	}
	n.Shared = nil
	if strings.Contains(read(), "share labels") {
		t.Error("it speaks of workloads that share labels, and there is none")
	}
	n.Shared = []*inventory.Workload{{Kind: "Deployment", Namespace: "shop", Name: "web", Also: []string{"Deployment shop/canary", "Job shop/warm"}}}
	if text := read(); !strings.Contains(text, "Workloads that share labels The labels of their pods do not differ, so no policy can tell them apart. The policy of Deployment shop/web applies to Deployment shop/canary, Job shop/warm, too") {
		t.Errorf("it says\n%s", text)
	}
}

// seen is an edge that was seen twice.
func seen(k edge.Key) edge.Edge {
	f := edge.NewFold(1)
	for i := range 2 {
		o := edge.Observation{ID: uint64(i + 1), Time: time.Date(2026, 11, 16+i, 12, 0, 0, 0, time.UTC), Node: "node-1"}
		if err := f.Add(k, o); err != nil {
			panic(err)
		}
	}
	return f.Edges()[0]
}

// named is a namespace in which everything that comes from outside is called name.
func named(name string) *proposal.Namespace {
	pod := edge.Endpoint{Kind: "Deployment", Namespace: "shop", Name: name}
	peer := edge.Endpoint{Kind: name, Namespace: name, Name: name}
	world := edge.Endpoint{Addr: netip.MustParseAddr("203.0.113.7"), Entity: name}
	n := &proposal.Namespace{
		Namespace: &synth.Namespace{
			Name: "shop", Directions: baseline.BothDirections(),
			Shared: []*inventory.Workload{{Kind: name, Namespace: name, Name: name, Also: []string{name}}},
		}, Unused: []string{name},
		Readiness: &readiness.Report{Why: []string{name}, Workloads: []readiness.Workload{{Workload: name, Why: []string{name}, Coverage: 0.5}}},
		Report: &proof.Report{
			Shadowed: []proof.Shadowed{{Rule: name, By: []string{name}}}, SelectsNothing: []string{name}, Strays: []string{name},
			Excess: proof.Excess{
				Count: 1, Pairs: []proof.Unseen{{From: name, To: name, Protocol: corev1.Protocol("TCP"), Ports: name}},
				Open: []proof.Open{{Workload: name}}, Future: []proof.Future{{Rule: name, Pods: name, Ports: name}}, Ranges: []proof.Range{{Rule: name, Range: name}},
			},
			Foreign: []proof.Foreign{{
				Policy: name, AllIn: []string{name}, AllOut: []string{name}, Count: 1, Pairs: 1, Fault: name,
				Examples: []proof.Unseen{{From: name, To: name, Ports: name}},
			}, {Policy: name, Future: []proof.Future{{Pods: name}}, Ranges: []proof.Range{{Range: name}}}, {Policy: name, Tier: name}},
			Blocked: []proof.Blocked{{Connection: name, Direction: "Ingress", Namespace: name, By: []string{name}}},
		},
	}
	for i, k := range []edge.Key{
		{From: peer, To: pod, Protocol: corev1.ProtocolTCP, Port: 80},
		{From: pod, To: world, Protocol: corev1.Protocol(name), Port: 443},
		{From: pod, To: pod, Protocol: corev1.ProtocolTCP, Port: 81},
	} {
		e := seen(k)
		e.Names, e.Nodes = edge.Set{name}, edge.Set{name}
		c := evidence.Connection{From: k.From, To: k.To, Protocol: k.Protocol, Port: k.Port, Evidence: &e.Evidence, Audited: i == 0}
		n.Connections = append(n.Connections, c)
		n.Rules = append(n.Rules, proof.Rule{Policy: name, Path: name, Connections: []evidence.Connection{c}})
		n.Listed = append(n.Listed, evidence.Listed{Edge: e, Reason: evidence.Rejected, Detail: name})
	}
	k := edge.Key{From: peer, To: edge.Endpoint{Kind: "Deployment", Namespace: "shop", Name: "api"}, Protocol: corev1.ProtocolTCP, Port: 80}
	n.Listed = append(n.Listed, evidence.Listed{Edge: seen(k), Reason: evidence.Denied, Detail: name})
	return n
}

// skeleton is all of a document but its texts and the values of attributes.
func skeleton(doc *html.Node) (elements []string) {
	for n := range doc.Descendants() {
		switch n.Type {
		case html.ElementNode:
			var keys []string
			for _, a := range n.Attr {
				keys = append(keys, a.Key)
			}
			elements = append(elements, n.Data+" "+strings.Join(keys, " "))
		case html.CommentNode:
			elements = append(elements, "comment")
		}
	}
	return elements
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

var markup = strings.NewReplacer("<", "x", ">", "x", "&", "x", `"`, "x", "'", "x", "`", "x")

func hostile(t *testing.T, name string) {
	t.Helper()
	stats := &flows.Stats{Problems: []string{name}}
	make := func(name string) []byte {
		p := &proposal.Proposal{Cluster: "prod", Namespaces: []*proposal.Namespace{named(name)}, AssumedDNS: name, Elsewhere: named(name).Listed}
		files := pagesOf(t, p, stats)
		return slices.Concat(files["shop.html"], files["index.html"])
	}
	got, plain := parse(t, make(name)), parse(t, make(markup.Replace(name)))
	if a, b := skeleton(got), skeleton(plain); !slices.Equal(a, b) {
		t.Errorf("the name %q changes what the page is made of", name)
	}
	for n := range got.Descendants() {
		for _, a := range n.Attr {
			switch {
			case a.Key == "href" && !slices.Contains([]string{"index.html", "shop.html"}, a.Val) && !strings.HasPrefix(a.Val, "#"),
				a.Key == "src", a.Key == "style", strings.HasPrefix(a.Key, "on"):
				t.Errorf("%q leads to %s=%q", name, a.Key, a.Val)
			}
		}
		if n.Type == html.TextNode && strings.ContainsAny(n.Data, "\u202e\u2066\x1b\x00") {
			t.Errorf("%q: a text turns its direction or steers a terminal", name)
		}
	}
}

var hostileNames = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</style><script>alert(1)</script>`,
	`</title></svg></table><iframe src=//evil>`, `javascript:alert(1)`, `{{.}}{{template "head"}}`, `-->`, `<!--`, `]]>`, `&lt;script&gt;`, "`${1}`",
	"a\u202eb\u2066c", "\x1b[31m", "\x00\xff", "", " ", strings.Repeat("w", 300), `</pre>`, "a\nb: c", `url(//evil)`, "<a href=x>", "%3Cscript%3E", "/", "*", "world",
}

func TestHostileNames(t *testing.T) {
	for _, name := range hostileNames {
		hostile(t, name)
	}
}

func FuzzNames(f *testing.F) {
	for _, name := range hostileNames {
		f.Add(name)
	}
	f.Fuzz(hostile)
}
