// SPDX-License-Identifier: Apache-2.0

package profile

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

//go:generate go tool -modfile=../../test/tools/go.mod controller-gen object:headerFile=header.txt crd paths=. output:object:dir=. output:crd:dir=../../charts/bulkhead/crd
//go:generate mv ../../charts/bulkhead/crd/bulkhead.dev_profiles.yaml ../../charts/bulkhead/crd/profiles.yaml
//go:generate mv ../../charts/bulkhead/crd/bulkhead.dev_bulkheads.yaml ../../charts/bulkhead/crd/bulkheads.yaml

// GroupVersion of Profile and Bulkhead.
var GroupVersion = schema.GroupVersion{Group: "bulkhead.dev", Version: "v1alpha1"}

var scheme = runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Profile{}, &ProfileList{}, &Bulkhead{}, &BulkheadList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
})

// AddToScheme teaches a scheme the types of this package.
func AddToScheme(s *runtime.Scheme) error { return scheme.AddToScheme(s) }
