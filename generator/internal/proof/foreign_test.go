// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	policyv1alpha1 "sigs.k8s.io/network-policy-api/apis/v1alpha1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// meet proves the world's policies in a cluster that has others beside them.
func meet(t *testing.T, w world, git []*networkingv1.NetworkPolicy, others ...*networkingv1.NetworkPolicy) *proof.Report {
	t.Helper()
	set, err := manifest.Load([]string{testCase + "inventory"}, nil, manifest.Lenient)
	if err != nil {
		t.Fatal(err)
	}
	objects := set.Runtime()
	for _, p := range others {
		objects = append(objects, runtime.Object(p))
	}
	r := w.prove(t)
	before := r.Proven
	if err := r.Meet(inventory.New(objects), git, w.policies, w.connections, w.sample, w.dns); err != nil {
		t.Fatal(err)
	}
	if r.Proven != before {
		t.Error("whether policies are proven depends on others")
	}
	return r
}

func policy(t *testing.T, namespace, name, spec string) *networkingv1.NetworkPolicy {
	t.Helper()
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	return p
}

// said is what a report says of foreign policies, a line each.
func said(r *proof.Report) string {
	var lines []string
	for _, f := range r.Foreign {
		name := strings.TrimPrefix(f.Policy, "NetworkPolicy ")
		lines = append(lines, fmt.Sprintf("%s in %d out %d count %d pairs %d", name, len(f.AllIn), len(f.AllOut), f.Count, f.Pairs))
	}
	for _, b := range r.Blocked {
		lines = append(lines, fmt.Sprintf("%s %s %s", b.Connection, b.Direction, b.By))
	}
	for _, s := range r.Shadowed {
		lines = append(lines, "shadowed "+s.Rule)
	}
	for _, s := range r.SelectsNothing {
		lines = append(lines, "idle "+s)
	}
	return strings.Join(lines, "; ")
}

func TestForeign(t *testing.T) {
	const prometheus = "StatefulSet monitoring/prometheus → "
	tests := []struct{ name, namespace, spec, want string }{
		// Three protocols from each of three workloads elsewhere to each of five; prometheus was seen at a port of three of them.
		{"everything in", "shop", `{podSelector: {}, ingress: [{}]}`, "shop/x in 5 out 0 count 49 pairs 15; shadowed NetworkPolicy shop/x spec.ingress[0]"},
		{"all addresses in", "shop", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}`, "shop/x in 5 out 0 count 49 pairs 15; shadowed NetworkPolicy shop/x spec.ingress[0]"},
		{"everything out", "shop", `{podSelector: {matchLabels: {app: report}}, policyTypes: [Egress], egress: [{}]}`, "shop/x in 0 out 1 count 10 pairs 3; shadowed NetworkPolicy shop/x spec.egress[0]"},
		{"a port", "shop", `{podSelector: {matchLabels: {app: silent}}, ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 80}]}]}`, "shop/x in 0 out 0 count 3 pairs 3"},
		// Of the namespace nobody may go there, so it opens nothing.
		{"a port, at one end", "shop", `{podSelector: {matchLabels: {app: silent}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}`, "shop/x in 0 out 0 count 0 pairs 0"},
		{"an address", "shop", `{podSelector: {matchLabels: {app: api}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 198.51.100.1/32}}], ports: [{port: 443}]}]}`, "shop/x in 0 out 0 count 1 pairs 1"},
		{"what was seen", "shop", `{podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: frontend}}}], ports: [{port: 3000}]}]}`, "shop/x in 0 out 0 count 0 pairs 0; shadowed NetworkPolicy shop/x spec.ingress[0]"},
		{"nothing", "shop", `{podSelector: {}}`, "shop/x in 0 out 0 count 0 pairs 0"},
		{"of nobody", "shop", `{podSelector: {matchLabels: {app: gone}}, ingress: [{}]}`, "shop/x in 0 out 0 count 0 pairs 0; idle NetworkPolicy shop/x"},
		{
			"the peer isolated", "monitoring", `{podSelector: {}, policyTypes: [Egress]}`,
			prometheus + "Deployment shop/api TCP/9090 Egress [NetworkPolicy monitoring/x]; " + prometheus + "StatefulSet shop/database TCP/9090 Egress [NetworkPolicy monitoring/x]; " + prometheus + "Deployment shop/frontend TCP/9090 Egress [NetworkPolicy monitoring/x]",
		},
		{"the peer, the other way", "monitoring", `{podSelector: {}, policyTypes: [Ingress]}`, ""},
		{"the peer allows it", "monitoring", `{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 9090}]}]}`, ""},
		{"of no business", "elsewhere", `{podSelector: {}, ingress: [{}]}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := said(meet(t, load(t), nil, policy(t, tt.namespace, "x", tt.spec))); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestClusterPolicies: policies for the whole cluster are named once, where they are about the namespaces, and not judged.
