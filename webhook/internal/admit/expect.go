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
	name, ok := labels[baseline.LabelProfile]
	if !ok {
		return choice{selected.Name, selected, selected}, nil
	}
	named := set.Get(name)
	if named == nil {
		named, err = p.read(ctx, name)
	}
	return choice{name, named, selected}, err
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
