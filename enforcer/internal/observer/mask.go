// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"fmt"
	"strings"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// mask holds the fields of a message that a client wants; the value is the mask of the field's own
// fields, nil for all of it. A nil mask stands for everything.
type mask map[protoreflect.FieldDescriptor]mask

// newMask reads paths such as "time" and "source.pod_name". No path means everything.
func newMask(paths []string) (mask, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	m := mask{}
	for _, path := range paths {
		if err := m.add((&flowpb.Flow{}).ProtoReflect().Descriptor(), path); err != nil {
			return nil, fmt.Errorf("field_mask path %q: %w", path, err)
		}
	}
	return m, nil
}

func (m mask) add(of protoreflect.MessageDescriptor, path string) error {
	name, rest, nested := strings.Cut(path, ".")
	field := of.Fields().ByName(protoreflect.Name(name))
	if field == nil {
		return fmt.Errorf("%s has no field %q", of.Name(), name)
	}
	inner, seen := m[field]
	switch {
	case !nested:
		m[field] = nil
		return nil
	case field.Message() == nil || field.Cardinality() == protoreflect.Repeated:
		return fmt.Errorf("%s has no fields that can be chosen from", name)
	case seen && inner == nil: // all of it is wanted already
		inner = mask{}
	case !seen:
		inner = mask{}
		m[field] = inner
	}
	return inner.add(field.Message(), rest)
}

// event returns what the mask leaves of an event; events other than flows stay whole.
func (m mask) event(e *observerpb.GetFlowsResponse) *observerpb.GetFlowsResponse {
	if m == nil || e.GetFlow() == nil {
		return e
	}
	f := &flowpb.Flow{}
	m.copy(f.ProtoReflect(), e.GetFlow().ProtoReflect())
	return &observerpb.GetFlowsResponse{
		NodeName: e.GetNodeName(), Time: e.GetTime(), ResponseTypes: &observerpb.GetFlowsResponse_Flow{Flow: f},
	}
}

// copy shares the parts that are wanted as a whole: both messages are read only afterwards.
func (m mask) copy(to, from protoreflect.Message) {
	for field, inner := range m {
		switch {
		case !from.Has(field):
		case inner == nil:
			to.Set(field, from.Get(field))
		default:
			inner.copy(to.Mutable(field).Message(), from.Get(field).Message())
		}
	}
}
