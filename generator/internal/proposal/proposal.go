// SPDX-License-Identifier: Apache-2.0

// Package proposal turns observed edges into proven policies, ready to be written to a directory
// or committed to a branch.
package proposal

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
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
}

// Namespace is the proposal for one namespace.
type Namespace struct {
	*synth.Namespace
	Rules  []proof.Rule // of the generated policies, with their evidence
	Files  tree.Files
	Listed []evidence.Listed // not learned; at least one end is in the namespace
	Report *proof.Report     // of the generated policies; always proven
	sample *inventory.Sample
}

// Proposal is the outcome for a cluster.
type Proposal struct {
	Cluster    string
	Namespaces []*Namespace // ordered by name
	// Missing are namespaces that were asked for and that the inventory does not have, ordered:
	// nothing is written for them.
	Missing []string
	// Elsewhere are listed edges that no namespace of the proposal takes part in.
	Elsewhere []evidence.Listed
	// AssumedDNS says why no DNS was found in the inventory, so that the baseline allows pods
	// k8s-app=kube-dns in kube-system on port 53. Empty: it was found.
	AssumedDNS string
}

// NotProvenError says that policies were written and could not be proven. Nothing of them may
// be used.
type NotProvenError struct {
	Namespace string
	Report    *proof.Report
}

func (e *NotProvenError) Error() string {
	var what []string
	for _, b := range e.Report.Broken {
		what = append(what, fmt.Sprintf("%s is not allowed (%s)", b.Connection, b.Reason))
	}
	for _, s := range e.Report.Surplus {
		what = append(what, s+" is needed by no connection")
	}
	const shown = 3
	if len(what) > shown {
		what = append(what[:shown], fmt.Sprintf("and %d more", len(what)-shown))
	}
	return fmt.Sprintf("policies of namespace %s are not proven: %s", e.Namespace, strings.Join(what, "; "))
}

// Make makes and proves the policies. The error is a *NotProvenError when the proof fails; there
// is no Proposal then.
func Make(in Input) (*Proposal, error) {
	if err := tree.ValidCluster(in.Cluster); err != nil {
		return nil, err
	}
	found, err := evidence.Sort(in.Edges, in.Inventory)
	if err != nil {
		return nil, err
	}
	dns := in.DNS.targets(in.Inventory)
	p := &Proposal{Cluster: in.Cluster, AssumedDNS: dns.Assumed}
	names := namespaces(in.Namespaces, &found)
	names = slices.DeleteFunc(names, func(n string) bool {
		missing := len(in.Namespaces) > 0 && !in.Inventory.HasNamespace(n)
		if missing {
			p.Missing = append(p.Missing, n)
		}
		return missing
	})
	sample := in.Inventory.Sample()
	for _, name := range names {
		written, err := synth.Write(name, found.Connections, in.Inventory, sample, dns)
		if err != nil {
			return nil, fmt.Errorf("write policies of namespace %s: %w", name, err)
		}
		n := &Namespace{Namespace: written, sample: sample, Listed: touching(found.Listed, name)}
		if err := n.prove(); err != nil {
			return nil, err
		}
		if n.Files, err = tree.Render(in.Cluster, written, n.Rules, n.Listed, in.Loss); err != nil {
			return nil, err
		}
		p.Namespaces = append(p.Namespaces, n)
	}
	for _, l := range found.Listed {
		if !slices.ContainsFunc(names, func(n string) bool { return l.Touches(n) }) {
			p.Elsewhere = append(p.Elsewhere, l)
		}
	}
	return p, nil
}

// prove takes away what other rules cover already, and proves what is left.
func (n *Namespace) prove() error {
	all, err := proof.Reduce(n.All(), n.Connections, n.sample)
	if err != nil {
		return fmt.Errorf("reduce policies of namespace %s: %w", n.Name, err)
	}
	n.Policies = all[len(n.Baseline):] // the baseline comes first and stays
	if n.Report, err = proof.Prove(all, n.Connections, n.sample); err != nil {
		return fmt.Errorf("prove policies of namespace %s: %w", n.Name, err)
	}
	if !n.Report.Proven {
		return &NotProvenError{n.Name, n.Report}
	}
	if n.Rules, err = proof.Explain(all, n.Connections, n.sample); err != nil {
		return fmt.Errorf("explain policies of namespace %s: %w", n.Name, err)
	}
	return nil
}

func namespaces(asked []string, found *evidence.Evidence) []string {
	if len(asked) == 0 {
		return slices.DeleteFunc(found.Namespaces(), baseline.IsSystemNamespace)
	}
	names := slices.Sorted(slices.Values(asked))
	return slices.Compact(names)
}

func touching(listed []evidence.Listed, namespace string) []evidence.Listed {
	return slices.DeleteFunc(slices.Clone(listed), func(l evidence.Listed) bool { return !l.Touches(namespace) })
}

// ProveFinal judges the files as they will be in the repository, with what people changed in them.
func (n *Namespace) ProveFinal(files tree.Files) (*proof.Report, error) {
	var policies []*networkingv1.NetworkPolicy
	for name, content := range files {
		if !isPolicyFile(name) {
			continue
		}
		objects, err := manifest.Parse(name, content, manifest.Strict)
		if err != nil {
			return nil, fmt.Errorf("policies of namespace %s: %w", n.Name, err)
		}
		found, err := proof.Policies(objects)
		if err != nil {
			return nil, fmt.Errorf("policies of namespace %s, %s: %w", n.Name, name, err)
		}
		for _, p := range found {
			if p.Namespace == "" { // the kustomization gives it
				p.Namespace = n.Name
			}
		}
		policies = append(policies, found...)
	}
	report, err := proof.Prove(policies, n.Connections, n.sample)
	if err != nil {
		return nil, fmt.Errorf("policies of namespace %s: %w", n.Name, err)
	}
	return report, nil
}

func isPolicyFile(name string) bool {
	return name != tree.KustomizationFile && !strings.Contains(name, "/") &&
		(strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml"))
}
