// SPDX-License-Identifier: Apache-2.0

// Package service joins the parts: proposals to a repository, and the loop that observes, proposes
// and syncs for as long as it runs.
package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/repo"
	"github.com/bulkhead-dev/bulkhead/generator/internal/review"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// Outcome is what became of the proposal for one namespace.
type Outcome struct {
	Namespace string `json:"namespace"`
	Branch    string `json:"branch"`
	Commit    string `json:"commit,omitempty"` // empty: nothing was committed
	Reason    string `json:"reason,omitempty"` // why not
	Error     string `json:"error,omitempty"`
	// Body is the pull request's text; empty when there is nothing to propose.
	Body string `json:"-"`
	// Foreign are policies that the cluster has in the namespace and Git has not.
	Foreign []proof.Foreign `json:"foreign,omitempty"`
}

// Propose commits the proposal of each namespace to its branch, unless the files that the namespace has, which are those of the base
// branch, say the same. One namespace that fails does not keep the others from it. reproduce gives the command that makes a
// namespace's policies again.
func Propose(ctx context.Context, r *repo.Repository, p *proposal.Proposal, reproduce func(namespace string) string) ([]Outcome, error) {
	var (
		outcomes []Outcome
		faults   []error
	)
	for _, n := range p.Namespaces {
		o, err := propose(ctx, r, p, n, reproduce(n.Name))
		if err != nil {
			o.Error = err.Error()
			faults = append(faults, fmt.Errorf("propose policies of namespace %s: %w", n.Name, err))
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, errors.Join(faults...)
}

func propose(ctx context.Context, r *repo.Repository, p *proposal.Proposal, n *proposal.Namespace, command string) (Outcome, error) {
	dir := tree.Dir(p.Cluster, n.Name)
	o := Outcome{Namespace: n.Name, Branch: repo.Branch(p.Cluster, n.Name, p.Retire), Foreign: n.Report.Foreign}
	merged, err := tree.Merge(n.Existing, n.Files)
	if err != nil {
		return o, err
	}
	if !merged.Changed {
		o.Reason = "the base branch says the same"
		return o, nil
	}
	final, err := n.ProveFinal(merged.Files)
	if err != nil {
		return o, err
	}
	o.Body = review.Body(&review.Change{
		Cluster: p.Cluster, Namespace: n, Base: n.Existing, Merged: merged, Final: final, Command: command, AssumedDNS: p.AssumedDNS,
	})
	proposed, err := r.Proposed(o.Branch, dir)
	if err != nil {
		return o, err
	}
	if proposed != nil {
		again, err := tree.Merge(proposed, merged.Files)
		if err == nil && !again.Changed {
			o.Reason = "the branch says the same"
			return o, nil
		}
	}
	commit, err := r.Propose(ctx, o.Branch, dir, merged.Files, fmt.Sprintf("Network policies of %s in %s\n\n%s", n.Name, p.Cluster, o.Body))
	if err != nil {
		return o, err
	}
	if commit.IsZero() {
		o.Reason = "the branch says the same"
		return o, nil
	}
	o.Commit = commit.String()
	return o, nil
}
