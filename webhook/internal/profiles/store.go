// SPDX-License-Identifier: Apache-2.0

// Package profiles keeps the set of profiles that is in force: those of the API server, and Bulkhead's own.
package profiles

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

// Store makes a profile.Set of the Profiles in a cache, again when they have changed.
type Store struct {
	cached   client.Reader
	starting baseline.Mode // of profile standard

	mu  sync.Mutex
	of  []version // what set was made of
	set *profile.Set
}

type version struct {
	uid        types.UID
	generation int64
}

// New returns a Store that reads from cached, which has all Profiles.
func New(cached client.Reader, starting baseline.Mode) *Store {
	return &Store{cached: cached, starting: starting}
}

// Set returns what is in force now. It fails only while the cache is not filled yet.
func (s *Store) Set(ctx context.Context) (*profile.Set, error) {
	var list profile.ProfileList
	if err := s.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list profiles: %w", err)
	}
	versions := make([]version, len(list.Items))
	for i := range list.Items {
		versions[i] = version{list.Items[i].UID, list.Items[i].Generation}
	}
	slices.SortFunc(versions, func(a, b version) int { return strings.Compare(string(a.uid), string(b.uid)) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil || !slices.Equal(versions, s.of) {
		s.set, s.of = profile.NewSet(s.starting, copies(list.Items)), versions
	}
	return s.set, nil
}

func copies(items []profile.Profile) []*profile.Profile {
	all := make([]*profile.Profile, len(items))
	for i := range items {
		all[i] = items[i].DeepCopy()
	}
	return all
}
