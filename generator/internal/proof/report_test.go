// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
)

// remarks are what a report says beyond what is broken and not needed, a line each.
func remarks(r *proof.Report) (lines []string) {
	for _, x := range r.Excess.Open {
		lines = append(lines, fmt.Sprintf("open: %s %s", x.Workload, x.Direction))
	}
	for _, x := range r.Excess.Future {
		lines = append(lines, strings.TrimSuffix(fmt.Sprintf("future: %s %s %s", x.Rule, x.Pods, x.Ports), " "))
	}
	for _, x := range r.Excess.Ranges {
		lines = append(lines, fmt.Sprintf("range: %s %s", x.Rule, x.Range))
	}
	for _, x := range r.Shadowed {
		lines = append(lines, fmt.Sprintf("shadowed: %s by %s", x.Rule, x.By))
	}
	for _, x := range r.SelectsNothing {
		lines = append(lines, "idle: "+x)
	}
	for _, x := range r.Strays {
		lines = append(lines, "stray: "+x)
	}
	return lines
}

func TestRemarks(t *testing.T) {
	peer := func(namespaces, pods *metav1.LabelSelector) func(*networkingv1.NetworkPolicy) {
		return func(p *networkingv1.NetworkPolicy) {
			p.Spec.Ingress[1].From[0] = networkingv1.NetworkPolicyPeer{NamespaceSelector: namespaces, PodSelector: pods}
		}
	}
	with := func(pairs ...string) *metav1.LabelSelector {
		s := &metav1.LabelSelector{MatchLabels: map[string]string{}}
		for _, p := range pairs {
			k, v, _ := strings.Cut(p, "=")
			s.MatchLabels[k] = v
		}
		return s
	}
	shop := with(corev1.LabelMetadataName + "=shop")
	const at = "NetworkPolicy shop/api spec.ingress[1].from[0] "
	tests := []struct {
		name, policy string
		change       func(*networkingv1.NetworkPolicy)
		want         string // lines, divided by "; "
	}{
		{"nothing", "api", func(*networkingv1.NetworkPolicy) {}, ""},
		{"any pod at all", "api", peer(with(), nil), "future: " + at + "any pod TCP/3000"},
		{"its labels anywhere", "api", peer(with(), with("app=frontend")), "future: " + at + "pods app=frontend in any namespace TCP/3000"},
		{"namespaces by a label", "api", peer(with("team=shop"), with("app=frontend")), "future: " + at + "pods app=frontend in namespaces team=shop TCP/3000"},
		{"any pod of a namespace", "api", peer(shop, nil), "future: " + at + "any pod in namespace shop TCP/3000"},
		{"any pod of its own namespace", "api", peer(nil, with()), "future: " + at + "any pod in namespace shop TCP/3000"},
		{"less than a workload's selector", "api", peer(shop, with("tier=web")), "future: " + at + "pods tier=web in namespace shop TCP/3000"},
		{"more than a workload's selector", "api", peer(shop, with("app=frontend", "tier=web")), ""},
		{"all ports", "api", func(p *networkingv1.NetworkPolicy) {
			peer(shop, nil)(p)
			p.Spec.Ingress[1].Ports = nil
		}, "future: " + at + "any pod in namespace shop all"},
		{"a policy of more than a workload", "report", func(p *networkingv1.NetworkPolicy) { p.Spec.PodSelector = metav1.LabelSelector{} }, "future: NetworkPolicy shop/report spec.podSelector any pod in namespace shop; shadowed: NetworkPolicy shop/api spec.egress[0] by [NetworkPolicy shop/report spec.egress[0]]"},
		{"a policy of nobody", "report", func(p *networkingv1.NetworkPolicy) { p.Spec.PodSelector = *with("app=gone") }, "idle: NetworkPolicy shop/report"},
		{
			"the same rule twice", "report", func(p *networkingv1.NetworkPolicy) { p.Spec.Egress = append(p.Spec.Egress, p.Spec.Egress[0]) },
			"shadowed: NetworkPolicy shop/report spec.egress[0] by [NetworkPolicy shop/report spec.egress[1]]; shadowed: NetworkPolicy shop/report spec.egress[1] by [NetworkPolicy shop/report spec.egress[0]]",
		},
		{
			"nobody isolates", "bulkhead-default-deny", func(p *networkingv1.NetworkPolicy) { p.Name, p.Spec.PodSelector = "x", *with("app=gone") },
			"open: CronJob shop/report Ingress; open: Deployment shop/silent Ingress; idle: NetworkPolicy shop/x",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := load(t)
			tt.change(w.named(tt.policy))
			if got := strings.Join(remarks(w.prove(t)), "; "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestBaselineIsWhatItSays: a policy is not the baseline by its name, nor does it cease to be by another.
func TestBaselineIsWhatItSays(t *testing.T) {
	everything := networkingv1.NetworkPolicyEgressRule{}
	elsewhere := intstr.FromInt32(8443)
	tests := []struct {
		name    string
		change  func(world, *networkingv1.NetworkPolicy)
		surplus []string
		remarks string
	}{
		{"as it is", func(world, *networkingv1.NetworkPolicy) {}, []string{}, ""},
		{"another name", func(_ world, p *networkingv1.NetworkPolicy) { p.Name = "dns" }, []string{}, ""},
		// What it allows is all that the others do on the way out, so they are not needed either.
		{"everything besides", func(w world, p *networkingv1.NetworkPolicy) { p.Spec.Egress = append(p.Spec.Egress, everything) }, nil, "range: NetworkPolicy shop/bulkhead-allow-dns spec.egress[1] everyone"},
		{"another port", func(_ world, p *networkingv1.NetworkPolicy) { p.Spec.Egress[0].Ports[1].Port = &elsewhere }, []string{"NetworkPolicy shop/bulkhead-allow-dns spec.egress[0].ports[1]"}, "future: NetworkPolicy shop/bulkhead-allow-dns spec.podSelector"},
		{"of one workload", func(_ world, p *networkingv1.NetworkPolicy) {
			p.Spec.PodSelector.MatchLabels = map[string]string{"app": "silent"}
		}, []string{"NetworkPolicy shop/bulkhead-allow-dns spec.egress[0]", "NetworkPolicy shop/bulkhead-allow-dns spec.egress[0].ports[0]", "NetworkPolicy shop/bulkhead-allow-dns spec.egress[0].ports[1]"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := load(t)
			tt.change(w, w.named("bulkhead-allow-dns"))
			r := w.prove(t)
			if tt.surplus != nil && !slices.Equal(r.Surplus, tt.surplus) {
				t.Errorf("surplus %q, want %q", r.Surplus, tt.surplus)
			}
			if got := strings.Join(remarks(r), "; "); !strings.Contains(got, tt.remarks) || tt.remarks == "" && got != "" {
				t.Errorf("%q, want %q in it", got, tt.remarks)
			}
			if tt.surplus == nil && (r.Proven || r.Excess.Count == 0) {
				t.Errorf("%+v: a policy that allows everything is proven, or not in excess", r)
			}
		})
	}
}

// TestStray: a pod that somebody took out of its workload does not stand for it.
func TestStray(t *testing.T) {
	set, err := manifest.Load([]string{testCase + "inventory"}, nil, manifest.Lenient)
	if err != nil {
		t.Fatal(err)
	}
	objects := set.Runtime()
	for _, o := range objects {
		if p, ok := o.(*corev1.Pod); ok && p.Name == "frontend-5d8c7-abcde" {
			p.Labels["app"] = "debug"
		}
	}
	w := load(t)
	w.sample = inventory.New(objects).Sample()
	r := w.prove(t)
	const want = "stray: Pod shop/frontend-5d8c7-abcde is of Deployment shop/frontend, whose selector does not select it"
	if got := strings.Join(remarks(r), "; "); !r.Proven || got != want {
		t.Errorf("proven is %v, %q, want %q", r.Proven, got, want)
	}
}

func TestBrokenNamesPods(t *testing.T) {
	w := load(t)
	w.named("database").Spec.Ingress = nil
	r := w.prove(t)
	var got []string
	for _, b := range r.Broken {
		got = append(got, b.From+" → "+b.To)
	}
	if want := "shop/CronJob+report → shop/database-0"; !slices.Contains(got, want) {
		t.Errorf("%q, want %q among them", got, want)
	}
}

// TestListsAreBounded: what is left out of a list is counted.
func TestListsAreBounded(t *testing.T) {
	w := load(t)
	rule := &w.named("api").Spec.Egress[1]
	for i := range 1200 {
		block := &networkingv1.IPBlock{CIDR: fmt.Sprintf("198.18.%d.%d/31", i/128, i%128*2)}
		rule.To = append(rule.To, networkingv1.NetworkPolicyPeer{IPBlock: block})
	}
	for i := range 1100 {
		port := intstr.FromInt32(int32(20000 + 2*i))
		w.named("database").Spec.Ingress[1].Ports = append(w.named("database").Spec.Ingress[1].Ports, networkingv1.NetworkPolicyPort{Port: &port})
	}
	w.named("api").Spec.Egress = append(w.named("api").Spec.Egress, networkingv1.NetworkPolicyEgressRule{})
	x := w.prove(t).Excess
	if len(x.Ranges) != 1000 || x.Omitted != 201 { // with the rule for everyone
		t.Errorf("%d ranges, %d omitted", len(x.Ranges), x.Omitted)
	}
	if len(x.Pairs) != 1000 || x.Count < 1100 {
		t.Errorf("%d of %d pairs", len(x.Pairs), x.Count)
	}
}
