// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func pod(name, node string, ips ...string) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, ip := range ips {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
		p.Status.PodIP = p.Status.PodIPs[0].IP
	}
	return p
}

func service(name, app, ip string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: corev1.ServiceSpec{
			ClusterIP: ip, ClusterIPs: []string{ip}, Selector: map[string]string{"app": app},
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(3000), Protocol: corev1.ProtocolTCP}},
		},
	}
}

// cluster has web and api on node here, far on node there; api is isolated, and lets web in on port 3000.
func cluster(t testing.TB) *netpol.Snapshot {
	t.Helper()
	port := intstr.FromInt32(3000)
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "api", Annotations: map[string]string{netpol.CommitAnnotation: "c0ffee"}},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "api"}},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}},
				Ports: []networkingv1.NetworkPolicyPort{{Port: &port}},
			}},
		},
	}
	host := pod("host", "here", "192.0.2.1")
	host.Spec.HostNetwork = true
	nodes := []*corev1.Node{{
		ObjectMeta: metav1.ObjectMeta{Name: "here"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}}},
	}}
	all := policyv1alpha2.ClusterNetworkPolicySubject{Namespaces: &metav1.LabelSelector{}}
	deny := func(name string, tier policyv1alpha2.Tier, port int32) *policyv1alpha2.ClusterNetworkPolicy {
		return &policyv1alpha2.ClusterNetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: policyv1alpha2.ClusterNetworkPolicySpec{
				Tier: tier, Priority: 1, Subject: all, Egress: []policyv1alpha2.ClusterNetworkPolicyEgressRule{{
					Name: "no-smtp", Action: policyv1alpha2.ClusterNetworkPolicyRuleActionDeny,
					To:        []policyv1alpha2.ClusterNetworkPolicyEgressPeer{{Namespaces: &metav1.LabelSelector{}}},
					Protocols: []policyv1alpha2.ClusterNetworkPolicyProtocol{{TCP: &policyv1alpha2.ClusterNetworkPolicyProtocolTCP{DestinationPort: &policyv1alpha2.Port{Number: port}}}},
				}},
			},
		}
	}
	s, err := netpol.Compile(netpol.Objects{
		ClusterPolicies: []*policyv1alpha2.ClusterNetworkPolicy{
			deny("first", policyv1alpha2.AdminTier, 25), deny("last", policyv1alpha2.BaselineTier, 26),
		},
		Namespaces: []*corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}}, Nodes: nodes, Policies: []*networkingv1.NetworkPolicy{policy},
		Pods: []*corev1.Pod{
			pod("web", "here", "10.0.0.1", "fd00::1"), pod("api", "here", "10.0.0.2", "fd00::2"), pod("far", "there", "10.1.0.1"),
			pod("early", "here"), pod("unattached", "here", "10.0.0.9"), host,
		},
		Services: []*corev1.Service{service("entry", "api", "10.96.0.1"), service("nowhere", "nobody", "10.96.0.2")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// node judges by the snapshot itself, which change may then alter.
func node(s *netpol.Snapshot, change func(*Judgement)) *Node {
	return &Node{
		Name: "here", Snapshot: s,
		Interface: func(p types.NamespacedName) (uint32, bool) {
			ifindex, found := map[string]uint32{"web": 7, "api": 8, "far": 9, "early": 10}[p.Name]
			return ifindex, found
		},
		Judge: func(q Question) (Judgement, error) {
			from, to := q.Local, q.Remote
			if q.Direction == netpol.Ingress {
				from, to = to, from
			}
			v := s.Evaluate(netpol.Connection{From: netpol.Peer{Addr: from}, To: netpol.Peer{Addr: to}, Protocol: q.Protocol, Port: q.Port})
			d := v.Ingress
			if q.Direction == netpol.Egress {
				d = v.Egress
			}
			j := Judgement{Allowed: d.Allowed, Passes: d.Allowed, Reason: d.Reason, By: d.By, Generation: 5}
			if d.Rule != nil {
				j.By = []*netpol.Origin{d.Rule}
			}
			if change != nil {
				change(&j)
			}
			return j, nil
		},
	}
}

func TestTrace(t *testing.T) {
	s := cluster(t)
	staged := func(j *Judgement) { j.Staged = &Staged{Allowed: !j.Allowed, By: j.By} }
	for _, tc := range []struct {
		q       Query
		change  func(*Judgement)
		allowed bool
		want    []string // in the text
	}{
		{Query{From: "shop/web", To: "shop/api", Port: 3000}, nil, true, []string{
			"Pod shop/web → Pod shop/api TCP/3000 is allowed.\n", "Judged on node here, by generation 5.",
			"Egress from Pod shop/web: allowed, because no policy isolates the pod in this direction",
			"allowed by   NetworkPolicy shop/api, ingress rule 0, approved by c0ffee  spec.ingress[0]",
		}},
		{Query{From: "shop/web", To: "fd00::2", Port: 3000}, nil, true, []string{"Pod shop/web → fd00::2 TCP/3000 is allowed."}},
		{Query{From: "shop/web", To: "shop/api", Port: 3001, Protocol: "tcp"}, nil, false, []string{
			"is denied by the ingress side.", "denied, because a policy isolates the pod, and no rule of it matches", "isolated by  NetworkPolicy shop/api, approved by c0ffee  spec",
		}},
		{Query{From: "shop/web", To: "shop/svc/entry", Port: 80}, nil, true, []string{
			"→ Service shop/entry TCP/80 is allowed.", "Service shop/entry leads to Pod shop/api, port 3000.",
		}},
		{Query{From: "shop/web", To: "svc/shop/nowhere", Port: 80}, nil, false, []string{"cannot be: the Service leads nowhere."}},
		{Query{From: "shop/web", To: "10.96.0.1", Port: 80}, nil, true, []string{"Service shop/entry leads to"}},
		{Query{From: "shop/pod/far", To: "pod/shop/api", Port: 3000}, nil, false, []string{
			"is denied by the ingress side.", "Egress from Pod shop/far: not judged here, because the pod is on node there, which judges it",
		}},
		{Query{From: "shop/web", To: "shop/far", Port: 1}, nil, true, []string{"is allowed on this node. The ingress side is judged on node there.\n"}},
		{Query{From: "shop/web", To: "203.0.113.7", Port: 443, Protocol: "UDP"}, nil, true, []string{
			"UDP/443 is allowed.", "Ingress to 203.0.113.7: allowed, because policies select only pods, and 203.0.113.7 is none",
		}},
		{Query{From: "shop/host", To: "shop/api", Port: 1}, nil, true, []string{
			"Pod shop/host is on the network of its node, where no policy selects it", "it comes from the pod's own node",
		}},
		{Query{From: "shop/web", To: "shop/far", Port: 25}, nil, false, []string{
			"is denied by the egress side.", "a rule of the Admin tier denies it, which no NetworkPolicy can overrule",
			"denied by    ClusterNetworkPolicy first, egress rule 0 \"no-smtp\"  spec.egress[0]",
		}},
		{Query{From: "shop/web", To: "shop/far", Port: 26}, nil, false, []string{"a rule of the Baseline tier denies it, and no NetworkPolicy isolates the pod"}},
		{Query{From: "shop/web", To: "shop/web", Port: 1}, nil, true, []string{"a pod can always reach itself"}},
		{Query{From: "shop/web", To: "shop/api", Port: 1}, func(j *Judgement) { j.Passes = true }, false, []string{
			"is denied by the ingress side, and passes: the namespace is not in mode enforce.", "Ingress to Pod shop/api: denied, but passes, because",
		}},
		{Query{From: "shop/web", To: "shop/api", Port: 3000}, func(j *Judgement) { j.Allowed, j.Passes, j.Reason, j.By = false, false, UnknownEndpoint, nil }, false, []string{
			"is denied, by both sides.", "the loaded policies do not know the pod's interface", "The objects of this moment say otherwise; they are not enforced yet.",
		}},
		{Query{From: "shop/web", To: "shop/api", Port: 3000}, staged, true, []string{"staged: denied\n    by         NetworkPolicy shop/api, ingress rule 0"}},
	} {
		r, err := node(s, tc.change).Trace(tc.q)
		if err != nil {
			t.Errorf("%+v: %v", tc.q, err)
			continue
		}
		var text bytes.Buffer
		if err := r.Text(&text, false); err != nil || r.Allowed != tc.allowed {
			t.Errorf("%+v: %v, allowed %v, want %v", tc.q, err, r.Allowed, tc.allowed)
		}
		for _, want := range tc.want {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%+v: no %q in\n%s", tc.q, want, text.String())
			}
		}
		if tc.change == nil && (r.Egress.Outdated || r.Ingress.Outdated) {
			t.Errorf("%+v: outdated:\n%s", tc.q, text.String())
		}
	}
}