func TestClusterPolicies(t *testing.T) {
	cluster := func(name, tier string, subject policyv1alpha2.ClusterNetworkPolicySubject) runtime.Object {
		return &policyv1alpha2.ClusterNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: policyv1alpha2.ClusterNetworkPolicySpec{Tier: policyv1alpha2.Tier(tier), Subject: subject}}
	}
	named := func(namespace string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": namespace}}
	}
	objects := []runtime.Object{
		cluster("late", "Baseline", policyv1alpha2.ClusterNetworkPolicySubject{Namespaces: &metav1.LabelSelector{}}),
		cluster("pods", "Admin", policyv1alpha2.ClusterNetworkPolicySubject{Pods: &policyv1alpha2.NamespacedPod{NamespaceSelector: *named("shop")}}),
		cluster("elsewhere", "Admin", policyv1alpha2.ClusterNetworkPolicySubject{Namespaces: named("elsewhere")}),
		cluster("odd", "", policyv1alpha2.ClusterNetworkPolicySubject{Namespaces: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "?"}}}}),
		&policyv1alpha1.AdminNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "old"}, Spec: policyv1alpha1.AdminNetworkPolicySpec{Subject: policyv1alpha1.AdminNetworkPolicySubject{Namespaces: named("shop")}}},
		&policyv1alpha1.BaselineAdminNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: policyv1alpha1.BaselineAdminNetworkPolicySpec{Subject: policyv1alpha1.AdminNetworkPolicySubject{Pods: &policyv1alpha1.NamespacedPod{}}}},
		policy(t, "shop", "x", `{podSelector: {}}`),
	}
	w := load(t)
	r := w.prove(t)
	if err := r.Meet(inventory.New(objects), nil, w.policies, w.connections, w.sample, w.dns); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.Foreign {
		got = append(got, f.Policy+" "+f.Tier)
	}
	want := []string{
		"AdminNetworkPolicy old Admin", "ClusterNetworkPolicy pods Admin", "BaselineAdminNetworkPolicy default Baseline", "ClusterNetworkPolicy late Baseline",
		"ClusterNetworkPolicy odd unknown", "NetworkPolicy shop/x ",
	}
	if !slices.Equal(got, want) || !r.Proven {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, f := range r.Foreign[:5] {
		if words := f.Words(strings.ToUpper); len(words) != 1 || !strings.HasPrefix(words[0], "was not judged") {
			t.Errorf("%s: %q", f.Policy, words)
		}
	}
	for n := range 200 {
		objects = append(objects, cluster(fmt.Sprint("many-", n), "Admin", policyv1alpha2.ClusterNetworkPolicySubject{Namespaces: &metav1.LabelSelector{}}))
	}
	r = w.prove(t)
	if err := r.Meet(inventory.New(objects), nil, w.policies, w.connections, w.sample, w.dns); err != nil || len(r.Foreign) != 101 || r.ForeignOmitted != 105 {
		t.Errorf("of many: %d, %d left out, %v", len(r.Foreign), r.ForeignOmitted, err)
	}
}

