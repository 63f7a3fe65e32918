// SPDX-License-Identifier: Apache-2.0

package proposal_test

import (
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/readiness"
	"github.com/bulkhead-dev/bulkhead/generator/internal/review"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

var update = flag.Bool("update", false, "rewrite the expected directories")

// load folds a case's flows. Those lines for which keep is false are left out; nil keeps all.
func load(t *testing.T, dir string, keep func(line string) bool) proposal.Input {
	t.Helper()
	inv, err := inventory.FromDir(filepath.Join(dir, "inventory"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "flows.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if keep == nil || keep(line) {
			lines = append(lines, line)
		}
	}
	attribution := inv.Attribute(edge.DefaultLimits)
	stats, err := flows.Read(strings.NewReader(strings.Join(lines, "")), "flows.jsonl", 0, attribution.Add)
	if err != nil {
		t.Fatal(err)
	}
	fold, err := attribution.Settle()
	if err != nil {
		t.Fatal(err)
	}
	return proposal.Input{
		Cluster: "demo", Edges: fold.Edges(), Inventory: inv, MaxLoss: 0.2, Thresholds: readiness.DefaultThresholds(),
		Criteria: evidence.Criteria{MinFlows: 1, ScanPorts: 10, ScanTargets: 50},
		Loss:     tree.Loss{Flows: stats.Flows, Lost: stats.Lost, Malformed: stats.Malformed},
	}
}

// TestGolden compares what is written with the expected directories, both ways: files that are
// missing fail, and so do files that are too many.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			p, err := proposal.Make(load(t, dir, nil))
			if err != nil {
				t.Fatal(err)
			}
			want := filepath.Join(dir, "want")
			if *update {
				writeGolden(t, want, p)
			}
			for _, n := range p.Namespaces {
				compare(t, filepath.Join(want, n.Name), golden(t, p, n))
			}
		})
	}
}

// golden are a namespace's files and the text of its pull request.
func golden(t *testing.T, p *proposal.Proposal, n *proposal.Namespace) tree.Files {
	t.Helper()
	merged, err := tree.Merge(nil, n.Files)
	if err != nil {
		t.Fatal(err)
	}
	files := maps.Clone(n.Files)
	files["pull-request.md"] = []byte(review.Body(&review.Change{
		Cluster: p.Cluster, Namespace: n, Merged: merged, Final: n.Report, AssumedDNS: p.AssumedDNS, Command: "bulkhead generate --flows flows.jsonl",
	}))
	return files
}

func writeGolden(t *testing.T, want string, p *proposal.Proposal) {
	t.Helper()
	dirs := map[string]tree.Files{}
	for _, n := range p.Namespaces {
		dirs[n.Name] = golden(t, p, n)
	}
	if err := errors.Join(os.RemoveAll(want), write(want, dirs)); err != nil {
		t.Fatal(err)
	}
}

func compare(t *testing.T, dir string, got tree.Files) {
	t.Helper()
	want, err := tree.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[name]; !ok {
			t.Errorf("%s/%s is not written", dir, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if string(got[name]) != string(want[name]) {
			t.Errorf("%s/%s differs (rewrite with -update and look at the difference); got:\n%s", dir, name, got[name])
		}
	}
}

// TestOrderAndRepetition reads the same flows backwards and twice: not a byte may differ.
func TestOrderAndRepetition(t *testing.T) {
	const dir = "testdata/three-tier"
	once := load(t, dir, nil)
	want, err := proposal.Make(once)
	if err != nil {
		t.Fatal(err)
	}
	again := load(t, dir, nil)
	slices.Reverse(again.Edges)
	got, err := proposal.Make(again)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range want.Namespaces {
		for name, content := range n.Files {
			if string(got.Namespaces[i].Files[name]) != string(content) {
				t.Errorf("%s/%s depends on the order of edges", n.Name, name)
			}
		}
	}
}

func TestNotLearned(t *testing.T) {
	p, err := proposal.Make(load(t, "testdata/three-tier", nil))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]evidence.Reason{}
	for _, n := range p.Namespaces {
		for _, l := range n.Listed {
			got[l.Edge.Key.String()] = l.Reason
		}
		for name, content := range n.Files {
			if strings.HasSuffix(name, ".yaml") && strings.Contains(string(content), "scanner") {
				t.Errorf("%s/%s learned the scanner", n.Name, name)
			}
		}
	}
	want := map[string]evidence.Reason{
		"Deployment evil/scanner → StatefulSet shop/database TCP/5432": evidence.Denied,
		"Deployment evil/scanner → Deployment shop/api TCP/3000":       evidence.NoWorkload,
		"Deployment shop/frontend → StatefulSet shop/database UDP":     evidence.DirectionUnknown,
		"Deployment shop/frontend → StatefulSet shop/database TCP":     evidence.DirectionUnknown,
		"host 10.0.0.1 → Deployment shop/frontend TCP/8080":            evidence.OwnNode,
	}
	if !maps.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
}

func TestSelectorsOutliveARollout(t *testing.T) {
	p, err := proposal.Make(load(t, "testdata/three-tier", nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range p.Namespaces {
		for name, content := range n.Files {
			for _, label := range []string{"pod-template-hash", "controller-uid", "job-name", "pod-index", "statefulset.kubernetes.io", "revision-hash"} {
				if strings.HasSuffix(name, ".yaml") && strings.Contains(string(content), label) {
					t.Errorf("%s/%s selects by %s", n.Name, name, label)
				}
			}
		}
	}
}

// TestMissing: a namespace that the inventory does not have gets no policies, and the others do.
func TestMissing(t *testing.T) {
	in := load(t, "testdata/three-tier", nil)
	in.Namespaces = []string{"shop", "nope", "a/b", ""}
	p, err := proposal.Make(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Namespaces) != 1 || p.Namespaces[0].Name != "shop" || !slices.Equal(p.Missing, []string{"", "a/b", "nope"}) {
		t.Errorf("%d namespaces, missing %q", len(p.Namespaces), p.Missing)
	}
}

func TestBadInput(t *testing.T) {
	in := load(t, "testdata/three-tier", nil)
	for name, change := range map[string]func(*proposal.Input){
		`cluster name "../x"`: func(in *proposal.Input) { in.Cluster = "../x" },
		`cluster name ""`:     func(in *proposal.Input) { in.Cluster = "" },
		"1.96 % of the flows are missing": func(in *proposal.Input) {
			in.MaxLoss, in.Loss = 0.01, tree.Loss{Flows: 10_000, Lost: 200}
		},
		"node busy lost 84 % of its flows (38 read, 200 lost)": func(in *proposal.Input) {
			in.MaxLoss, in.Loss = 0.01, tree.Loss{Flows: 100_000, Lost: 200, Worst: flows.NodeLoss{Node: "busy", Flows: 38, Lost: 200}}
		},
	} {
		bad := in
		change(&bad)
		if _, err := proposal.Make(bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error about %s, got %v", name, err)
		}
	}
}

// write replaces directories below root.
func write(root string, dirs map[string]tree.Files) (err error) {
	s, err := tree.Stage(root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for dir, files := range dirs {
		if err := s.Add(dir, files); err != nil {
			return err
		}
	}
	return s.Commit()
}
