// SPDX-License-Identifier: Apache-2.0

// Package proposal turns observed edges into proven policies, ready to be written to a directory
// or committed to a branch.
package proposal

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/readiness"
	"github.com/bulkhead-dev/bulkhead/generator/internal/synth"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// Input is what a proposal is made of.
type Input struct {
	Cluster string
	// Namespaces to write policies for. Empty: all that were seen, but those of the system.
	Namespaces []string
	Edges      []edge.Edge
	Inventory  *inventory.Inventory
	DNS        DNS
	Loss       tree.Loss
	// MaxLoss is the part of all flows, from 0 to 1, of which more must not be missing; of those of one node it is ten times as much.
	MaxLoss  float64
	Criteria evidence.Criteria
	// Directions that are governed. Zero: in each namespace those that its default-deny isolates, in Git or as Bulkhead
	// keeps it in the cluster; both where there is none.
	Directions baseline.Directions
	// Thresholds are what a namespace must be past to be ready.
	Thresholds readiness.Thresholds
	// Widen is how many addresses that were not seen a rule may allow, so that it has fewer blocks.
	Widen uint64
	// RetireAfter is how long an approved connection must not have been seen to be proposed for removal.
	RetireAfter time.Duration
	// Retire proposes these removals, and nothing else. Otherwise what is approved stays.
	Retire bool
	// Existing returns the files that a namespace has; nil: none has any. Its plan is in them, and what was approved.
	Existing func(namespace string) (tree.Files, error)
	// Take is given each Namespace as soon as it is proven, in no order and by several goroutines at a time. So that a
	// large cluster's are not in memory together, they are then not part of the Proposal. Nil: they are.
	Take func(*Namespace) error
}

// Namespace is the proposal for one namespace.
type Namespace struct {
	*synth.Namespace
	// Existing are the files that the namespace has, as Input.Existing gave them.
	Existing tree.Files
	Rules    []proof.Rule // of the generated policies, with their evidence
	Files    tree.Files
	Listed   []evidence.Listed // not learned; at least one end is in the namespace
	Unused   []string          // decisions of the plan that speak of no connection
	// Aged are approved connections that were not seen for longer than RetireAfter: still allowed, unless they are
	// to be retired. Gone are those of workloads that are not in the inventory any more, in phrases.
	Aged []evidence.Connection
	Gone []string
	// Readiness says how completely it was observed.
	Readiness *readiness.Report
	Report    *proof.Report // of the generated policies; always proven
	// Learned: there was no inventory, so that all that is known of workloads is what flows say. Nil: there was one.
	Learned *inventory.Learned
	inv     *inventory.Inventory
	// observed are the connections of the namespace in both directions: what a person wrote may govern the other one.
	observed []evidence.Connection
	sample   *inventory.Sample
	dns      baseline.DNSTargets
	// documents are what the generated files say, as tree.Rendered has them.
	documents map[string]json.RawMessage
}

// Proposal is the outcome for a cluster.
type Proposal struct {
	Cluster    string
	Retire     bool         // only what is not seen any more is taken away
	Namespaces []*Namespace // ordered by name; nil where Input.Take has them
	// Names of all namespaces that policies were made for, ordered.
	Names []string
	// Missing are namespaces that were asked for and that the inventory does not have, ordered:
	// nothing is written for them.
	Missing []string
	// Silent are namespaces that were asked for and of which no connection was learned: policies would only isolate
	// them. They are ordered.
	Silent []*Namespace
	// Failed say why there is nothing for some namespaces, such as a *NotProvenError; the others are as good as if
	// these had not been there.
	Failed []error
	// Elsewhere are edges that were not learned and that no namespace of the proposal takes part in.
	Elsewhere []evidence.Listed
	// AssumedDNS says why no DNS was found in the inventory, so that the baseline allows pods
	// k8s-app=kube-dns in kube-system on port 53. Empty: it was found.
	AssumedDNS string
}

// Make makes and proves the policies. There is no Proposal with an error, such as a *LossError when too many flows are
// missing.
func Make(in Input) (*Proposal, error) {
	if err := tree.ValidCluster(in.Cluster); err != nil {
		return nil, err
	}
	if in.Loss.Share() > in.MaxLoss || in.Loss.Worst.Share() > nodeFactor*in.MaxLoss {
		return nil, &LossError{in.Loss, in.MaxLoss}
	}
	var (
		sample *inventory.Sample
		group  sync.WaitGroup
	)
	group.Go(func() { sample = in.Inventory.Sample() })
	found := evidence.Sort(in.Edges, in.Inventory, in.Criteria, in.Namespaces...)
	group.Wait()
	in.Edges = nil // unless the caller keeps them, they need no memory any more
	dns := in.DNS.Targets(in.Inventory)
	p := &Proposal{Cluster: in.Cluster, Retire: in.Retire, AssumedDNS: dns.Assumed}
	if in.Directions.Ingress && !in.Directions.Egress {
		p.AssumedDNS = "" // no baseline is about it
	}
	names := namespaces(in.Namespaces, &found)
	names = slices.DeleteFunc(names, func(n string) bool {
		missing := len(in.Namespaces) > 0 && !in.Inventory.HasNamespace(n)
		if missing {
			p.Missing = append(p.Missing, n)
		}
		return missing
	})
	w := &work{Input: &in, found: &found, sample: sample, dns: dns, span: found.Span(), renderer: tree.Renderer{Cluster: in.Cluster, WithoutInventory: in.Inventory.Learned() != nil, Loss: in.Loss}}
	if err := w.all(names, p); err != nil {
		return nil, err
	}
	p.Elsewhere = found.Elsewhere(func(namespace string) bool {
		_, is := slices.BinarySearch(p.Names, namespace)
		return is
	})
	return p, nil
}

