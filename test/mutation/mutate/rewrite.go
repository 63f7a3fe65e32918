// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
)

// alias of package mutant in rewritten source; no name of the source is like it.
const alias = "mutantSwitch"

// insert is a piece of text at an offset of the source.
type insert struct {
	at      int
	closing bool // the end of what it belongs to
	text    string
}

// add makes a mutant of a node and gives its number.
func (f *finder) add(n ast.Node, original, mutated string) int {
	at := f.fset.Position(n.Pos())
	f.Mutants = append(f.Mutants, &Mutant{
		ID: len(f.Mutants) + 1, File: filepath.Base(at.Filename), Line: at.Line, Func: f.name,
		Original: original, Mutated: mutated, Decides: f.decides,
	})
	return len(f.Mutants)
}

// wrap inserts text before and after a node, inside of what was inserted around it before.
func (f *finder) wrap(n ast.Node, before, after string) {
	f.inserts = append(f.inserts,
		insert{at: f.offset(n.Pos()), text: before}, insert{at: f.offset(n.End()), closing: true, text: after})
}

// ask is the question whether a mutant is active, after some text.
func (f *finder) ask(before string, id int) string {
	return fmt.Sprintf("%s%s.On(%d)", before, alias, id)
}

// open begins the call of a function of package mutant, which takes the numbers of the mutants first.
func (f *finder) open(function string, ids ...int) string {
	text := alias + "." + function + "("
	for _, id := range ids {
		text += fmt.Sprintf("%d, ", id)
	}
	return text
}

// rewritten is the file with all its insertions. At one offset the inner ones end first, and the outer
// ones begin first.
func (f *finder) rewritten() []byte {
	name := f.file.Name
	after := insert{at: f.offset(name.End()), closing: true, text: fmt.Sprintf("; import %s %q", alias, runtime)}
	closing, opening := []insert{after}, []insert(nil)
	for _, i := range f.inserts {
		if i.closing {
			closing = append(closing, i)
		} else {
			opening = append(opening, i)
		}
	}
	slices.Reverse(closing)
	inserts := append(closing, opening...)
	slices.SortStableFunc(inserts, func(a, b insert) int { return cmp.Compare(a.at, b.at) })
	var out bytes.Buffer
	from := 0
	for _, i := range inserts {
		out.Write(f.src[from:i.at])
		out.WriteString(i.text)
		from = i.at
	}
	out.Write(f.src[from:])
	fmt.Fprintf(&out, "\nvar _ = %s.On // used by every file\n", alias)
	return out.Bytes()
}

func (f *finder) offset(at token.Pos) int { return f.fset.Position(at).Offset }

// written is a node as it is written.
func (f *finder) written(n ast.Node) string {
	return string(f.src[f.offset(n.Pos()):f.offset(n.End())])
}

// text is a node on one line, for people.
func (f *finder) text(n ast.Node) string { return strings.Join(strings.Fields(f.written(n)), " ") }

// around is the expression or statement that a node stands in, on one line, with the node written so.
func (f *finder) around(n ast.Node, written string) string {
	parent := n
	if len(f.parents) > 0 {
		parent = f.parents[len(f.parents)-1]
	}
	switch parent.(type) {
	case *ast.BinaryExpr, *ast.KeyValueExpr, *ast.CompositeLit, *ast.CallExpr, *ast.IndexExpr, *ast.SliceExpr, *ast.ReturnStmt, *ast.AssignStmt:
	default:
		return written
	}
	text := string(f.src[f.offset(parent.Pos()):f.offset(n.Pos())]) + written + string(f.src[f.offset(n.End()):f.offset(parent.End())])
	return strings.Join(strings.Fields(text), " ")
}

// typeName is how the file can write the type of an expression; false when it cannot.
func (f *finder) typeName(e ast.Expr) (name string, ok bool) {
	ok = true
	name = types.TypeString(types.Default(f.info.TypeOf(e)), func(p *types.Package) string {
		if p == f.types {
			return ""
		}
		for _, spec := range f.file.Imports {
			if imported := f.info.PkgNameOf(spec); imported != nil && imported.Imported() == p {
				return imported.Name()
			}
		}
		ok = false
		return ""
	})
	return name, ok
}

// builtin is the name of the built-in function that an expression calls; empty when it calls none.
func (f *finder) builtin(e ast.Expr) string {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return ""
	}
	if id, ok := call.Fun.(*ast.Ident); ok {
		if b, ok := f.info.Uses[id].(*types.Builtin); ok {
			return b.Name()
		}
	}
	return ""
}

func (f *finder) isSlice(e ast.Expr) bool {
	_, ok := f.info.TypeOf(e).Underlying().(*types.Slice)
	return ok
}

func isBlank(list []ast.Expr) bool {
	id, ok := list[0].(*ast.Ident)
	return ok && id.Name == "_"
}
