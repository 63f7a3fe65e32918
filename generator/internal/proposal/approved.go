// SPDX-License-Identifier: Apache-2.0

package proposal

import (
	"fmt"
	"slices"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
	"github.com/bulkhead-dev/bulkhead/generator/internal/synth"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// governed are the directions that a namespace's policies are about.
func (in *Input) governed(name string, existing tree.Files) (baseline.Directions, error) {
	if in.Directions != (baseline.Directions{}) {
		return in.Directions, nil
	}
	d := baseline.Governed(in.Inventory.Managed(name))
	if content := existing[tree.BaselineFile]; content != nil {
		git, err := policiesIn(name, tree.Files{tree.BaselineFile: content})
		if err != nil {
			return d, err
		}
		d = d.Or(baseline.Governed(git))
	}
	if d == (baseline.Directions{}) {
		d = baseline.BothDirections()
	}
	return d, nil
}

// listed are those that enter or leave a namespace in a governed direction, or in one that nobody knows. What its baseline
// allows is no question to a person, however seldom it was seen.
func listed(n *synth.Namespace, all []evidence.Listed) []evidence.Listed {
	return slices.DeleteFunc(all, func(l evidence.Listed) bool {
		enters, leaves := synth.Governs(n.Name, n.Directions, &l.Edge.From, &l.Edge.To)
		return l.Reason != evidence.DirectionUnknown && l.Reason != evidence.KnownEnds && !enters && !leaves || l.Reason == evidence.OneOff && n.BaselineAllows(l.Edge.Key)
	})
}

// decide sorts the connections of a namespace by its plan, a file, and by what was approved before; empty: there is no
// plan.
func decide(name string, found *evidence.Evidence, approved evidence.Approved, file []byte) (*evidence.Decided, error) {
	if file == nil {
		return found.Decide(name, nil, approved)
	}
	decisions, err := plan.Parse(file)
	if err != nil {
		return nil, fmt.Errorf("%s of namespace %s: %w", plan.File, name, err)
	}
	return found.Decide(name, decisions, approved)
}

// approvedIn are the connections that existing files allow; nil: nothing was generated yet.
func approvedIn(files tree.Files) evidence.Approved {
	r := tree.ReadRecord(files)
	if r == nil {
		return nil
	}
	approved := evidence.Approved{}
	for _, rule := range r.Rules {
		approved[rule.Connection.Key] = rule.Connection
	}
	return approved
}

// aged are the approved connections that were not seen for long.
func (in *Input) aged(connections []evidence.Connection, approved evidence.Approved, span evidence.Span) map[edge.Key]bool {
	out := map[edge.Key]bool{}
	for _, c := range connections {
		if _, is := approved[c.Key()]; is && in.RetireAfter > 0 && span.Last.Sub(c.Evidence.Last) > in.RetireAfter {
			out[c.Key()] = true
		}
	}
	return out
}
