// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

// An explanation never contradicts the verdict.
func TestExplainAgreesWithEvaluate(t *testing.T) {
	asked := 0
	check := func(s *netpol.Snapshot, c netpol.Connection, where string) {
		asked++
		e := s.Explain(c)
		if v := s.Evaluate(c); !reflect.DeepEqual(e.Verdict, v) {
			t.Errorf("%s: explains %+v, evaluates %+v", where, e.Verdict, v)
		}
		for _, side := range []netpol.Side{e.Egress, e.Ingress} {
			checkSide(t, s, &side, where)
		}
	}
	for _, f := range loadCorpus(t) {
		s, _ := netpol.Compile(f.Objects)
		for _, c := range f.Connections {
			check(s, c.Connection, c.Pos+": "+c.Line)
		}
	}
	for i := range 300 {
		g := random.New(7, uint64(i))
		objs := g.Objects()
		s, _ := netpol.Compile(objs)
		for range 50 {
			c := g.Connection(objs)
			check(s, c, fmt.Sprintf("seed 7 cluster %d: %+v", i, c))
		}
	}
	if asked < 15000 {
		t.Errorf("only %d connections", asked)
	}
}

// checkSide finds a decision that the trials do not bear out.
func checkSide(t *testing.T, s *netpol.Snapshot, side *netpol.Side, where string) {
	t.Helper()
	var matched, passed []netpol.Origin
	for _, trial := range side.Trials {
		switch {
		case !trial.Matched():
		case trial.Action == netpol.Pass:
			passed = append(passed, trial.Origin)
		default:
			matched = append(matched, trial.Origin)
		}
		if trial.Matched() != (trial.Distance == 0) || trial.PeerMatched != (len(trial.Peers) == 0) || trial.PortMatched != (len(trial.Ports) == 0) {
			t.Errorf("%s: %s: matched and missed at once: %+v", where, &trial.Origin, trial)
		}
	}
	if !slices.IsSortedFunc(side.Trials, func(a, b netpol.Trial) int { return a.Distance - b.Distance }) {
		t.Errorf("%s: trials are not in order", where)
	}
	d := &side.Decision
	switch {
	case d.Rule != nil && (len(matched) != 1 || matched[0] != *d.Rule):
		t.Errorf("%s: decided by %s, matched %v", where, d.Rule, matched)
	case d.Rule == nil && len(matched) > 0:
		t.Errorf("%s: %s, yet %v matched", where, d.Reason, matched)
	case d.Passed != nil && !slices.Contains(passed, *d.Passed), d.Passed == nil && len(passed) > 0:
		t.Errorf("%s: passed by %s, matched %v", where, d.Passed, passed)
	}
	for _, o := range d.By {
		if !slices.ContainsFunc(side.Policies, func(g netpol.Governor) bool { return g.Origin == *o }) {
			t.Errorf("%s: isolated by %s, which does not govern", where, o)
		}
	}
	if side.Peer.HostPod.Name != "" || d.Reason != netpol.NoRule && d.Reason != netpol.RuleMatched && d.Reason != netpol.RuleDenied {
		return // a pod may have the address of a node as well
	}
	self, peer := endpoint(s, &side.Self), endpoint(s, &side.Peer)
	if got := s.SideAllows(self, side.Direction, peer).Contains(side.Protocol, side.Port); got != d.Allowed && side.Port != 0 {
		t.Errorf("%s: %s: SideAllows says %v, the decision %v", where, side.Direction, got, d.Allowed)
	}
}

// endpoint finds the endpoint of an explanation again.
func endpoint(s *netpol.Snapshot, e *netpol.End) netpol.Endpoint {
	if e.Pod.Name == "" {
		return s.EndpointAt(e.Addr)
	}
	found := s.Endpoint(e.Pod)
	found.Addr = e.Addr
	return found
}

