// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	Live     client.Reader // Profiles that Set does not know yet: they may be applied together with a namespace
}

func (p *Profiles) choose(ctx context.Context, labels map[string]string) (profile.Choice, error) {
	set, err := p.Set(ctx)
	if err != nil {
		return profile.Choice{}, err
	}
	c := set.Choose(labels)
	if c.Profile == nil {
		c.Profile, err = p.read(ctx, c.Name)
	}
	return c, err
}

// read returns nil where there is no profile of that name.
func (p *Profiles) read(ctx context.Context, name string) (*profile.Profile, error) {
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return nil, nil
	}
	found := &profile.Profile{}
	err := p.Live.Get(ctx, client.ObjectKey{Name: name}, found)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read profile %s: %w", name, err)
	}
	return found, nil
}

// startingMode is that of the profile that counts: of the selected one where there is none of the given name.
func (p *Profiles) startingMode(ctx context.Context, c profile.Choice) baseline.Mode {
	if c.Profile == nil {
		return p.Starting(ctx, c.Selected.Starting())
	}
	return p.Starting(ctx, c.Profile.Starting())
}

// expected is what rules see of the profile.
func (p *Profiles) expected(ctx context.Context, c profile.Choice) *gate.Profile {
	if c.Profile == nil {
		return &gate.Profile{Name: c.Name, Selected: c.Selected.Name}
	}
	return &gate.Profile{
		Name: c.Name, Selected: c.Selected.Name, Exists: true,
		StartingMode: p.startingMode(ctx, c).String(), MinimumMode: c.Profile.Minimum().String(),
		RequiredLabels: c.Profile.Spec.RequiredLabels,
	}
}
