// SPDX-License-Identifier: Apache-2.0

package proposal_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
)

// distributions holds clusters, and the DNS policy that onboarding applies in each.
const distributions = "../../../policies/baseline/testdata/dns/"

var shopWeb = edge.Endpoint{Kind: "Deployment", Namespace: "shop", Name: "web"}

// shopIn has shop/web in the cluster of a file (none, if it is empty), where it asks DNS servers at addresses,
// and shop/web itself.
func shopIn(t *testing.T, file string, servers ...string) proposal.Input {
	t.Helper()
	labels := map[string]string{"app": "web"}
	objects := []runtime.Object{&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}}},
	}}
	if file != "" {
		set, err := manifest.Load([]string{file}, nil, manifest.Lenient)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, set.Runtime()...)
	}
	fold := edge.NewFold(1 << 20)
	see := func(k edge.Key) {
		k.From, k.Side, k.Verdict = shopWeb, flows.Egress, flows.Forwarded
		if err := fold.Add(k, edge.Observation{ID: uint64(fold.Len()), Time: time.Unix(1, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	see(edge.Key{To: shopWeb, Protocol: corev1.ProtocolTCP, Port: 3000})
	see(edge.Key{To: shopWeb, Protocol: corev1.ProtocolTCP, Port: 3000})
	for _, server := range servers {
		see(edge.Key{To: edge.Endpoint{Addr: netip.MustParseAddr(server)}, Protocol: corev1.ProtocolUDP, Port: 53})
	}
	return proposal.Input{Cluster: "c", Edges: fold.Edges(), Inventory: inventory.New(objects)}
}

func makeShop(t *testing.T, in proposal.Input) (*proposal.Proposal, *proposal.Namespace) {
	t.Helper()
	p, err := proposal.Make(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Namespaces) != 1 || p.Namespaces[0].Name != "shop" {
		t.Fatalf("%d namespaces, want shop", len(p.Namespaces))
	}
	return p, p.Namespaces[0]
}

// TestBaselineIsOnboardings: in every kind of cluster the baseline is the one that onboarding applies.
func TestBaselineIsOnboardings(t *testing.T) {
	golden, err := filepath.Glob(distributions + "*.golden.yaml")
	if err != nil || len(golden) == 0 {
		t.Fatalf("no clusters: %v", err)
	}
	for _, file := range golden {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, n := makeShop(t, shopIn(t, strings.Replace(file, ".golden", "", 1)))
		if got := string(n.Files["baseline.yaml"]); !strings.HasSuffix(got, "---\n"+string(want)) || p.AssumedDNS != "" {
			t.Errorf("%s: assumed because %q:\n%s\nwant at its end:\n%s", filepath.Base(file), p.AssumedDNS, got, want)
		}
	}
}

func TestNodeLocalCacheIsNotRepeated(t *testing.T) {
	file := distributions + "kubeadm-node-local.yaml"
	for server, rules := range map[string]int{"169.254.20.10": 1, "10.96.0.10": 1, "192.0.2.53": 2} {
		_, n := makeShop(t, shopIn(t, file, server))
		if got := len(n.Policies[0].Spec.Egress); got != rules {
			t.Errorf("%s: %d egress rules of shop/web, want %d", server, got, rules)
		}
	}
}

func TestDNSAsSaid(t *testing.T) {
	in := shopIn(t, distributions+"kubespray.yaml")
	in.DNS = proposal.DNS{
		Service:   types.NamespacedName{Namespace: "kube-system", Name: "coredns-secondary"},
		NodeLocal: []netip.Addr{netip.MustParseAddr("169.254.1.1")},
	}
	_, n := makeShop(t, in)
	text := string(n.Files["baseline.yaml"])
	if !strings.Contains(text, "169.254.1.1/32") || strings.Contains(text, "169.254.25.10") || strings.Count(text, "podSelector:\n") != 1 {
		t.Errorf("want the Service and the address that were named, alone:\n%s", text)
	}
}

func TestNoDNS(t *testing.T) {
	p, n := makeShop(t, shopIn(t, ""))
	if !strings.Contains(p.AssumedDNS, "no DNS Service was found") {
		t.Errorf("assumed because %q", p.AssumedDNS)
	}
	if !strings.Contains(string(n.Files["baseline.yaml"]), "k8s-app: kube-dns") {
		t.Errorf("want the usual pods:\n%s", n.Files["baseline.yaml"])
	}
}

func TestParseDNS(t *testing.T) {
	for _, tt := range []struct {
		service   string
		nodeLocal []string
		want      string // the words, or part of the error
	}{
		{"", nil, ""},
		{"infra/resolver", nil, "--dns-service infra/resolver"},
		{"", []string{"169.254.20.10", "fd00::a"}, "--dns-node-local 169.254.20.10,fd00::a"},
		{"infra/resolver", []string{"169.254.20.10"}, "--dns-service infra/resolver --dns-node-local 169.254.20.10"},
		{"resolver", nil, `--dns-service "resolver": give it as namespace/name`},
		{"infra/", nil, `--dns-service "infra/"`},
		{"a/b/c", nil, `--dns-service "a/b/c"`},
		{"", []string{"169.254"}, `--dns-node-local "169.254" is not an address such as`},
		{"", []string{"169.254.20.10", "fe80::1%eth0"}, `--dns-node-local "fe80::1%eth0" is not an address such as`},
	} {
		dns, err := proposal.ParseDNS(tt.service, tt.nodeLocal)
		got := strings.Join(dns.Words(), " ")
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%q %v: %q, want %q", tt.service, tt.nodeLocal, got, tt.want)
		}
	}
}

// TestBaselineNeedsNoDecision: what the baseline allows is no question to a person, however seldom it was seen.
func TestBaselineNeedsNoDecision(t *testing.T) {
	in := shopIn(t, distributions+"kubeadm-node-local.yaml", "169.254.20.10", "203.0.113.9")
	in.Criteria.MinFlows = 2
	_, n := makeShop(t, in)
	if len(n.Listed) != 1 || n.Listed[0].Reason != evidence.OneOff || n.Listed[0].Edge.To.Addr.String() != "203.0.113.9" {
		t.Errorf("listed: %+v; want only the server that is none of the cluster's", n.Listed)
	}
}
