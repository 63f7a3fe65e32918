// SPDX-License-Identifier: Apache-2.0

// Package baseline holds the names that all parts of Bulkhead share and the two policies that
// every namespace in mode audit or enforce starts with: default-deny, and the way to DNS.
//
// It is pure: values in, values out, no cluster needed.
package baseline

import (
	"slices"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Labels and annotations. All are on Namespaces except LabelManagedBy, AnnotationNamespaceUID and
// AnnotationApprovedCommit, which are on NetworkPolicies.
const (
	// AnnotationDenyWith on a Namespace says what becomes of what is denied there: "drop" or "reject". Absent, or
	// another value: as the enforcer was told.
	AnnotationDenyWith = "bulkhead.dev/deny-with"
	// LabelMode says where a namespace stands: observe, audit or enforce. Absent means observe.
	LabelMode = "bulkhead.dev/mode"
	// LabelProfile names the set of expectations a namespace is held to. Absent: the profile that selects it.
	LabelProfile = "bulkhead.dev/profile"
	// LabelOwner names the team that answers for the namespace. It is required.
	LabelOwner = "bulkhead.dev/owner"
	// LabelManagedBy marks a policy that is written by Bulkhead, not by people.
	LabelManagedBy = "bulkhead.dev/managed-by"
	// AnnotationNamespaceUID is on the policies that onboarding makes: the uid of the namespace that they
	// were made for. A namespace that was deleted and made again is another one.
	AnnotationNamespaceUID = "bulkhead.dev/namespace-uid"
	// AnnotationApprovedCommit is the Git commit that approved a synced policy.
	AnnotationApprovedCommit = netpol.CommitAnnotation
)

// Values of the labels above.
const (
	DefaultProfile      = "standard"
	ManagedByOnboarding = "onboarding" // the two baseline policies, and those of profiles
	ManagedByGitOps     = "gitops"     // policies synced from Git
)

// Names of the baseline policies. The pod gate in the API server refers to them.
const (
	DefaultDenyName = "bulkhead-default-deny"
	AllowDNSName    = "bulkhead-allow-dns"
)

// Names of the policies that stand for default-deny where only one direction is governed. Onboarding makes none of them.
const (
	DenyIngressName = DefaultDenyName + "-ingress"
	DenyEgressName  = DefaultDenyName + "-egress"
)

// Where Bulkhead itself runs, and as whom.
const (
	ProjectNamespace        = "bulkhead-system"
	WebhookServiceAccount   = "bulkhead-webhook"
	GeneratorServiceAccount = "bulkhead-generator"
	EnforcerServiceAccount  = "bulkhead-enforcer"
)

// SystemNamespaces returns the namespaces that Bulkhead never restricts: a cluster whose own
// components are cut off cannot repair itself. The caller owns the slice.
func SystemNamespaces() []string {
	return []string{"kube-system", "kube-public", "kube-node-lease", ProjectNamespace}
}

// IsSystemNamespace reports whether name is one of SystemNamespaces.
func IsSystemNamespace(name string) bool {
	return slices.Contains(SystemNamespaces(), name)
}

// ServiceAccountUser returns the user name that the API server gives to a service account of
// ProjectNamespace, e.g. system:serviceaccount:bulkhead-system:bulkhead-webhook.
func ServiceAccountUser(serviceAccount string) string {
	return "system:serviceaccount:" + ProjectNamespace + ":" + serviceAccount
}
