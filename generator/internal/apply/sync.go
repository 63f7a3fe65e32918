// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// FieldManager owns the fields that sync writes.
const FieldManager = "bulkhead"

// Approved is what Git says about one namespace.
type Approved struct {
	Namespace string
	Commit    string // that approved it, in full
	Policies  []*networkingv1.NetworkPolicy
	// At gives what an earlier commit had approved; it tells a change in Git from one behind its
	// back. An error means that it cannot be known.
	At func(commit string) ([]*networkingv1.NetworkPolicy, error)
}

// Drift is a difference between the cluster and what Git had approved for it.
type Drift struct {
	Policy string `json:"policy"` // namespace/name
	What   string `json:"what"`   // changed, deleted, or not-baseline
	By     string `json:"by,omitempty"`
	Detail string `json:"detail"`
}

// Result is what a sync of one namespace did.
type Result struct {
	Namespace string   `json:"namespace"`
	Commit    string   `json:"commit,omitempty"`
	Applied   []string `json:"applied"`   // created or changed
	Unchanged []string `json:"unchanged"` // as approved already, the onboarding's baseline included
	Pruned    []string `json:"pruned"`    // ours, and no longer approved
	Drift     []Drift  `json:"drift"`     // found before the sync, and set right unless Detail says otherwise
	// Skipped says why nothing was done; empty: it was.
	Skipped string `json:"skipped,omitempty"`
	Error   string `json:"error,omitempty"`
}

// Sync applies what is approved for a namespace and prunes what is ours and not approved. With dry
// it changes nothing and reports what it would do. On an error the Result says how far it came.
func Sync(ctx context.Context, client kubernetes.Interface, a Approved, dry bool) (Result, error) {
	r := Result{Namespace: a.Namespace, Commit: a.Commit, Applied: []string{}, Unchanged: []string{}, Pruned: []string{}, Drift: []Drift{}}
	namespace, err := client.CoreV1().Namespaces().Get(ctx, a.Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		r.Skipped = "the namespace does not exist"
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("get namespace %s: %w", a.Namespace, err)
	}
	if namespace.Status.Phase == corev1.NamespaceTerminating {
		r.Skipped = "the namespace is terminating"
		return r, nil
	}
	list, err := client.NetworkingV1().NetworkPolicies(a.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return r, fmt.Errorf("list NetworkPolicies of namespace %s: %w", a.Namespace, err)
	}
	live := map[string]*networkingv1.NetworkPolicy{}
	for i := range list.Items {
		live[list.Items[i].Name] = &list.Items[i]
	}
	r.Drift = append(r.Drift, drift(a, live)...)
	for _, p := range a.Policies {
		if err := r.apply(ctx, client, p, live[p.Name], dry); err != nil {
			return r, err
		}
	}
	return r, r.prune(ctx, client, a, live, dry)
}

func (r *Result) apply(ctx context.Context, client kubernetes.Interface, approved, live *networkingv1.NetworkPolicy, dry bool) error {
	wanted := labelled(approved, r.Commit)
	switch {
	case live != nil && live.Labels[baseline.LabelManagedBy] == baseline.ManagedByOnboarding:
		r.baseline(approved, live)
		return nil
	case live != nil && same(wanted, live):
		r.Unchanged = append(r.Unchanged, wanted.Name)
		return nil
	}
	if err := send(ctx, client, wanted, dry); err != nil {
		return err
	}
	r.Applied = append(r.Applied, wanted.Name)
	return nil
}

// baseline leaves a policy that onboarding owns alone: two controllers writing one object would
// never come to rest. A difference is reported.
func (r *Result) baseline(approved, live *networkingv1.NetworkPolicy) {
	if equality.Semantic.DeepEqual(defaulted(approved.Spec), defaulted(live.Spec)) {
		r.Unchanged = append(r.Unchanged, live.Name)
		return
	}
	r.Drift = append(r.Drift, Drift{
		Policy: live.Namespace + "/" + live.Name, What: "not-baseline",
		Detail: "Git has another content than onboarding keeps; it is not applied: correct it in Git, or add a policy of another name",
	})
}

// labelled is the object as it is applied. A baseline policy that is not there yet is created with
// the label that it would have had from onboarding, so that onboarding takes it over.
func labelled(p *networkingv1.NetworkPolicy, commit string) *networkingv1.NetworkPolicy {
	out := &networkingv1.NetworkPolicy{
		TypeMeta: metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, Name: p.Name,
			Labels: map[string]string{}, Annotations: map[string]string{},
		},
		Spec: defaulted(p.Spec),
	}
	for k, v := range p.Labels {
		out.Labels[k] = v
	}
	for k, v := range p.Annotations {
		out.Annotations[k] = v
	}
	out.Labels[baseline.LabelManagedBy] = baseline.ManagedByGitOps
	if p.Name == baseline.DefaultDenyName || p.Name == baseline.AllowDNSName {
		out.Labels[baseline.LabelManagedBy] = baseline.ManagedByOnboarding
	}
	out.Annotations[baseline.AnnotationApprovedCommit] = commit
	return out
}

// same reports whether live has everything that wanted says; labels and annotations of others may
// be there too.
func same(wanted, live *networkingv1.NetworkPolicy) bool {
	return contains(live.Labels, wanted.Labels) && contains(live.Annotations, wanted.Annotations) &&
		equality.Semantic.DeepEqual(wanted.Spec, defaulted(live.Spec))
}

func contains(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

func send(ctx context.Context, client kubernetes.Interface, p *networkingv1.NetworkPolicy, dry bool) error {
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("apply NetworkPolicy %s/%s: %w", p.Namespace, p.Name, err)
	}
	force := true
	options := metav1.PatchOptions{FieldManager: FieldManager, Force: &force}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	if _, err := client.NetworkingV1().NetworkPolicies(p.Namespace).Patch(ctx, p.Name, types.ApplyPatchType, body, options); err != nil {
		return fmt.Errorf("apply NetworkPolicy %s/%s: %w", p.Namespace, p.Name, err)
	}
	return nil
}

// prune deletes what carries our label and is not approved.
func (r *Result) prune(ctx context.Context, client kubernetes.Interface, a Approved, live map[string]*networkingv1.NetworkPolicy, dry bool) error {
	for _, name := range sortedNames(live) {
		p := live[name]
		approved := slices.ContainsFunc(a.Policies, func(w *networkingv1.NetworkPolicy) bool { return w.Name == name })
		if approved || p.Labels[baseline.LabelManagedBy] != baseline.ManagedByGitOps {
			continue
		}
		// The precondition keeps a policy that somebody replaced in between.
		options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}}
		if dry {
			options.DryRun = []string{metav1.DryRunAll}
		}
		err := client.NetworkingV1().NetworkPolicies(a.Namespace).Delete(ctx, name, options)
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("prune NetworkPolicy %s/%s: %w", a.Namespace, name, err)
		}
		r.Pruned = append(r.Pruned, name)
	}
	return nil
}