// misses puts trials in words: the rule, then the failures of its nearest peer and port.
func misses(side *netpol.Side) string {
	var lines []string
	for _, trial := range side.Trials {
		line := fmt.Sprintf("%d %s", trial.Distance, &trial.Origin)
		for _, list := range [][]netpol.Part{trial.Peers, trial.Ports} {
			if len(list) == 0 {
				continue
			}
			for _, f := range list[0].Failures {
				actual := "-"
				if f.Actual != nil {
					actual = *f.Actual
				}
				line += fmt.Sprintf("; %s %s: %s, is %s", f.Cause, strings.TrimPrefix(f.Path, trial.Origin.Path+"."), f.Wanted, actual)
				if f.Elsewhere != "" {
					line += " (" + f.Elsewhere + ")"
				}
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

const explainObjects = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: shop}}}
---
{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {zone: a}}, status: {addresses: [{type: InternalIP, address: 172.16.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web, labels: {app: web, env: test}}, spec: {nodeName: n1}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: bare}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: host, labels: {app: web}}, spec: {nodeName: n1, hostNetwork: true}, status: {podIP: 172.16.0.1}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: api, labels: {app: api}}
spec: {nodeName: n2, containers: [{name: c, ports: [{name: http, containerPort: 8080}, {name: dns, protocol: UDP, containerPort: 53}]}]}
status: {podIP: 10.0.0.2}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: kube-system, name: dns, labels: {k8s-app: kube-dns}}, status: {podIP: 10.0.1.1}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: api}
spec:
  podSelector: {matchLabels: {app: api}}
  policyTypes: [Ingress, Egress]
  ingress:
  - {from: [{podSelector: {matchLabels: {app: web, env: live}}}], ports: [{port: http}]}
  - {from: [{namespaceSelector: {matchLabels: {team: bank}}, podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}]}
  - {from: [{ipBlock: {cidr: 10.0.0.0/16, except: [10.0.0.0/24]}}, {ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 9090, endPort: 9099}]}
  - {from: [{podSelector: {matchLabels: {env: test}}}], ports: [{port: dns}, {port: nosuch}]}
  egress:
  - {to: [{namespaceSelector: {matchLabels: {name: kube-system}}}], ports: [{port: dns-tcp}, {port: 53, protocol: UDP}]}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec:
  tier: Admin
  priority: 1
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}
  egress:
  - {action: Pass, name: dns, to: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]}
  - {action: Deny, to: [{nodes: {matchLabels: {zone: b}}}]}
  - {action: Deny, to: [{nodes: {matchLabels: {zone: a}}}], protocols: [{tcp: {destinationPort: {number: 22}}}]}
`

// Trials are the rules that were asked: how far each is from matching, and what is missing.
func TestTrials(t *testing.T) {
	s := compiledStream(t, explainObjects)
	for _, tc := range []struct {
		name, from, to, ports string
		side                  netpol.Direction
		want                  string
	}{
		{"a label, except, a name of another protocol", "shop/web", "shop/api", "TCP/8080", netpol.Ingress, `
1 NetworkPolicy shop/api spec.ingress[3]; NameIsOther ports[0]: TCP/dns, is UDP/53
2 NetworkPolicy shop/api spec.ingress[0]; LabelFails from[0].podSelector: env=live, is test
3 NetworkPolicy shop/api spec.ingress[2]; InExcept from[0]: 10.0.0.0/24, is 10.0.0.1; PortDiffers ports[0]: TCP/9090-9099, is TCP/8080
4 NetworkPolicy shop/api spec.ingress[1]; LabelFails from[0].namespaceSelector: team=bank, is shop; LabelFails from[0].podSelector: app notin (web), is web`},
		{"no labels, no address", "shop/bare", "shop/api", "UDP/9090", netpol.Ingress, `
2 NetworkPolicy shop/api spec.ingress[1]; LabelFails from[0].namespaceSelector: team=bank, is shop
3 NetworkPolicy shop/api spec.ingress[2]; NoAddress from[0]: 10.0.0.0/16, is -; ProtocolDiffers ports[0]: TCP/9090-9099, is UDP/9090
3 NetworkPolicy shop/api spec.ingress[3]; LabelFails from[0].podSelector: env=test, is -; ProtocolDiffers ports[0]: TCP/dns, is UDP/9090
5 NetworkPolicy shop/api spec.ingress[0]; LabelFails from[0].podSelector: app=web, is -; LabelFails from[0].podSelector: env=live, is -; ProtocolDiffers ports[0]: TCP/http, is UDP/9090`},
		{"another namespace", "kube-system/dns", "shop/api", "TCP/8080", netpol.Ingress, `