func TestNoAnswer(t *testing.T) {
	s := cluster(t)
	for want, q := range map[string]Query{
		"--from is missing":               {To: "shop/api", Port: 1},
		"--to is missing":                 {From: "shop/api", Port: 1},
		"--port is missing":               {From: "shop/web", To: "shop/api"},
		`--protocol "ICMP"`:               {From: "shop/web", To: "shop/api", Port: 1, Protocol: "icmp"},
		`--from "web": give`:              {From: "web", To: "shop/api", Port: 1},
		`--to "a/b/c/d": give`:            {From: "shop/web", To: "a/b/c/d", Port: 1},
		`--to "shop/": give`:              {From: "shop/web", To: "shop/", Port: 1},
		`--from "shop/nobody": no pod`:    {From: "shop/nobody", To: "shop/api", Port: 1},
		`--to "shop/nobody": no pod of`:   {From: "shop/web", To: "shop/nobody", Port: 1},
		`--to "shop/pod/entry": no pod`:   {From: "shop/web", To: "shop/pod/entry", Port: 1},
		"a Service opens no connections":  {From: "shop/svc/entry", To: "shop/api", Port: 1},
		"neither end is a pod of node":    {From: "shop/far", To: "203.0.113.7", Port: 1},
		"no interface that is judged":     {From: "shop/unattached", To: "shop/api", Port: 1},
		"the addresses of both ends must": {From: "shop/early", To: "203.0.113.7", Port: 1},
	} {
		if r, err := node(s, nil).Trace(q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %+v, %v; want %q", q, r, err, want)
		}
	}
	query := Query{From: "shop/web", To: "shop/api", Port: 1}
	if _, err := (&Node{}).Trace(query); err == nil {
		t.Error("an agent without objects answers")
	}
	closed := errors.New("closed")
	broken := node(s, nil)
	broken.Judge = func(Question) (Judgement, error) { return Judgement{}, closed }
	if _, err := broken.Trace(query); !errors.Is(err, closed) {
		t.Errorf("a datapath that fails: %v", err)
	}
}

// Whatever is asked, there is an answer or an error.
func FuzzTrace(f *testing.F) {
	f.Add("shop/web", "shop/svc/entry", "TCP", uint16(80))
	f.Add("10.0.0.1", "::ffff:10.0.0.2", "udp", uint16(1))
	f.Add("fe80::1%eth0", "node/here", "", uint16(0))
	n := node(cluster(f), nil)
	f.Fuzz(func(t *testing.T, from, to, protocol string, port uint16) {
		r, err := n.Trace(Query{From: from, To: to, Protocol: corev1.Protocol(protocol), Port: port})
		if (err == nil) != (r != nil) {
			t.Errorf("%+v and %v", r, err)
		}
	})
}
