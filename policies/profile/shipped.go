// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// Names of the shipped profiles.
const (
	ObserveName  = "observe"
	StandardName = baseline.DefaultProfile
	StrictName   = "strict"
)

// lowest is the priority of the profile that selects whatever no other one does.
const lowest = -1000

// Shipped returns the three profiles of Bulkhead's own, sorted by name: observe, standard, strict.
// Starting is the starting mode of standard, which selects all namespaces; the others select none. The
// caller owns them.
func Shipped(starting baseline.Mode) []*Profile {
	standard := shipped(StandardName, starting, baseline.Observe)
	standard.Spec.NamespaceSelector = &metav1.LabelSelector{}
	standard.Spec.Priority = lowest
	return []*Profile{
		shipped(ObserveName, baseline.Observe, baseline.Observe),
		standard,
		shipped(StrictName, baseline.Enforce, baseline.Enforce),
	}
}

func shipped(name string, starting, minimum baseline.Mode) *Profile {
	return &Profile{
		// TypeMeta is filled in so that the value can be applied as it is.
		TypeMeta: metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: "Profile"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			"app.kubernetes.io/part-of":    "bulkhead",
			"app.kubernetes.io/managed-by": baseline.WebhookServiceAccount,
		}},
		Spec: Spec{StartingMode: starting.String(), MinimumMode: minimum.String()},
	}
}

// ShippedNames returns the names of the profiles of Bulkhead's own. The caller owns the slice.
func ShippedNames() []string { return []string{ObserveName, StandardName, StrictName} }

// IsShipped reports whether name is that of a profile of Bulkhead's own.
func IsShipped(name string) bool { return slices.Contains(ShippedNames(), name) }

// Starting is the mode that new namespaces of the profile start in. A word that is no mode, which
// the schema refuses, counts as enforce.
func (p *Profile) Starting() baseline.Mode { return modeOr(p.Spec.StartingMode, baseline.Enforce) }

// Minimum is the weakest mode that namespaces of the profile may be in. Empty, or a word that is no mode,
// counts as observe.
func (p *Profile) Minimum() baseline.Mode { return modeOr(p.Spec.MinimumMode, baseline.Observe) }

func modeOr(text string, otherwise baseline.Mode) baseline.Mode {
	mode, err := baseline.ParseMode(text)
	if err != nil {
		return otherwise
	}
	return mode
}
