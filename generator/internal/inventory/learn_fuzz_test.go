// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/review"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// FuzzLearned: whatever flows say of a pod, its policies are those of a pod that there can be, and say the same when they
// are read again.
func FuzzLearned(f *testing.F) {
	for _, seed := range [][5]string{
		{"shop", "web-5d8f7c6b9d-x2vq8", "", "", "k8s:app=web\nk8s:tier=front"},
		{"shop", "web-1", "Deployment", "web", "k8s:app=yes\nk8s:n=0x1F\nk8s:e=1e3\nk8s:nothing=\nk8s:null=null"},
		{"shop", "web-1", "Deployment", "web", "k8s:app=a\"b\nk8s:x={{y}}\nk8s:<script>=1"},
		{"shop", "x.-1", "", "", "k8s:app=web"},
		{"..", "../../etc", "Deployment", "../x", "k8s:app=web"},
		{"shop", "api", "Pod", "baseline", "k8s:app=api"},
		{"shop", "api-1", "Deployment", "api", "k8s:app=api"},
		{"shop", "web-*", "D", "kustomization", "app=web\nk8s:io.cilium.k8s.policy.cluster=west"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4])
	}
	f.Fuzz(func(t *testing.T, namespace, pod, kind, workload, labels string) {
		inv := inventory.Learning()
		edges := readLearning(t, inv, flowsOf(t, namespace, pod, kind, workload, strings.Split(labels, "\n")))
		for _, w := range inv.Workloads() {
			if w.Selector != nil {
				plausible(t, *w.Selector)
			}
		}
		p, err := proposal.Make(proposal.Input{
			Cluster: "demo", Edges: edges, Inventory: inv, MaxLoss: 1, Criteria: evidence.Criteria{MinFlows: 1},
		})
		if err != nil || len(p.Failed) > 0 {
			t.Fatal(err, p.Failed)
		}
		for _, n := range p.Namespaces {
			sameWhenRead(t, n)
		}
	})
}

// flowsOf are a flow from the pod to another one, and one back, seen at both sides.
func flowsOf(t *testing.T, namespace, pod, kind, workload string, labels []string) (lines string) {
	t.Helper()
	type end map[string]any
	fuzzed := end{"namespace": namespace, "pod_name": pod, "labels": labels, "workloads": []end{{"kind": kind, "name": workload}}}
	other := end{"namespace": "shop", "pod_name": "api-0", "labels": []string{"k8s:app=api"}, "workloads": []end{{"kind": "StatefulSet", "name": "api"}}}
	for i, ends := range [][2]end{{fuzzed, other}, {other, fuzzed}} {
		for _, side := range []string{"EGRESS", "INGRESS"} {
			line, err := json.Marshal(end{
				"time": "2026-11-20T10:00:00Z", "verdict": "FORWARDED", "traffic_direction": side, "is_reply": false, "uuid": fmt.Sprint(i, side),
				"IP": end{"source": "10.0.0.1", "destination": "10.0.0.2"}, "l4": end{"TCP": end{"source_port": 40000, "destination_port": 8080}},
				"source": ends[0], "destination": ends[1],
			})
			if err != nil {
				t.Fatal(err)
			}
			lines += string(line) + "\n"
		}
	}
	return lines
}

func readLearning(t *testing.T, inv *inventory.Inventory, lines string) []edge.Edge {
	t.Helper()
	a := inv.Attribute(edge.DefaultLimits)
	if _, err := flows.Read(strings.NewReader(lines), "flows", 10, a.Add, flows.WithLabels()); err != nil {
		t.Fatal(err)
	}
	fold, err := a.Settle()
	if err == nil {
		fold, err = inv.Conclude(fold)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fold.Edges()
}

// plausible: the API server takes the selector.
func plausible(t *testing.T, s metav1.LabelSelector) {
	t.Helper()
	if len(s.MatchLabels) == 0 {
		t.Errorf("%+v selects by no label", s)
	}
	for key, value := range s.MatchLabels {
		if problems := slices.Concat(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)); len(problems) > 0 {
			t.Errorf("%q=%q: %q", key, value, problems)
		}
	}
}

// sameWhenRead: the files are what they were made from, their names are names, and no name breaks out of its line.
func sameWhenRead(t *testing.T, n *proposal.Namespace) {
	t.Helper()
	read := map[string]networkingv1.NetworkPolicySpec{}
	for name, content := range n.Files {
		if name != filepath.Base(name) || strings.ContainsAny(name, " \\:\n") {
			t.Errorf("a file called %q", name)
		}
		if name == tree.EvidenceFile || name == tree.KustomizationFile {
			continue
		}
		for _, document := range strings.Split(string(content), "\n---\n") {
			var policy networkingv1.NetworkPolicy
			if err := yaml.UnmarshalStrict([]byte(document), &policy); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, content)
			}
			read[policy.Name] = policy.Spec
		}
	}
	for _, p := range n.Policies {
		if got := read[p.Name]; !maps.Equal(got.PodSelector.MatchLabels, p.Spec.PodSelector.MatchLabels) {
			t.Errorf("%s selects %v when it is read, want %v", p.Name, got.PodSelector, p.Spec.PodSelector)
		}
		plausible(t, p.Spec.PodSelector)
	}
	merged, err := tree.Merge(nil, n.Files)
	if err != nil {
		t.Fatal(err)
	}
	final := &proof.Report{Proven: true}
	body := review.Body(&review.Change{Cluster: "demo", Namespace: n, Merged: merged, Final: final, Command: "bulkhead"})
	if !strings.Contains(body, "There was no inventory") || strings.ContainsAny(body, "\x00\x1b<") {
		t.Errorf("the text for the review:\n%s", body)
	}
}
