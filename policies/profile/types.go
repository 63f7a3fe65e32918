// SPDX-License-Identifier: Apache-2.0

// Package profile says what is expected of which namespaces: the mode they start in, the labels they
// carry, and the policies that every one of them has beside default-deny and DNS.
//
// A Profile is a custom resource that platform teams write. Bulkhead has three of its own, which
// need no API server: Shipped. A Bulkhead is what a namespace's members see of it.
//
// +kubebuilder:object:generate=true
// +groupName=bulkhead.dev
// +versionName=v1alpha1
package profile

import (
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Profile is a set of expectations that namespaces are held to. A namespace's label
// bulkhead.dev/profile names its profile. Namespaces that are created, or enrolled, without that label
// get it: the profile that selects them.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=bulkhead
// +kubebuilder:metadata:labels={"app.kubernetes.io/name=bulkhead-webhook","app.kubernetes.io/part-of=bulkhead"}
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must be at most 63 characters, to be the value of a label"
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Starts in,type=string,JSONPath=.spec.startingMode
// +kubebuilder:printcolumn:name=Priority,type=integer,JSONPath=.spec.priority
// +kubebuilder:printcolumn:name=Namespaces,type=integer,JSONPath=.status.namespaces
// +kubebuilder:printcolumn:name=Updated,type=integer,JSONPath=.status.updated
// +kubebuilder:printcolumn:name=Rolled out,type=string,JSONPath=.status.conditions[?(@.type=='RolledOut')].status
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=.metadata.creationTimestamp
type Profile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec Spec `json:"spec"`
	// +optional
	Status Status `json:"status,omitzero"`
}

// Spec is what a profile expects.
//
// +kubebuilder:validation:XValidation:rule="self.minimumMode == 'observe' || self.minimumMode == self.startingMode || self.startingMode == 'enforce'",fieldPath=".minimumMode",message="it is stronger than startingMode"
type Spec struct {
	// Which namespaces get this profile when they are created or enrolled without naming one. Absent:
	// none. Empty: all. Namespaces that have a profile keep it when this changes.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// Of several profiles that select a namespace the one with the highest priority counts; of equals
	// the first by name.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=-1000
	// +kubebuilder:validation:Maximum=1000
	Priority int32 `json:"priority"`
	// The mode that new namespaces start in. Where the cluster's DNS cannot be found, audit takes the
	// place of enforce.
	// +kubebuilder:validation:Enum=observe;audit;enforce
	StartingMode string `json:"startingMode"`
	// The weakest mode that a namespace of this profile may be in, whoever asks. It does not move
	// namespaces that are in a weaker one already.
	// +optional
	// +kubebuilder:default=observe
	// +kubebuilder:validation:Enum=observe;audit;enforce
	MinimumMode string `json:"minimumMode,omitempty"`
	// Keys of labels that a namespace of this profile has, with a value that is not empty.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=317
	// +kubebuilder:validation:items:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`
	RequiredLabels []string `json:"requiredLabels,omitempty"`
	// Policies of every namespace of this profile in mode audit or enforce, beside default-deny and DNS,
	// which all have.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Policies []Template `json:"policies,omitempty"`
}

// Template is a NetworkPolicy to be made in each namespace. As the whole value of a label that it selects by,
// $(namespace) is the namespace's name, and $(labels['KEY']) the value of the namespace's label KEY.
type Template struct {
	// The policy's name is bulkhead- and this.
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:XValidation:rule="self != 'default-deny' && self != 'allow-dns'",message="every namespace has a policy of this name already"
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// As that of a NetworkPolicy.
	Spec networkingv1.NetworkPolicySpec `json:"spec"`
}

// Status says how far a profile has come.
type Status struct {
	// The spec.generation (metadata.generation) that this is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// How many namespaces have this profile.
	// +optional
	Namespaces int32 `json:"namespaces"`
	// How many of them have what it asks for.
	// +optional
	Updated int32 `json:"updated"`
	// Accepted: the profile is valid and in use. RolledOut: all its namespaces have what it asks for.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ProfileList is a list of profiles.
//
// +kubebuilder:object:root=true
type ProfileList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Profile `json:"items"`
}

// Conditions of a Profile.
const (
	Accepted  = "Accepted"
	RolledOut = "RolledOut"
)
