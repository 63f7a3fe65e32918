// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Input is what rules judge: one change to one object. It is the same at admission, in CI and in a
// scan of what exists (Operation CREATE, no OldObject).
type Input struct {
	// Object as it will be, in the form of its JSON. Nil on DELETE.
	Object map[string]any
	// OldObject as it is now. Nil on CREATE.
	OldObject map[string]any
	// Operation is CREATE, UPDATE or DELETE.
	Operation string
	User      User
	// Namespace is the Namespace object that the object is in; nil when the object is in none (a
	// Namespace itself) or its namespace is not known.
	Namespace map[string]any
	// Profile is what is expected of a Namespace; nil for any other kind, and when it is not known.
	Profile *Profile
	// Policy and OldPolicy are the compiled views of Object and OldObject; nil for anything but
	// NetworkPolicies.
	Policy, OldPolicy *netpol.PolicyView
}

// User is who asks for the change.
type User struct {
	Username string
	Groups   []string
	// MayWeaken: the cluster's RBAC allows this user to have the namespace in a weaker mode than new ones
	// of its profile start in. MayLeave: to have it in another profile than the one that selects it. Whoever
	// fills this in asks only about a Namespace for which the answer matters; else both are false.
	MayWeaken, MayLeave bool
	// Trusted: one of Bulkhead's own controllers.
	Trusted bool
}

// Profile is what is expected of a namespace.
type Profile struct {
	// Name is that of the profile that the namespace names, or would get.
	Name string
	// Selected is the name of the profile that the namespace gets when it names none. Never empty.
	Selected string
	// Exists: there is a profile Name. Without one the fields below are empty.
	Exists bool
	// StartingMode is the mode that new namespaces get now, which may be weaker than the profile says:
	// audit instead of enforce while the cluster's DNS is not found. MinimumMode is the weakest that is allowed.
	StartingMode, MinimumMode string
	// RequiredLabels are keys of labels that the namespace has to have.
	RequiredLabels []string
}

// document is an Input as Rego sees it, without the params, which differ from rule to rule.
type document struct {
	fields [][2]*ast.Term
}

func (in *Input) document() (*document, error) {
	d := &document{}
	for _, f := range []struct {
		name  string
		value any
	}{
		{"object", orNull(in.Object)},
		{"oldObject", orNull(in.OldObject)},
		{"operation", in.Operation},
		{"user", in.User.fields()},
		{"namespace", orNull(in.Namespace)},
		{"profile", in.Profile.fields()},
		{"policy", viewOrNull(in.Policy)},
		{"oldPolicy", viewOrNull(in.OldPolicy)},
	} {
		value, err := ast.InterfaceToValue(f.value)
		if err != nil {
			return nil, fmt.Errorf("input field %s is not JSON: %w", f.name, err)
		}
		d.fields = append(d.fields, [2]*ast.Term{ast.StringTerm(f.name), ast.NewTerm(value)})
	}
	return d, nil
}

// with is the document as a rule with these params sees it.
func (d *document) with(params ast.Value) ast.Value {
	object := ast.NewObject(d.fields...)
	object.Insert(ast.StringTerm("params"), ast.NewTerm(params))
	return object
}

func (u User) fields() map[string]any {
	return map[string]any{
		"username": u.Username, "groups": list(u.Groups), "mayWeaken": u.MayWeaken, "mayLeave": u.MayLeave, "trusted": u.Trusted,
	}
}

// fields of a profile that is not known are null.
func (p *Profile) fields() any {
	if p == nil {
		return nil
	}
	return map[string]any{
		"name": p.Name, "selected": p.Selected, "exists": p.Exists,
		"startingMode": p.StartingMode, "minimumMode": p.MinimumMode, "requiredLabels": list(p.RequiredLabels),
	}
}

// list of nothing is an empty array, not null.
func list(texts []string) []any {
	all := make([]any, len(texts))
	for i, text := range texts {
		all[i] = text
	}
	return all
}

// orNull keeps a nil map from becoming an empty object: to a rule, "there is none" is null.
func orNull(object map[string]any) any {
	if object == nil {
		return nil
	}
	return object
}

func viewOrNull(view *netpol.PolicyView) any {
	if view == nil {
		return nil
	}
	return view
}

// inputSchema is the shape of the document. Rules are compiled against it, so that a rule that
// reads input.objcet is refused when it is loaded instead of never finding anything.
func inputSchema() map[string]any {
	object := func(properties map[string]any) map[string]any {
		return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	}
	text, flag, anything := map[string]any{"type": "string"}, map[string]any{"type": "boolean"}, map[string]any{}
	texts := map[string]any{"type": "array", "items": text}
	return object(map[string]any{
		"object": anything, "oldObject": anything, "operation": text, "namespace": anything,
		"params": anything, "policy": anything, "oldPolicy": anything,
		"user": object(map[string]any{
			"username": text, "mayWeaken": flag, "mayLeave": flag, "trusted": flag, "groups": texts,
		}),
		"profile": object(map[string]any{
			"name": text, "selected": text, "exists": flag, "startingMode": text, "minimumMode": text, "requiredLabels": texts,
		}),
	})
}
