// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"fmt"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// predicate tells whether one flow matches.
type predicate func(*flowpb.Flow) bool

// selection is what a request asks for: flows that a whitelist filter matches (all flows, if there is
// none) and that no blacklist filter matches.
type selection struct{ whitelist, blacklist []predicate }

func newSelection(whitelist, blacklist []*flowpb.FlowFilter) (selection, error) {
	var s selection
	var err error
	if s.whitelist, err = compileFilters(whitelist); err != nil {
		return s, fmt.Errorf("whitelist: %w", err)
	}
	if s.blacklist, err = compileFilters(blacklist); err != nil {
		return s, fmt.Errorf("blacklist: %w", err)
	}
	return s, nil
}

func (s selection) matches(f *flowpb.Flow) bool {
	return (len(s.whitelist) == 0 || anyOf(s.whitelist, f)) && !anyOf(s.blacklist, f)
}

func anyOf(predicates []predicate, f *flowpb.Flow) bool {
	for _, p := range predicates {
		if p(f) {
			return true
		}
	}
	return false
}

func compileFilters(filters []*flowpb.FlowFilter) ([]predicate, error) {
	compiled := make([]predicate, 0, len(filters))
	for i, filter := range filters {
		p, err := compileFilter(filter)
		if err != nil {
			return nil, fmt.Errorf("filter %d: %w", i, err)
		}
		compiled = append(compiled, p)
	}
	return compiled, nil
}

// compileFilter joins one predicate for each field that is set. A field that this server does not know
// is an error: to ignore it would return flows that were not asked for.
func compileFilter(filter *flowpb.FlowFilter) (predicate, error) {
	var all []predicate
	var err error
	filter.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		compile, known := fields[field.Name()]
		if !known {
			err = fmt.Errorf("field %s is not supported by this server", field.Name())
			return false
		}
		var p predicate
		if p, err = compile(filter); err != nil {
			err = fmt.Errorf("field %s: %w", field.Name(), err)
			return false
		}
		all = append(all, p)
		return true
	})
	return func(f *flowpb.Flow) bool {
		for _, p := range all {
			if !p(f) {
				return false
			}
		}
		return true
	}, err
}
