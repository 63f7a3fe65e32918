// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// flips are the comparisons that say the opposite, and the ones that differ where both sides are equal.
var flips = map[token.Token]struct{ opposite, boundary token.Token }{
	token.EQL: {token.NEQ, token.ILLEGAL},
	token.NEQ: {token.EQL, token.ILLEGAL},
	token.LSS: {token.GEQ, token.LEQ},
	token.LEQ: {token.GTR, token.LSS},
	token.GTR: {token.LEQ, token.GEQ},
	token.GEQ: {token.LSS, token.GTR},
}

func (f *finder) binary(b *ast.BinaryExpr) {
	if logical(b.Op) {
		f.chain(b)
		return
	}
	flip, ok := flips[b.Op]
	if !ok {
		return
	}
	x, y := f.text(b.X), f.text(b.Y)
	f.invert(b, f.text(b), x+" "+flip.opposite.String()+" "+y)
	if flip.boundary != token.ILLEGAL {
		id := f.add(b, f.text(b), x+" "+flip.boundary.String()+" "+y)
		f.wrap(b, "((", f.ask(") != (", id)+" && ("+f.written(b.X)+") == ("+f.written(b.Y)+")))")
	}
}

// chain finds the operands of a && b && c, or a || b || c, that can be dropped.
func (f *finder) chain(b *ast.BinaryExpr) {
	if f.done[b] {
		return
	}
	operands := f.operands(b, b.Op)
	texts := make([]string, len(operands))
	for i, e := range operands {
		texts[i] = f.text(e)
	}
	glue := " " + b.Op.String() + " "
	original := strings.Join(texts, glue)
	for i, e := range operands {
		id := f.add(e, original, strings.Join(slices.Concat(texts[:i], texts[i+1:]), glue))
		if b.Op == token.LAND {
			f.wrap(e, f.ask("(", id)+" || (", "))")
		} else {
			f.wrap(e, f.ask("(!", id)+" && (", "))")
		}
	}
}

func (f *finder) operands(e ast.Expr, op token.Token) []ast.Expr {
	b, ok := e.(*ast.BinaryExpr)
	if !ok || b.Op != op {
		return []ast.Expr{e}
	}
	f.done[b] = true
	return append(f.operands(b.X, op), f.operands(b.Y, op)...)
}

// force makes a condition always true or always false.
func (f *finder) force(e ast.Expr, word, value string) {
	id := f.add(e, word+f.text(e), word+value)
	if value == "true" {
		f.wrap(e, f.ask("(", id)+" || (", "))")
	} else {
		f.wrap(e, f.ask("(!", id)+" && (", "))")
	}
}

// leaf inverts a value that is true or false, unless its parts are mutated anyway.
func (f *finder) leaf(e ast.Expr, before string) {
	tv := f.info.Types[e]
	if basic, ok := tv.Type.(*types.Basic); !ok || basic.Kind() != types.Bool || tv.Value != nil {
		return
	}
	switch e.(type) {
	case *ast.CallExpr, *ast.Ident, *ast.SelectorExpr, *ast.IndexExpr:
		f.invert(e, before+f.text(e), before+"!"+f.text(e))
	}
}

func (f *finder) invert(e ast.Expr, original, mutated string) {
	f.wrap(e, "((", f.ask(") != ", f.add(e, original, mutated))+")")
}

// constant finds true and false, and the numbers that stand at an edge.
func (f *finder) constant(e ast.Expr) {
	value := f.info.Types[e].Value
	if id, ok := e.(*ast.Ident); ok && value.Kind() == constant.Bool && f.info.Uses[id].Parent() == types.Universe && !f.done[e] {
		f.invert(e, f.around(e, id.Name), f.around(e, map[string]string{"true": "false", "false": "true"}[id.Name]))
	}
	name, known := f.typeName(e)
	if basic, ok := f.info.TypeOf(e).Underlying().(*types.Basic); f.done[e] || !known || !ok || basic.Info()&types.IsInteger == 0 {
		return
	}
	for _, change := range edges[f.text(e)] {
		id := f.add(e, f.around(e, f.text(e)), f.around(e, change.to))
		f.wrap(e, f.open(change.function+"["+name+"]", id), ")")
	}
}

// edges are the numbers that are worth being one off, and the functions that do it.
var edges = map[string][]struct{ to, function string }{
	"0":     {{"1", "Inc"}},
	"-1":    {{"0", "Inc"}},
	"1":     {{"2", "Inc"}, {"0", "Dec"}},
	"65535": {{"65534", "Dec"}},
}

func (f *finder) call(c *ast.CallExpr) {
	original := f.text(c)
	builtin := f.builtin(c)
	if last := len(c.Args) - 1; builtin == "make" && last > 0 && !(last == 1 && f.isSlice(c)) {
		f.skipped[c.Args[last]] = true // only a hint
	}
	switch {
	case f.done[c]:
	case builtin == "append" && !f.info.Types[c.Args[0]].IsNil():
		f.wrap(c, f.open("Pick", f.add(c, original, f.text(c.Args[0]))), ", "+f.written(c.Args[0])+")")
	case builtin == "min" || builtin == "max":
		other := map[string]string{"min": "max", "max": "min"}[builtin]
		f.wrap(c, f.open("Pick", f.add(c, original, other+strings.TrimPrefix(original, builtin))), ", "+other+strings.TrimPrefix(f.written(c), builtin)+")")
	case isOrder(c, f.info):
		reverse := f.add(c, original, "-"+original)
		f.wrap(c, f.open("Order", reverse, f.add(c, original, "0")), ")")
	}
}

// isOrder: the call compares two things for a sort, as cmp.Compare does.
func isOrder(c *ast.CallExpr, info *types.Info) bool {
	selector, ok := c.Fun.(*ast.SelectorExpr)
	return ok && selector.Sel.Name == "Compare" && types.Identical(info.TypeOf(c), types.Typ[types.Int])
}
