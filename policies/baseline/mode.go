// SPDX-License-Identifier: Apache-2.0

package baseline

import "fmt"

// Mode is how much Bulkhead does in a namespace. Modes are ordered by strength, so they can be
// compared with < and >. The zero value is Observe.
type Mode uint8

// The modes, weakest first.
const (
	// Observe creates nothing and records flows.
	Observe Mode = iota
	// Audit has all policies in place; what they would drop is recorded, not dropped.
	Audit
	// Enforce applies the policies.
	Enforce
)

// String returns the mode as it is written in LabelMode.
func (m Mode) String() string {
	switch m {
	case Observe:
		return "observe"
	case Audit:
		return "audit"
	case Enforce:
		return "enforce"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// WeakerThan reports whether going from other to m takes protection away.
func (m Mode) WeakerThan(other Mode) bool { return m < other }

// NeedsBaseline reports whether namespaces in this mode have the two baseline policies.
func (m Mode) NeedsBaseline() bool { return m >= Audit }

// ParseMode reads a mode as it is written in LabelMode: exactly observe, audit or enforce.
func ParseMode(s string) (Mode, error) {
	for m := Observe; m <= Enforce; m++ {
		if s == m.String() {
			return m, nil
		}
	}
	return Observe, fmt.Errorf("mode %q is not one of observe, audit, enforce", s)
}

// ModeOf reads the mode from a Namespace's labels. No label (or nil labels) means Observe:
// a namespace that nobody enrolled keeps working as it did. A value that is no mode is an error.
func ModeOf(namespaceLabels map[string]string) (Mode, error) {
	value, ok := namespaceLabels[LabelMode]
	if !ok {
		return Observe, nil
	}
	mode, err := ParseMode(value)
	if err != nil {
		return Observe, fmt.Errorf("label %s: %w", LabelMode, err)
	}
	return mode, nil
}
