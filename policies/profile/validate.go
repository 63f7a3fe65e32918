// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Limits of a profile. It is rendered for each of its namespaces.
const (
	maxTemplates      = 32
	maxTemplateBytes  = 64 << 10 // of its spec as JSON
	maxRequiredLabels = 16
)

// sample stands for every value that a namespace gives. Names of namespaces and values of labels are no
// less valid than it is.
const sample = "sample"

var (
	specPath     = field.NewPath("spec")
	selectorPath = specPath.Child("namespaceSelector")
)

// Validate returns what is wrong with the profile, with the fields' paths; nil: it is valid. It checks what
// the schema of the custom resource cannot, and what it can where that keeps Render's promises.
func (p *Profile) Validate() field.ErrorList {
	errs := p.nameErrors()
	errs = append(errs, p.Spec.modeErrors()...)
	if p.Spec.NamespaceSelector != nil {
		errs = append(errs, selectorErrors(selectorPath, p.Spec.NamespaceSelector)...)
	}
	errs = append(errs, p.Spec.labelErrors()...)
	return append(errs, p.Spec.templateErrors()...)
}

// nameErrors: the name is the value of a label of namespaces.
func (p *Profile) nameErrors() (errs field.ErrorList) {
	for _, problem := range validation.IsValidLabelValue(p.Name) {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), p.Name, problem))
	}
	return errs
}

func (s *Spec) modeErrors() (errs field.ErrorList) {
	modes := []string{baseline.Observe.String(), baseline.Audit.String(), baseline.Enforce.String()}
	starting, err := baseline.ParseMode(s.StartingMode)
	if err != nil {
		errs = append(errs, field.NotSupported(specPath.Child("startingMode"), s.StartingMode, modes))
	}
	path := specPath.Child("minimumMode")
	minimum, unknown := baseline.ParseMode(cmp.Or(s.MinimumMode, modes[0]))
	switch {
	case unknown != nil:
		errs = append(errs, field.NotSupported(path, s.MinimumMode, modes))
	case err == nil && starting.WeakerThan(minimum):
		errs = append(errs, field.Invalid(path, s.MinimumMode, "it is stronger than startingMode, "+s.StartingMode))
	}
	return errs
}

func (s *Spec) labelErrors() (errs field.ErrorList) {
	path := specPath.Child("requiredLabels")
	if len(s.RequiredLabels) > maxRequiredLabels {
		return field.ErrorList{field.TooMany(path, len(s.RequiredLabels), maxRequiredLabels)}
	}
	for i, key := range s.RequiredLabels {
		errs = append(errs, metavalidation.ValidateLabelName(key, path.Index(i))...)
		if slices.Contains(s.RequiredLabels[:i], key) {
			errs = append(errs, field.Duplicate(path.Index(i), key))
		}
	}
	return errs
}

func (s *Spec) templateErrors() (errs field.ErrorList) {
	path := specPath.Child("policies")
	if len(s.Policies) > maxTemplates {
		return field.ErrorList{field.TooMany(path, len(s.Policies), maxTemplates)}
	}
	names := sets.New(baseline.DefaultDenyName, baseline.AllowDNSName)
	for i := range s.Policies {
		template, at := &s.Policies[i], path.Index(i)
		switch name := prefix + template.Name; {
		case name == baseline.DefaultDenyName, name == baseline.AllowDNSName:
			errs = append(errs, field.Invalid(at.Child("name"), template.Name, "every namespace has a policy of this name already"))
		case names.Has(name):
			errs = append(errs, field.Duplicate(at.Child("name"), template.Name))
		default:
			names.Insert(name)
		}
		errs = append(errs, template.errors(at)...)
	}
	return errs
}

// errors of a template by itself: of its expressions, its selectors, then of the policy that they are part of.
func (t *Template) errors(path *field.Path) (errs field.ErrorList) {
	text, err := json.Marshal(t.Spec)
	if err != nil {
		return field.ErrorList{field.Invalid(path.Child("spec"), t.Name, err.Error())}
	}
	if len(text) > maxTemplateBytes {
		return field.ErrorList{field.TooLong(path.Child("spec"), nil, maxTemplateBytes)}
	}
	policy := t.policy(sample)
	wrong := sets.New[string]() // selectors that are reported
	for at, selector := range selectors(path.Child("spec"), &policy.Spec) {
		found := append(fillIn(at, selector), selectorErrors(at, selector)...)
		if len(found) > 0 {
			wrong.Insert(at.String())
		}
		errs = append(errs, found...)
	}
	for _, fault := range netpol.Validate(policy) {
		at := path.Child(fault.Path)
		if fault.Path == "metadata.name" {
			at = path.Child("name")
		}
		if !wrong.Has(at.String()) {
			errs = append(errs, &field.Error{Type: field.ErrorTypeInvalid, Field: at.String(), BadValue: field.OmitValueType{}, Detail: fault.Problem})
		}
	}
	return errs
}

// fillIn replaces expressions by a sample, wrong ones too, which are returned.
func fillIn(path *field.Path, selector *metav1.LabelSelector) (errs field.ErrorList) {
	for at, value := range values(path, selector) {
		read, err := parse(*value)
		if err != nil {
			errs = append(errs, field.Invalid(at, *value, err.Error()))
		}
		if err != nil || read.literal == "" && *value != "" {
			*value = sample
		}
	}
	return errs
}

// selectorErrors are sorted: the library goes through maps.
func selectorErrors(path *field.Path, selector *metav1.LabelSelector) field.ErrorList {
	errs := metavalidation.ValidateLabelSelector(selector, metavalidation.LabelSelectorValidationOptions{}, path)
	slices.SortStableFunc(errs, func(a, b *field.Error) int {
		return cmp.Or(strings.Compare(a.Field, b.Field), strings.Compare(a.Error(), b.Error()))
	})
	return errs
}
