// SPDX-License-Identifier: Apache-2.0

// Package standing remembers where each namespace stands, as onboarding last left it, for all that
// shows it: objects, metrics.
package standing

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

// Standing of a namespace.
type Standing struct {
	Mode    string // the label's value, or observe
	Profile string // the name
	Named   bool   // a label says so; else it is what selects the namespace
	// Held is the profile of that name; nil: there is none.
	Held    *profile.Profile
	Invalid field.ErrorList // what is wrong with Held; nil: it is valid
	// Selected is the name of the profile that selects the namespace.
	Selected string
	DNS      baseline.DNSTargets // empty in mode observe
	Wanted   int                 // how many policies it is to have
	Policies []string            // names of those that it has
	// Reason and Message say why it is not as it is to be. Empty: it is.
	Reason, Message string
}

// Of is the standing that labels and profiles ask for, without policies yet.
func Of(namespace *corev1.Namespace, set *profile.Set) Standing {
	c := set.Choose(namespace.Labels)
	now := Standing{
		Mode: baseline.Observe.String(), Profile: c.Name, Named: c.Named, Held: c.Profile, Invalid: set.Invalid(c.Name), Selected: c.Selected.Name,
	}
	if mode, ok := namespace.Labels[baseline.LabelMode]; ok {
		now.Mode = mode
	}
	return now
}

// Fail notes why the namespace is not as it is to be. The first reason stays.
func (s *Standing) Fail(reason, message string) {
	if s.Reason == "" {
		s.Reason, s.Message = reason, message
	}
}

// Ready reports whether the namespace has what its mode and profile ask for.
func (s *Standing) Ready() bool { return s.Reason == "" }

// Summary is such as 2/2: present and wanted policies.
func (s *Standing) Summary() string { return fmt.Sprintf("%d/%d", len(s.Policies), s.Wanted) }

// Generation of the profile; 0 without one.
func (s *Standing) Generation() int64 {
	if s.Held == nil {
		return 0
	}
	return s.Held.Generation
}

// AsksForTheSame reports whether the same policies are wanted as in other.
func (s *Standing) AsksForTheSame(other *Standing) bool {
	return s.Mode == other.Mode && s.Profile == other.Profile && s.Generation() == other.Generation() && reflect.DeepEqual(s.DNS, other.DNS)
}

// LooksLike reports whether nobody would see a difference to other.
func (s *Standing) LooksLike(other *Standing) bool {
	return s.AsksForTheSame(other) && s.Named == other.Named && s.Selected == other.Selected && s.Wanted == other.Wanted &&
		slices.Equal(s.Policies, other.Policies) && s.Reason == other.Reason && s.Message == other.Message
}

// labels of the metric. What anybody could write into a namespace's labels is not among them.
func (s *Standing) labels() [3]string {
	mode, held := "unknown", "unknown"
	if _, err := baseline.ParseMode(s.Mode); err == nil {
		mode = s.Mode
	}
	if s.Held != nil {
		held = s.Held.Name
	}
	return [3]string{mode, held, strconv.FormatBool(s.Ready())}
}
