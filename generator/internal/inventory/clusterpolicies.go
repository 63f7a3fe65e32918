// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	policyv1alpha1 "sigs.k8s.io/network-policy-api/apis/v1alpha1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// ClusterPolicy is a policy for the whole cluster, of any kind. It is known to be there; what it says is not looked at.
type ClusterPolicy struct {
	Kind, Name string
	Tier       string // Admin: it decides before NetworkPolicies do; Baseline: where none isolates; or what the object says

	namespaces labels.Selector // of the pods that it is about
}

// String is the policy in one phrase: "ClusterNetworkPolicy lockdown".
func (p ClusterPolicy) String() string { return p.Kind + " " + p.Name }

// clusterPolicyOf takes an object of one of the kinds; false: it is of another one.
func clusterPolicyOf(object runtime.Object) (ClusterPolicy, bool) {
	const admin, baseline = string(policyv1alpha2.AdminTier), string(policyv1alpha2.BaselineTier)
	switch o := object.(type) {
	case *policyv1alpha2.ClusterNetworkPolicy:
		of := o.Spec.Subject.Namespaces
		if pods := o.Spec.Subject.Pods; pods != nil {
			of = &pods.NamespaceSelector
		}
		return ClusterPolicy{"ClusterNetworkPolicy", o.Name, string(o.Spec.Tier), selecting(of)}, true
	case *policyv1alpha1.AdminNetworkPolicy:
		return ClusterPolicy{"AdminNetworkPolicy", o.Name, admin, subjectOf(&o.Spec.Subject)}, true
	case *policyv1alpha1.BaselineAdminNetworkPolicy:
		return ClusterPolicy{"BaselineAdminNetworkPolicy", o.Name, baseline, subjectOf(&o.Spec.Subject)}, true
	}
	return ClusterPolicy{}, false
}

func subjectOf(s *policyv1alpha1.AdminNetworkPolicySubject) labels.Selector {
	if s.Pods != nil {
		return selecting(&s.Pods.NamespaceSelector)
	}
	return selecting(s.Namespaces)
}

// selecting is a selector of namespaces. One that is missing, or not valid, may mean any of them.
func selecting(s *metav1.LabelSelector) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if s == nil || err != nil {
		return labels.Everything()
	}
	return selector
}

// ClusterPolicies are the policies for the whole cluster that are about pods of a namespace, those of tier Admin first, then
// by kind and name; nil: there are none.
func (inv *Inventory) ClusterPolicies(namespace string) (about []ClusterPolicy) {
	set := labels.Set{corev1.LabelMetadataName: namespace}
	for _, n := range inv.namespaces {
		if n.Name == namespace {
			set = labels.Merge(n.Labels, set)
		}
	}
	for _, p := range inv.clusterPolicies {
		if p.namespaces.Matches(set) {
			about = append(about, p)
		}
	}
	slices.SortFunc(about, func(a, b ClusterPolicy) int {
		return cmp.Or(cmp.Compare(a.Tier, b.Tier), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return about
}

// optional are the kinds of policies for the whole cluster, which are custom resources: a cluster need not have them.
var optional = []struct {
	version, resource string
	list              func() runtime.Object
}{
	{"v1alpha2", "clusternetworkpolicies", func() runtime.Object { return new(policyv1alpha2.ClusterNetworkPolicyList) }},
	{"v1alpha1", "adminnetworkpolicies", func() runtime.Object { return new(policyv1alpha1.AdminNetworkPolicyList) }},
	{"v1alpha1", "baselineadminnetworkpolicies", func() runtime.Object { return new(policyv1alpha1.BaselineAdminNetworkPolicyList) }},
}

// clusterPolicyListers are those of the optional kinds that the cluster has.
func clusterPolicyListers(ctx context.Context, client kubernetes.Interface) (out []lister, err error) {
	for _, kind := range optional {
		served, err := serves(client, policyv1alpha2.GroupName+"/"+kind.version, kind.resource)
		if err != nil {
			return nil, fmt.Errorf("ask for %s: %w", kind.resource, err)
		}
		if !served {
			continue
		}
		out = append(out, lister{kind.resource, func(o metav1.ListOptions) (runtime.Object, error) {
			// Without a client of their own, because most clusters do not have the API.
			body, err := client.Discovery().RESTClient().Get().AbsPath("/apis", policyv1alpha2.GroupName, kind.version, kind.resource).
				Param("limit", strconv.FormatInt(o.Limit, 10)).Param("continue", o.Continue).Do(ctx).Raw()
			list := kind.list()
			if err == nil {
				err = json.Unmarshal(body, list)
			}
			return list, err
		}})
	}
	return out, nil
}

// serves reports whether an API server has a resource. Who may not list one is told so before it is known whether there is one.
func serves(client kubernetes.Interface, version, resource string) (bool, error) {
	all, err := client.Discovery().ServerResourcesForGroupVersion(version)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(all.APIResources, func(r metav1.APIResource) bool { return r.Name == resource }), nil
}