1 NetworkPolicy shop/api spec.ingress[2]; PortDiffers ports[0]: TCP/9090-9099, is TCP/8080
2 NetworkPolicy shop/api spec.ingress[1]; LabelFails from[0].namespaceSelector: team=bank, is -
5 NetworkPolicy shop/api spec.ingress[3]; OtherNamespace from[0]: shop, is kube-system; LabelFails from[0].podSelector: env=test, is -; NameIsOther ports[0]: TCP/dns, is UDP/53
6 NetworkPolicy shop/api spec.ingress[0]; OtherNamespace from[0]: shop, is kube-system; LabelFails from[0].podSelector: app=web, is -; LabelFails from[0].podSelector: env=live, is -`},
		{"a node", "shop/host", "shop/api", "TCP/8080", netpol.Ingress, `
8 NetworkPolicy shop/api spec.ingress[0]; PeerIsNoPod from[0]: pods, is 172.16.0.1
8 NetworkPolicy shop/api spec.ingress[1]; PeerIsNoPod from[0]: pods, is 172.16.0.1
9 NetworkPolicy shop/api spec.ingress[2]; OutsideBlock from[0]: 10.0.0.0/16, is 172.16.0.1; PortDiffers ports[0]: TCP/9090-9099, is TCP/8080
9 NetworkPolicy shop/api spec.ingress[3]; PeerIsNoPod from[0]: pods, is 172.16.0.1; NameIsOther ports[0]: TCP/dns, is UDP/53`},
		{"name of a namespace", "shop/api", "kube-system/dns", "UDP/53", netpol.Egress, `
1 NetworkPolicy shop/api spec.egress[0]; LabelFails to[0].namespaceSelector: name=kube-system, is - (kubernetes.io/metadata.name)`},
		{"a name that no container has, a name of an address", "shop/api", "10.9.9.9", "TCP/53", netpol.Egress, `
9 NetworkPolicy shop/api spec.egress[0]; PeerIsNoPod to[0]: pods, is 10.9.9.9; NameNeedsPod ports[0]: TCP/dns-tcp, is 10.9.9.9`},
		{"passed", "shop/web", "kube-system/dns", "TCP/53", netpol.Egress, `
0 ClusterNetworkPolicy guard spec.egress[0]`},
		{"nodes", "shop/web", "172.16.0.1", "TCP/80", netpol.Egress, `
1 ClusterNetworkPolicy guard spec.egress[2]; PortDiffers protocols[0]: TCP/22, is TCP/80
2 ClusterNetworkPolicy guard spec.egress[1]; LabelFails to[0].nodes: zone=b, is a
8 ClusterNetworkPolicy guard spec.egress[0]; PeerIsNoPod to[0]: pods, is 172.16.0.1`},
		{"no decision", "shop/web", "10.9.9.9", "TCP/80", netpol.Egress, `
8 ClusterNetworkPolicy guard spec.egress[0]; PeerIsNoPod to[0]: pods, is 10.9.9.9
8 ClusterNetworkPolicy guard spec.egress[1]; PeerIsNoNode to[0]: nodes, is 10.9.9.9
9 ClusterNetworkPolicy guard spec.egress[2]; PeerIsNoNode to[0]: nodes, is 10.9.9.9; PortDiffers protocols[0]: TCP/22, is TCP/80`},
		{"decided", "shop/web", "172.16.0.1", "TCP/22", netpol.Egress, `
0 ClusterNetworkPolicy guard spec.egress[2]
2 ClusterNetworkPolicy guard spec.egress[1]; LabelFails to[0].nodes: zone=b, is a
8 ClusterNetworkPolicy guard spec.egress[0]; PeerIsNoPod to[0]: pods, is 172.16.0.1`},
		{"not asked", "shop/host", "10.9.9.9", "TCP/80", netpol.Egress, `
