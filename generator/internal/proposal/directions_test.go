// SPDX-License-Identifier: Apache-2.0

package proposal_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/review"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

var ingress = baseline.Directions{Ingress: true}

func namespaceOf(t *testing.T, dir string, change func(*proposal.Input)) *proposal.Namespace {
	t.Helper()
	in := load(t, dir, nil)
	in.Namespaces = []string{"shop"}
	change(&in)
	p, err := proposal.Make(in)
	if err != nil || len(p.Namespaces) != 1 {
		t.Fatalf("%v, %v, %v", err, p, p.Failed)
	}
	return p.Namespaces[0]
}

// TestGoverned: what was asked for comes first, then what Git or the cluster isolates, and both otherwise.
func TestGoverned(t *testing.T) {
	const plain, managed = "testdata/three-tier", "testdata/ingress-first"
	git := namespaceOf(t, plain, func(in *proposal.Input) { in.Directions = ingress }).Files
	in := func(files tree.Files) func(*proposal.Input) {
		return func(in *proposal.Input) { in.Existing = func(string) (tree.Files, error) { return files, nil } }
	}
	both := namespaceOf(t, plain, func(*proposal.Input) {}).Files
	for _, tt := range []struct {
		name, dir string
		change    func(*proposal.Input)
		want      baseline.Directions
	}{
		{"nothing is said", plain, func(*proposal.Input) {}, baseline.BothDirections()},
		{"the cluster", managed, func(*proposal.Input) {}, ingress},
		{"asked", managed, func(in *proposal.Input) { in.Directions = baseline.BothDirections() }, baseline.BothDirections()},
		{"asked for less", plain, func(in *proposal.Input) { in.Directions = ingress }, ingress},
		{"Git", plain, in(git), ingress},
		{"Git is ahead of the cluster", managed, in(both), baseline.BothDirections()},
		{"Git has no baseline", plain, in(tree.Files{"api.yaml": git["api.yaml"]}), baseline.BothDirections()},
	} {
		if n := namespaceOf(t, tt.dir, tt.change); n.Directions != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, n.Directions, tt.want)
		}
	}
}

// TestFromIngressToBoth: widening what is governed changes files as any other change does, and back.
func TestFromIngressToBoth(t *testing.T) {
	one := namespaceOf(t, "testdata/three-tier", func(in *proposal.Input) { in.Directions = ingress })
	both := namespaceOf(t, "testdata/three-tier", func(*proposal.Input) {})
	for _, tt := range []struct {
		from, to *proposal.Namespace
	}{{one, both}, {both, one}} {
		merged, err := tree.Merge(tt.from.Files, tt.to.Files)
		if err != nil {
			t.Fatal(err)
		}
		if len(merged.Kept)+len(merged.Absent) > 0 || len(merged.Files) != len(tt.to.Files) {
			t.Errorf("kept %v, absent %v, %d files", merged.Kept, merged.Absent, len(merged.Files))
		}
		for name, content := range tt.to.Files {
			if got := merged.Files[name]; name != tree.EvidenceFile && string(got) != string(content) {
				t.Errorf("%s:\n%s\nwant\n%s", name, got, content)
			}
		}
	}
}

// TestNoDNSIsNeeded: where only ingress is governed, nobody is told of a way to DNS that nobody wrote.
func TestNoDNSIsNeeded(t *testing.T) {
	in := shopIn(t, "")
	in.Directions = ingress
	p, n := makeShop(t, in)
	if p.AssumedDNS != "" || strings.Contains(string(n.Files["baseline.yaml"]), "kube-dns") {
		t.Errorf("assumed because %q:\n%s", p.AssumedDNS, n.Files["baseline.yaml"])
	}
	merged, err := tree.Merge(nil, n.Files)
	if err != nil {
		t.Fatal(err)
	}
	body := review.Body(&review.Change{Cluster: "c", Namespace: n, Merged: merged, Final: n.Report, AssumedDNS: "another namespace needs it"})
	if strings.Contains(body, "DNS was found") {
		t.Errorf("the pull request speaks of DNS:\n%s", body)
	}
}

// TestListedIsGoverned: nobody is asked about what no policy is about.
func TestListedIsGoverned(t *testing.T) {
	n := namespaceOf(t, "testdata/three-tier", func(in *proposal.Input) { in.Directions, in.Criteria.MinFlows = ingress, 2 })
	for _, l := range n.Listed {
		if l.Edge.From.Namespace == "shop" && l.Edge.To.Namespace != "shop" {
			t.Errorf("listed: %s", l.Edge.Key)
		}
	}
	if len(n.Listed) == 0 {
		t.Error("nothing is listed")
	}
}

// TestHandWrittenEgress: a person's policy for a direction that is not governed is proven all the same.
func TestHandWrittenEgress(t *testing.T) {
	n := namespaceOf(t, "testdata/ingress-first", func(*proposal.Input) {})
	files := tree.Files{"hand.yaml": []byte("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: hand, namespace: shop}\nspec: {podSelector: {matchLabels: {app: report}}, policyTypes: [Egress]}\n")}
	for name, content := range n.Files {
		files[name] = content
	}
	r, err := n.ProveFinal(files)
	if err != nil {
		t.Fatal(err)
	}
	var broken []string
	for _, b := range r.Broken {
		broken = append(broken, b.Connection)
	}
	if !slices.ContainsFunc(broken, func(c string) bool { return strings.HasPrefix(c, "CronJob shop/report → ") }) {
		t.Errorf("broken %v", broken)
	}
}
