// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// Set is an immutable set of profiles. The shipped ones are always in it.
//
// +kubebuilder:object:generate=false
type Set struct {
	byName  map[string]*Profile
	invalid map[string]field.ErrorList
	order   []candidate // the first that selects a namespace is its profile
}

// candidate is a valid profile that selects namespaces.
type candidate struct {
	profile  *Profile
	selector labels.Selector
}

// NewSet makes a set of the shipped profiles and others, which are not copied and must not be changed
// afterwards. Starting is the starting mode of standard. Of others those under the names of shipped ones
// do not count, and those that are not valid (Validate) select nothing.
func NewSet(starting baseline.Mode, others []*Profile) *Set {
	s := &Set{byName: map[string]*Profile{}, invalid: map[string]field.ErrorList{}}
	for _, p := range others {
		s.byName[p.Name] = p
	}
	for _, p := range Shipped(starting) {
		s.byName[p.Name] = p
	}
	for _, p := range s.All() {
		s.add(p)
	}
	// Stable: of equal priority the first by name counts.
	slices.SortStableFunc(s.order, func(a, b candidate) int {
		return cmp.Compare(b.profile.Spec.Priority, a.profile.Spec.Priority)
	})
	return s
}

func (s *Set) add(p *Profile) {
	if errs := p.Validate(); errs != nil {
		s.invalid[p.Name] = errs
		return
	}
	if p.Spec.NamespaceSelector == nil {
		return
	}
	selector, err := metav1.LabelSelectorAsSelector(p.Spec.NamespaceSelector)
	if err != nil {
		// Validate has found this selector valid. If the two disagree, the profile selects nothing.
		s.invalid[p.Name] = field.ErrorList{field.Invalid(selectorPath, p.Spec.NamespaceSelector, err.Error())}
		return
	}
	s.order = append(s.order, candidate{p, selector})
}

// Get returns the profile of that name, valid or not; nil: there is none. It is shared: not to be changed.
func (s *Set) Get(name string) *Profile { return s.byName[name] }

// Invalid returns what is wrong with the profile of that name; nil: it is valid, or there is none.
func (s *Set) Invalid(name string) field.ErrorList { return s.invalid[name] }

// All returns the profiles by name, valid or not. The slice is the caller's, the profiles are shared.
func (s *Set) All() []*Profile {
	all := make([]*Profile, 0, len(s.byName))
	for _, name := range slices.Sorted(maps.Keys(s.byName)) {
		all = append(all, s.byName[name])
	}
	return all
}

// Select returns the profile for a namespace with these labels that names none: of the valid ones that
// select it the one with the highest priority, of equals the first by name. It is never nil, because
// standard selects every namespace.
func (s *Set) Select(namespaceLabels map[string]string) *Profile {
	for _, c := range s.order {
		if c.selector.Matches(labels.Set(namespaceLabels)) {
			return c.profile
		}
	}
	return s.byName[StandardName]
}

// Choice is which profile a namespace has.
//
// +kubebuilder:object:generate=false
type Choice struct {
	Name     string   // in the label bulkhead.dev/profile; that of Selected where there is no label
	Named    bool     // there is the label
	Profile  *Profile // of that name; nil: there is none
	Selected *Profile // that it has, or would have, without the label; never nil
}

// Choose reads the labels of a namespace.
func (s *Set) Choose(namespaceLabels map[string]string) Choice {
	selected := s.Select(namespaceLabels)
	if name, ok := namespaceLabels[baseline.LabelProfile]; ok {
		return Choice{name, true, s.Get(name), selected}
	}
	return Choice{selected.Name, false, selected, selected}
}
