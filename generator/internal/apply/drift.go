// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"maps"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// drift compares every policy of ours with what the commit that it was applied from had approved.
// So a change in Git is not drift, and a change in the cluster is, even if Git moved on since.
func drift(a Approved, live map[string]*networkingv1.NetworkPolicy) []Drift {
	var out []Drift
	commits := map[string]bool{}
	for _, name := range sortedNames(live) {
		p := live[name]
		if p.Labels[baseline.LabelManagedBy] != baseline.ManagedByGitOps {
			continue
		}
		commit := p.Annotations[baseline.AnnotationApprovedCommit]
		commits[commit] = true
		approved := find(a.at(commit), name)
		if approved == nil || equality.Semantic.DeepEqual(defaulted(approved.Spec), defaulted(p.Spec)) {
			continue
		}
		out = append(out, Drift{
			Policy: a.Namespace + "/" + name, What: "changed", By: lastOther(p),
			Detail: "its content was not what commit " + commit + " approved",
		})
	}
	if !commits[a.Commit] {
		return out // nothing of this commit was applied yet, so nothing of it can be missing
	}
	for _, p := range a.Policies {
		if _, there := live[p.Name]; !there {
			out = append(out, Drift{
				Policy: a.Namespace + "/" + p.Name, What: "deleted",
				Detail: "it was not in the cluster although commit " + a.Commit + " had been applied",
			})
		}
	}
	return out
}

func (a Approved) at(commit string) []*networkingv1.NetworkPolicy {
	if commit == a.Commit {
		return a.Policies
	}
	policies, err := a.At(commit)
	if err != nil {
		return nil // an unknown commit approves nothing that could be compared
	}
	return policies
}

func find(policies []*networkingv1.NetworkPolicy, name string) *networkingv1.NetworkPolicy {
	i := slices.IndexFunc(policies, func(p *networkingv1.NetworkPolicy) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return policies[i]
}

// lastOther is the newest writer of the object that is not this program; empty when there is none.
func lastOther(p *networkingv1.NetworkPolicy) string {
	var newest metav1.ManagedFieldsEntry
	for _, e := range p.ManagedFields {
		if e.Manager != FieldManager && (newest.Time == nil || e.Time != nil && e.Time.After(newest.Time.Time)) {
			newest = e
		}
	}
	return newest.Manager
}

// defaulted is a copy with what an API server fills in.
func defaulted(spec networkingv1.NetworkPolicySpec) networkingv1.NetworkPolicySpec {
	out := *spec.DeepCopy()
	netpol.SetDefaults(&out)
	return out
}

func sortedNames(m map[string]*networkingv1.NetworkPolicy) []string {
	return slices.Sorted(maps.Keys(m))
}