// work is Make's work on namespaces, which have all of this in common.
type work struct {
	*Input
	found  *evidence.Evidence
	sample *inventory.Sample
	dns    baseline.DNSTargets
	span   evidence.Span
	lock   sync.Mutex // of Existing

	renderer tree.Renderer
}

// result is a namespace, or why there is none; neither: nothing was learned of it.
type result struct {
	*Namespace
	err error
}

// all makes the namespaces on all cores, and adds them to the proposal in their order. The error is that of Existing or
// Take.
func (w *work) all(names []string, p *Proposal) error {
	results := make([]result, len(names))
	var group errgroup.Group
	group.SetLimit(min(runtime.GOMAXPROCS(0), maxWorkers))
	for i, name := range names {
		group.Go(func() error { return w.one(name, &results[i]) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, r := range results {
		switch {
		case r.err != nil:
			p.Failed = append(p.Failed, r.err)
		case r.Namespace == nil: // it was taken
			p.Names = append(p.Names, names[i])
		case len(r.Connections) > 0:
			p.Names, p.Namespaces = append(p.Names, names[i]), append(p.Namespaces, r.Namespace)
		case len(w.Namespaces) > 0:
			p.Silent = append(p.Silent, r.Namespace)
		}
	}
	return nil
}

// maxWorkers bounds how many namespaces are in memory at a time.
const maxWorkers = 4

func (w *work) one(name string, out *result) error {
	existing, err := w.existing(name)
	if err != nil {
		return fmt.Errorf("what namespace %s has: %w", name, err)
	}
	n, err := w.namespace(name, existing)
	if err != nil {
		out.err = err
		return nil
	}
	if w.Take != nil && len(n.Connections) > 0 {
		return w.Take(n)
	}
	out.Namespace = n
	return nil
}

func (w *work) existing(name string) (tree.Files, error) {
	if w.Existing == nil {
		return nil, nil
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.Existing(name)
}

func (w *work) namespace(name string, existing tree.Files) (*Namespace, error) {
	in, span := w.Input, w.span
	approved := approvedIn(existing)
	decided, err := decide(name, w.found, approved, existing[plan.File])
	if err != nil {
		return nil, err
	}
	if len(decided.Gone) > 0 && in.Inventory.Learned() != nil { // what is silent is not gone
		return nil, fmt.Errorf("namespace %s: %d approved connections are of workloads of which these flows say nothing, such as %s: give --inventory or --kubeconfig, or the flows of before, too", name, len(decided.Gone), decided.Gone[0])
	}
	if all := len(approved); 2*len(decided.Gone) > all && all > 3 {
		return nil, fmt.Errorf("namespace %s: %d of %d approved connections are of workloads that the inventory does not have, such as %s: is the inventory complete? If they are gone for good, remove their policies by hand", name, len(decided.Gone), all, decided.Gone[0])
	}
	aged := in.aged(decided.Connections, approved, span)
	if in.Retire {
		decided.Connections = slices.DeleteFunc(decided.Connections, func(c evidence.Connection) bool {
			_, is := approved[c.Key()]
			return !is || aged[c.Key()]
		})
	}
	governed, err := in.governed(name, existing)
	if err != nil {
		return nil, err
	}
	written, err := synth.Write(name, governed, decided.Connections, in.Inventory, w.sample, w.dns, in.Widen)
	if err != nil {
		return nil, fmt.Errorf("write policies of namespace %s: %w", name, err)
	}
	n := &Namespace{
		Namespace: written, Learned: in.Inventory.Learned(), Existing: existing, inv: in.Inventory, observed: decided.Connections, sample: w.sample, dns: w.dns,
		Listed: listed(written, decided.Listed), Unused: decided.Unused, Gone: decided.Gone,
	}
	for _, c := range n.Connections {
		if aged[c.Key()] {
			n.Aged = append(n.Aged, c)
		}
	}
	n.Readiness = readiness.Judge(name, governed, decided.Connections, in.Inventory, span, in.Thresholds)
	if err := n.prove(); err != nil {
		return nil, err
	}
	rendered, err := w.renderer.Render(written, n.Rules, n.Listed, n.Report.Foreign)
	if err != nil {
		return nil, err
	}
	n.Files, n.documents = rendered.Files, rendered.Documents
	return n, nil
}

func namespaces(asked []string, found *evidence.Evidence) []string {
	if len(asked) == 0 {
		return slices.DeleteFunc(found.Namespaces(), baseline.IsSystemNamespace)
	}
	names := slices.Sorted(slices.Values(asked))
	return slices.Compact(names)
}
