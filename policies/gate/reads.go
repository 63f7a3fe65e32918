// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

var (
	inputParams = ast.MustParseRef("input.params")
	objectGet   = ast.MustParseRef("object.get")
)

// reads are the parameters that a rule reads: its own text says which there are.
type reads struct {
	defaults map[string]ast.Value // by name; nil: none is written in the rule
	others   bool                 // it may read more: the name of one is not a constant
}

// readsOf finds input.params.name, input.params["name"] and object.get(input.params, "name", default).
func readsOf(module *ast.Module) *reads {
	r := &reads{defaults: map[string]ast.Value{}}
	whole := 0 // times that input.params, or all of input, is read and not one parameter of it
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Ref:
			if r.ref(x) {
				whole++
			}
		case ast.Call:
			if r.call(x) {
				whole--
			}
		case *ast.Expr:
			if terms, ok := x.Terms.([]*ast.Term); ok && r.call(terms) {
				whole--
			}
		}
		return false
	}).Walk(module)
	r.others = whole > 0
	return r
}

// ref notes the parameter that ref reads, or reports that it does not say which.
func (r *reads) ref(ref ast.Ref) (unclear bool) {
	if !ref.HasPrefix(ast.InputRootRef) {
		return false
	}
	if len(ref) == 1 || !ref.HasPrefix(inputParams) {
		return len(ref) == 1 || !ref[:2].IsGround()
	}
	if len(ref) == len(inputParams) {
		return true
	}
	name, ok := ref[len(inputParams)].Value.(ast.String)
	if ok {
		r.note(name, nil)
	}
	return !ok
}

// call notes the parameter of object.get(input.params, "name", default), if it is that.
func (r *reads) call(terms []*ast.Term) bool {
	if len(terms) < 4 || !objectGet.Equal(terms[0].Value) || !inputParams.Equal(terms[1].Value) {
		return false
	}
	name, ok := terms[2].Value.(ast.String)
	if ok {
		r.note(name, terms[3].Value)
	}
	return ok
}

func (r *reads) note(name ast.String, otherwise ast.Value) {
	if r.defaults[string(name)] == nil {
		r.defaults[string(name)] = otherwise
	}
}

// check errs if the rule has no parameter of this name, or one of another kind.
func (r *reads) check(name string, value any) error {
	otherwise, ok := r.defaults[name]
	if !ok && !r.others {
		if len(r.defaults) == 0 {
			return fmt.Errorf("it has no parameter %s, nor any other", name)
		}
		return fmt.Errorf("it has no parameter %s; it has %s", name, names(r.defaults))
	}
	given, err := ast.InterfaceToValue(value)
	if err != nil {
		return fmt.Errorf("parameter %s is not JSON: %w", name, err)
	}
	if otherwise == nil || !ast.IsConstant(otherwise) || alike(given, otherwise) {
		return nil
	}
	return fmt.Errorf("parameter %s is %s; give one like its default %s", name, given, otherwise)
}

// alike reports whether two values are of the same kind, and so are the elements of arrays.
func alike(given, otherwise ast.Value) bool {
	if ast.ValueName(given) != ast.ValueName(otherwise) {
		return false
	}
	array, isArray := given.(*ast.Array)
	like, _ := otherwise.(*ast.Array)
	if !isArray || like.Len() == 0 {
		return true
	}
	return !array.Until(func(element *ast.Term) bool {
		return ast.ValueName(element.Value) != ast.ValueName(like.Elem(0).Value)
	})
}
