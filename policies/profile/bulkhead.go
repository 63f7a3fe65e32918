// SPDX-License-Identifier: Apache-2.0

package profile

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BulkheadName is the name of the one Bulkhead of each namespace.
const BulkheadName = "status"

// Bulkhead shows where a namespace stands. The controller writes it; nothing reads it back.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,categories=bulkhead
// +kubebuilder:metadata:labels={"app.kubernetes.io/name=bulkhead-webhook","app.kubernetes.io/part-of=bulkhead"}
// +kubebuilder:printcolumn:name=Mode,type=string,JSONPath=.status.mode
// +kubebuilder:printcolumn:name=Profile,type=string,JSONPath=.status.profile
// +kubebuilder:printcolumn:name=Policies,type=string,JSONPath=.status.summary
// +kubebuilder:printcolumn:name=Ready,type=string,JSONPath=.status.conditions[?(@.type=='Ready')].status
// +kubebuilder:printcolumn:name=Reason,type=string,JSONPath=.status.conditions[?(@.type=='Ready')].reason
// +kubebuilder:printcolumn:name=Since,type=date,JSONPath=.status.since
type Bulkhead struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Status BulkheadStatus `json:"status,omitzero"`
}

// BulkheadStatus is where a namespace stands.
type BulkheadStatus struct {
	// observe, audit or enforce.
	// +optional
	Mode string `json:"mode,omitempty"`
	// The namespace's profile. Of a namespace that is not enrolled, the one that it would get.
	// +optional
	Profile string `json:"profile,omitempty"`
	// Since when mode and profile are these, as far as was seen.
	// +optional
	Since metav1.Time `json:"since,omitzero"`
	// How many of the wanted policies are present, such as 2/2.
	// +optional
	Summary string `json:"summary,omitempty"`
	// Names of the policies that Bulkhead made and that are as they should be, sorted.
	// +optional
	// +listType=atomic
	Policies []string `json:"policies,omitempty"`
	// Ready: the namespace has what its mode and profile ask for. DNSFound: the cluster's DNS is known.
	// ProfileMatches: the namespace has the profile that selects it.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BulkheadList is a list of Bulkheads.
//
// +kubebuilder:object:root=true
type BulkheadList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Bulkhead `json:"items"`
}

// Conditions of a Bulkhead.
const (
	Ready          = "Ready"
	DNSFound       = "DNSFound"
	ProfileMatches = "ProfileMatches"
)