// TestNotForeign: what Bulkhead keeps, what Git has under the same name, and what is only staged.
func TestNotForeign(t *testing.T) {
	const open = `{podSelector: {}, ingress: [{}]}`
	synced, onboarded, staged, known, api := policy(t, "shop", "a", open), policy(t, "shop", "b", open), policy(t, "shop", "c", open), policy(t, "shop", "d", open), policy(t, "shop", "api", open)
	synced.Labels = map[string]string{baseline.LabelManagedBy: baseline.ManagedByGitOps}
	onboarded.Labels = map[string]string{baseline.LabelManagedBy: baseline.ManagedByOnboarding}
	staged.Annotations = map[string]string{"bulkhead.dev/staged": "true"}
	if got := said(meet(t, load(t), []*networkingv1.NetworkPolicy{policy(t, "shop", "d", `{podSelector: {}}`)}, synced, onboarded, staged, known, api)); got != "" {
		t.Errorf("foreign: %s", got)
	}
	synced.Labels[baseline.LabelManagedBy] = "somebody"
	other := policy(t, "other", "d", open)
	if got := said(meet(t, load(t), []*networkingv1.NetworkPolicy{other}, synced, known)); !strings.Contains(got, "shop/a in 5") || !strings.Contains(got, "shop/d in 5") {
		t.Errorf("not foreign: %s", got)
	}
}

