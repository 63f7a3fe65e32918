// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/gate"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

// Profiles say what is expected of namespaces.
type Profiles struct {
	// Set returns the profiles that are in force.
	Set func(context.Context) (*profile.Set, error)
	// Starting returns the mode that a new namespace gets now whose profile starts in the given mode. It
	// is weaker where DNS is not found.
	Starting func(context.Context, baseline.Mode) baseline.Mode
}

// choice is which profile a namespace has.
type choice struct {
	name     string           // in its label; that of selected where it has none
	named    *profile.Profile // of that name; nil: there is none
	selected *profile.Profile // that it has, or would have, without the label; never nil
}

func (p *Profiles) choose(ctx context.Context, labels map[string]string) (choice, error) {
	set, err := p.Set(ctx)
	if err != nil {
		return choice{}, err
	}
	selected := set.Select(labels)
	if name, ok := labels[baseline.LabelProfile]; ok {
		return choice{name, set.Get(name), selected}, nil
	}
	return choice{selected.Name, selected, selected}, nil
}

// startingMode is that of the profile that counts: of the selected one where there is none of the given name.
func (p *Profiles) startingMode(ctx context.Context, c choice) baseline.Mode {
	if c.named == nil {
		return p.Starting(ctx, c.selected.Starting())
	}
	return p.Starting(ctx, c.named.Starting())
}

// expected is what rules see of the profile.
func (p *Profiles) expected(ctx context.Context, c choice) *gate.Profile {
	if c.named == nil {
		return &gate.Profile{Name: c.name, Selected: c.selected.Name}
	}
	return &gate.Profile{
		Name: c.name, Selected: c.selected.Name, Exists: true,
		StartingMode: p.startingMode(ctx, c).String(), MinimumMode: c.named.Minimum().String(),
		RequiredLabels: c.named.Spec.RequiredLabels,
	}
}