`},
	} {
		e := s.Explain(connection(t, tc.from, tc.to, tc.ports))
		side := &e.Ingress
		if tc.side == netpol.Egress {
			side = &e.Egress
		}
		if got := misses(side); got != strings.TrimPrefix(tc.want, "\n") {
			t.Errorf("%s: got\n%s\nwant%s", tc.name, got, tc.want)
		}
	}
}

// An end says what policies see in it.
func TestExplainedEnds(t *testing.T) {
	s := compiledStream(t, explainObjects)
	e := s.Explain(connection(t, "shop/host", "shop/api", "TCP/8080"))
	if from := e.Egress.Self; from.HostPod != shop("host") || from.Pod.Name != "" || from.Node != "n1" || from.Addr.String() != "172.16.0.1" {
		t.Errorf("a pod on the host network is %+v", from)
	}
	if to := e.Egress.Peer; to.Pod != shop("api") || to.Node != "n2" || to.Labels["app"] != "api" || to.NamespaceLabels["team"] != "shop" {
		t.Errorf("a pod is %+v", to)
	}
	if e := s.Explain(connection(t, "shop/nosuch", "shop/api", "TCP/8080")); !reflect.DeepEqual(e.Egress.Self, netpol.End{}) || e.Egress.Trials != nil {
		t.Errorf("a pod that is not known is %+v", e.Egress)
	}
}

// What is kept of an explanation is bounded, and is what is nearest.
func TestExplainIsBounded(t *testing.T) {
	s := compiledStream(t, podWeb+"\n---\n"+podAPI+"\n---\n"+manyRules(79, 30))
	e := s.Explain(connection(t, "shop/web", "shop/api", "TCP/7"))
	if got := e.Ingress; len(got.Trials) != netpol.MaxTrials || got.Omitted != 30 || len(got.Trials[1].Peers) != netpol.MaxParts {
		t.Errorf("%d trials, %d omitted, %d peers of the second", len(got.Trials), got.Omitted, len(got.Trials[1].Peers))
	}
	if got := e.Ingress.Trials[0]; got.Origin.Index != 79 || got.Distance != 1 {
		t.Errorf("the nearest is %s at %d; want the last, which only the port keeps from matching", &got.Origin, got.Distance)
	}
}

// manyRules is a policy with so many rules of so many peers each. Web is a peer of the last rule only.
func manyRules(rules, peers int) string {
	var b strings.Builder
	b.WriteString("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: many}, spec: {podSelector: {}, ingress: [")
	for i := range rules {
		b.WriteString("{from: [")
		for j := range peers {
			fmt.Fprintf(&b, "{podSelector: {matchLabels: {app: app-%d, env: env-%d}}},", i, j)
		}
		b.WriteString("], ports: [{port: 80}]},")
	}
	return b.String() + "{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}]}]}}"
}

func BenchmarkExplain(b *testing.B) {
	for _, rules := range []int{5, 500} {
		b.Run(fmt.Sprintf("rules=%d/peers=10", rules), func(b *testing.B) {
			objs, err := corpus.ParseObjects([]byte(podWeb + "\n---\n" + podAPI + "\n---\n" + manyRules(rules, 10)))
			if err != nil {
				b.Fatal(err)
			}
			s, err := netpol.Compile(objs)
			if err != nil {
				b.Fatal(err)
			}
			c := netpol.Connection{From: netpol.Peer{Pod: shop("web")}, To: netpol.Peer{Pod: shop("api")}, Port: 7}
			b.ReportAllocs()
			for b.Loop() {
				if e := s.Explain(c); e.Verdict.Allowed {
					b.Fatal("allowed")
				}
			}
		})
	}
}

// connection is read as the corpus reads it.
func connection(t *testing.T, from, to, ports string) netpol.Connection {
	t.Helper()
	f, err := corpus.Parse("x", []byte(fmt.Sprintf("x\n-- objects.yaml --\n-- connections --\nallow %s -> %s %s egress=NotAPod ingress=NotAPod\n", from, to, ports)))
	if err != nil {
		t.Fatal(err)
	}
	return f.Connections[0].Connection
}

func compiledStream(t *testing.T, stream string) *netpol.Snapshot {
	t.Helper()
	objs, err := corpus.ParseObjects([]byte(stream))
	if err != nil {
		t.Fatal(err)
	}
	s, err := netpol.Compile(objs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
