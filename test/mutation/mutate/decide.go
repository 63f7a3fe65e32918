// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"go/ast"
	"go/token"
	"go/types"
)

// decided are the full names of the target's functions that the judge's calls lead to. A function that
// is only mentioned counts: what is handed over is called.
func decided(target, judge *source) map[string]bool {
	mentions := make(map[string][]string)
	for _, file := range target.files {
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				mentions[target.fullName(d)] = target.mentioned(target.path, d)
			case *ast.GenDecl:
				for _, name := range declared(d) {
					mentions[target.path+"."+name] = target.mentioned(target.path, d)
				}
			}
		}
	}
	seen := make(map[string]bool)
	var visit func(names []string)
	visit = func(names []string) {
		for _, name := range names {
			if !seen[name] {
				seen[name] = true
				visit(mentions[name])
			}
		}
	}
	for _, file := range judge.files {
		visit(judge.mentioned(target.path, file))
	}
	return seen
}

// mentioned are the full names of the functions and variables of package path that a node names.
func (s *source) mentioned(path string, node ast.Node) (names []string) {
	ast.Inspect(node, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok || s.info.Uses[id] == nil || s.info.Uses[id].Pkg() == nil || s.info.Uses[id].Pkg().Path() != path {
			return true
		}
		switch used := s.info.Uses[id].(type) {
		case *types.Func:
			names = append(names, used.Origin().FullName())
		case *types.Var:
			if used.Parent() == used.Pkg().Scope() {
				names = append(names, path+"."+used.Name())
			}
		}
		return true
	})
	return names
}

func (s *source) fullName(fn *ast.FuncDecl) string {
	return s.info.Defs[fn.Name].(*types.Func).FullName()
}

func declared(d *ast.GenDecl) (names []string) {
	for _, spec := range d.Specs {
		if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.VAR {
			for _, name := range v.Names {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

// hasCondition says whether anything is decided in a function itself.
func hasCondition(fn *ast.FuncDecl) (found bool) {
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt, *ast.SwitchStmt, *ast.TypeSwitchStmt:
			found = true
		case *ast.BinaryExpr:
			found = found || logical(n.Op) || comparison(n.Op)
		}
		return !found
	})
	return found
}

func logical(op token.Token) bool { return op == token.LAND || op == token.LOR }

func comparison(op token.Token) bool {
	switch op {
	case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
		return true
	}
	return false
}
