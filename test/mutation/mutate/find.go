// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"
)

// finder walks one file, collects its mutants, and writes down what to insert for them.
type finder struct {
	*Package
	*source
	file *ast.File
	src  []byte

	name    string // of the function it is in
	decides bool   // that function
	inserts []insert
	done    map[ast.Node]bool // nodes that a parent has dealt with
	skipped map[ast.Node]bool // nodes in which nothing that is mutated shows
	parents []ast.Node        // of the node that is visited, the outermost first
}

func (f *finder) function(fn *ast.FuncDecl, decides bool) {
	f.name, f.decides = fn.Name.Name, decides
	f.done, f.skipped = make(map[ast.Node]bool), make(map[ast.Node]bool)
	if receiver, _, _ := strings.Cut(receiverOf(fn), "["); receiver != "" {
		f.name = receiver + "." + f.name
	}
	before := len(f.Mutants)
	f.walk(fn.Body)
	if hasCondition(fn) && len(f.Mutants) == before {
		f.Unmutated = append(f.Unmutated, f.name)
	}
}

func receiverOf(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	return strings.TrimPrefix(types.ExprString(fn.Recv.List[0].Type), "*")
}

// walk visits a node and what is in it.
func (f *finder) walk(root ast.Node) {
	ast.Inspect(root, func(n ast.Node) bool {
		if n == nil {
			f.parents = f.parents[:len(f.parents)-1]
			return false
		}
		inside := f.visit(n)
		if inside {
			f.parents = append(f.parents, n)
		}
		return inside
	})
}

// visit comes to a node before its children, so that what is inserted around the node is outside of
// what is inserted around them. False: the children are done or hold nothing to mutate.
func (f *finder) visit(n ast.Node) bool {
	if f.skipped[n] {
		return false
	}
	if e, ok := n.(ast.Expr); ok && f.info.Types[e].Value != nil {
		f.constant(e)
		return false
	}
	switch n := n.(type) {
	case *ast.GenDecl:
		return n.Tok == token.VAR
	case *ast.ArrayType, *ast.StructType, *ast.FuncType, *ast.MapType, *ast.InterfaceType:
		return false
	case *ast.CompositeLit:
		f.composite(n)
		return false
	case ast.Stmt:
		return f.statement(n)
	case *ast.BinaryExpr:
		f.binary(n)
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			f.invert(n, f.text(n), f.text(n.X))
		}
	case *ast.CallExpr:
		f.call(n)
	}
	return true
}

func (f *finder) statement(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.BlockStmt:
		f.list(s.List)
	case *ast.CommClause:
		f.list(s.Body)
	case *ast.IfStmt:
		f.force(s.Cond, "if ", "true")
		f.force(s.Cond, "if ", "false")
	case *ast.ForStmt:
		if s.Cond != nil {
			f.force(s.Cond, "for ", "false") // with true it does not end, which shows nothing
		}
	case *ast.RangeStmt:
		f.slice(s)
	case *ast.SwitchStmt:
		f.cases(s)
	case *ast.TypeSwitchStmt:
		for _, clause := range s.Body.List {
			f.list(clause.(*ast.CaseClause).Body)
		}
	case *ast.ReturnStmt:
		for _, e := range s.Results {
			f.leaf(e, "return ")
		}
	case *ast.AssignStmt:
		for i, e := range s.Rhs {
			if len(s.Lhs) == len(s.Rhs) {
				f.leaf(e, f.text(s.Lhs[i])+" "+s.Tok.String()+" ")
			}
		}
	}
	return true
}

// list finds the statements that can be left out.
func (f *finder) list(statements []ast.Stmt) {
	for _, s := range statements {
		skip := false
		switch s := s.(type) {
		case *ast.AssignStmt:
			skip = s.Tok != token.DEFINE && !isBlank(s.Lhs)
			f.done[s.Rhs[0]] = skip && f.builtin(s.Rhs[0]) == "append"
		case *ast.IncDecStmt:
			skip = true
		case *ast.BranchStmt:
			skip = s.Tok == token.CONTINUE || s.Tok == token.BREAK
		case *ast.ExprStmt:
			skip = f.builtin(s.X) != "panic"
		case *ast.RangeStmt:
			skip = !f.isSlice(s.X)
		}
		if skip {
			original, _, _ := strings.Cut(f.text(s), " {")
			f.wrap(s, f.ask("if !", f.add(s, original, "(left out)"))+" { ", " }")
		}
	}
}

// cases finds the cases that can be taken or passed over.
func (f *finder) cases(s *ast.SwitchStmt) {
	for _, clause := range s.Body.List {
		clause := clause.(*ast.CaseClause)
		for _, e := range clause.List {
			if s.Tag == nil {
				f.force(e, "case ", "true")
				f.force(e, "case ", "false")
				continue
			}
			f.unnamed(s.Tag, e)
			f.done[e] = true
		}
		f.list(clause.Body)
	}
}

// unnamed makes a case name a value that the tag never has.
func (f *finder) unnamed(tag, e ast.Expr) {
	basic, ok := f.info.TypeOf(e).Underlying().(*types.Basic)
	name, known := f.typeName(e)
	switch {
	case !ok || !known:
	case basic.Info()&types.IsString != 0:
		f.wrap(e, f.open("OtherString["+name+"]", f.add(e, "switch "+f.text(tag)+" case "+f.text(e), "(none)")), ")")
	case basic.Info()&types.IsInteger != 0:
		f.wrap(e, f.open("OtherInt["+name+"]", f.add(e, "switch "+f.text(tag)+" case "+f.text(e), "(none)")), ")")
	}
}

// slice finds the loops over a slice, which can see none of it, or the first element alone.
func (f *finder) slice(s *ast.RangeStmt) {
	if !f.isSlice(s.X) {
		return
	}
	x := f.text(s.X)
	none := f.add(s.X, "range "+x, "range "+x+"[:0]")
	f.wrap(s.X, f.open("Part", none, f.add(s.X, "range "+x, "range "+x+"[:1]")), ")")
}

// composite walks the values; keys are names or constants.
func (f *finder) composite(c *ast.CompositeLit) {
	for _, e := range c.Elts {
		parent := ast.Node(c)
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			f.leaf(kv.Value, f.text(kv.Key)+": ")
			parent, e = kv, kv.Value
		}
		f.parents = append(f.parents, parent)
		f.walk(e)
		f.parents = f.parents[:len(f.parents)-1]
	}
}