// TestForeignDNS: the way to DNS is the baseline's, whatever the policy is called.
func TestForeignDNS(t *testing.T) {
	w := load(t)
	dns := w.named("bulkhead-allow-dns").DeepCopy()
	dns.Name, dns.Labels = "x", nil
	if got, want := said(meet(t, w, nil, dns)), "shop/x in 0 out 0 count 0 pairs 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestForeignOpensWhatIsClosed: nothing is opened where the policies themselves let everything in.
func TestForeignOpensWhatIsClosed(t *testing.T) {
	w := load(t)
	w.policies = append(w.policies, policy(t, "shop", "open", `{podSelector: {}, ingress: [{}]}`))
	if f := meet(t, w, nil, policy(t, "shop", "x", `{podSelector: {}, ingress: [{}]}`)).Foreign[0]; f.Count != 0 || len(f.AllIn) != 0 {
		t.Errorf("%+v", f)
	}
}

// TestForeignPeers: what isolates a peer is to blame only where nothing of Bulkhead's does, and a policy that nobody
// can read is not.
func TestForeignPeers(t *testing.T) {
	isolates := policy(t, "monitoring", "isolate", `{podSelector: {}, policyTypes: [Egress]}`)
	kept := isolates.DeepCopy()
	kept.Name, kept.Labels = "kept", map[string]string{baseline.LabelManagedBy: baseline.ManagedByGitOps}
	odd := policy(t, "monitoring", "odd", `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: nonsense}}]}]}`)
	for _, tt := range []struct {
		name    string
		blocked int
		others  []*networkingv1.NetworkPolicy
	}{
		{"one", 3, []*networkingv1.NetworkPolicy{isolates}},
		{"one, and Bulkhead's", 0, []*networkingv1.NetworkPolicy{isolates, kept}},
		{"one that allows nothing", 0, []*networkingv1.NetworkPolicy{odd}},
		{"two, and one of them cannot be read", 3, []*networkingv1.NetworkPolicy{isolates, odd}},
	} {
		if r := meet(t, load(t), nil, tt.others...); len(r.Blocked) != tt.blocked {
			t.Errorf("%s: %v", tt.name, r.Blocked)
		}
	}
}

// TestForeignSpeaksOfGovernedDirections: what leaves is none of the business of those who govern what comes in, unless
// they say so.
func TestForeignSpeaksOfGovernedDirections(t *testing.T) {
	w := sides(t, ingress)
	dns := policy(t, "kube-system", "x", `{podSelector: {}}`)
	if r := meet(t, w, nil, dns); len(r.Blocked) > 0 {
		t.Errorf("blocked %v", r.Blocked)
	}
	r, err := proof.ProveIn(map[string]baseline.Directions{"shop": baseline.BothDirections()}, w.policies, w.connections, w.sample, w.dns)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Meet(inventory.New([]runtime.Object{dns}), nil, w.policies, w.connections, w.sample, w.dns); err != nil || len(r.Blocked) != 4 {
		t.Errorf("%v, blocked %v", err, r.Blocked)
	}
}

// TestForeignIsNotBroken: what the policies deny by themselves is broken, and not blocked by others.
func TestForeignIsNotBroken(t *testing.T) {
	w := load(t)
	w.policies = slices.DeleteFunc(w.policies, func(p *networkingv1.NetworkPolicy) bool { return p.Name == "api" })
	r := meet(t, w, nil, policy(t, "monitoring", "x", `{podSelector: {}, policyTypes: [Egress]}`))
	if len(r.Broken) == 0 || len(r.Blocked) != 2 {
		t.Errorf("broken %v, blocked %v", r.Broken, r.Blocked)
	}
}

// TestForeignWithoutBaseline: where nothing isolates, a foreign policy opens nothing, and can deny.
func TestForeignWithoutBaseline(t *testing.T) {
	w := load(t)
	w.policies = []*networkingv1.NetworkPolicy{w.named("frontend")}
	w.policies[0].Spec.Egress, w.policies[0].Spec.PolicyTypes = nil, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
	r := meet(t, w, nil, policy(t, "shop", "x", `{podSelector: {matchLabels: {app: api}}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{ports: [{port: 5432}]}]}`))
	if f := r.Foreign[0]; f.Count != 0 || len(f.AllIn) != 0 {
		t.Errorf("%+v: it opens what is open", f)
	}
	denied := slices.ContainsFunc(r.Blocked, func(b proof.Blocked) bool {
		return strings.HasPrefix(b.Connection, "Deployment shop/api → 203.0.113.7") && b.Direction == "Egress"
	})
	if !denied {
		t.Errorf("blocked %v, want the way from api to 203.0.113.7", r.Blocked)
	}
}

func TestForeignIsBounded(t *testing.T) {
	var many []*networkingv1.NetworkPolicy
	for i := range 120 {
		many = append(many, policy(t, "shop", fmt.Sprintf("a%03d", i), `{podSelector: {matchLabels: {app: api}}}`))
	}
	bad := policy(t, "shop", "bad", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: nonsense}}]}]}`)
	r := meet(t, load(t), nil, append(many, bad, policy(t, "shop", "zzz", `{podSelector: {}, ingress: [{}]}`))...)
	if len(r.Foreign) != 100 || r.ForeignOmitted != 22 || r.Foreign[0].Policy != "NetworkPolicy shop/zzz" {
		t.Errorf("%d, and %d omitted; the first is %s", len(r.Foreign), r.ForeignOmitted, r.Foreign[0].Policy)
	}
	if f := r.Foreign[1]; f.Policy != "NetworkPolicy shop/bad" || !strings.Contains(f.Fault, "nonsense") {
		t.Errorf("%+v, want the fault of shop/bad", f)
	}
}

func TestWords(t *testing.T) {
	plain := func(s string) string { return s }
	all := proof.Foreign{AllIn: []string{"a", "b"}, AllOut: []string{"c"}, Future: []proof.Future{{Pods: "any pod"}}}
	tests := []struct {
		f    proof.Foreign
		want string
	}{
		{all, "lets everything in to 2 workloads (a, b): the other policies restrict nothing there until it is removed; lets 1 workloads (c) out to everything: the other policies restrict nothing there until it is removed"},
		{proof.Foreign{Future: all.Future, Ranges: []proof.Range{{Range: "10.0.0.0/8"}}}, "allows pods that do not exist: any pod; allows 10.0.0.0/8"},
		{proof.Foreign{Count: 3, Pairs: 2, Examples: []proof.Unseen{{From: "a", To: "b", Protocol: "TCP", Ports: "80"}}}, "allows 3 combinations of 2 pairs of workloads and ports that were not seen, such as a → b TCP/80"},
		{proof.Foreign{Fault: "it is odd"}, "cannot be judged: it is odd"},
		{proof.Foreign{}, "opens nothing beyond the other policies"},
	}
	for _, tt := range tests {
		if got := strings.Join(tt.f.Words(plain), "; "); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
