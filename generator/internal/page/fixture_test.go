// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/page"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/readiness"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
	"github.com/bulkhead-dev/bulkhead/test/simulation"
)

// simulated is the proposal of an application that was observed for a day, with attempts that a policy refused and a
// scan of ports.
func simulated(t *testing.T, app string) (*proposal.Proposal, *flows.Stats) {
	t.Helper()
	a, err := simulation.Named(app)
	if err != nil {
		t.Fatal(err)
	}
	trace, err := simulation.Run(a, simulation.Options{Seed: 1, Nodes: 3, Duration: 26 * time.Hour, DNSPort: 53, Noise: simulation.Noise{Denied: 4, Scans: 1, ICMP: 3}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := trace.WriteInventory(dir); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.FromDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var observed bytes.Buffer
	if err := trace.WriteFlows(&observed, simulation.Form{}); err != nil {
		t.Fatal(err)
	}
	attribution := inv.Attribute(edge.DefaultLimits)
	stats, err := flows.Read(&observed, "flows.jsonl", 0, attribution.Add)
	if err != nil {
		t.Fatal(err)
	}
	fold, err := attribution.Settle()
	if err != nil {
		t.Fatal(err)
	}
	if fold, err = inv.Translate(fold); err != nil {
		t.Fatal(err)
	}
	p, err := proposal.Make(proposal.Input{
		Cluster: "prod", Edges: fold.Edges(), Inventory: inv, MaxLoss: 0.01, Criteria: evidence.DefaultCriteria(),
		Thresholds: readiness.DefaultThresholds(), Loss: tree.Loss{Flows: stats.Flows},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, &stats
}

// boutique is simulated once for all tests.
var boutique struct {
	once     sync.Once
	proposal *proposal.Proposal
	stats    *flows.Stats
}

func observed(t *testing.T) (*proposal.Proposal, *flows.Stats) {
	t.Helper()
	boutique.once.Do(func() { boutique.proposal, boutique.stats = simulated(t, "boutique") })
	if boutique.proposal == nil {
		t.Fatal("the application was not simulated")
	}
	return boutique.proposal, boutique.stats
}

func pagesOf(t testing.TB, p *proposal.Proposal, stats *flows.Stats) tree.Files {
	t.Helper()
	files, err := page.Pages(p, stats)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parse(t testing.TB, content []byte) *html.Node {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// textOf is the text of a page as it is read, with single spaces.
func textOf(doc *html.Node) string {
	var b strings.Builder
	for n := range doc.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
