// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// source is a package, parsed and checked.
type source struct {
	path, dir string
	names     []string    // absolute path of each file
	files     []*ast.File // as many
	fset      *token.FileSet
	info      *types.Info
	types     *types.Package
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Name, Dir, Export string
	GoFiles                       []string
	DepOnly                       bool
}

// load parses and checks the target and the judge. What they import is read as it was compiled.
func load(ctx context.Context, dir, target, judge string) (t, j *source, err error) {
	all, err := list(ctx, dir, target, judge)
	if err != nil {
		return nil, nil, err
	}
	exports := make(map[string]string)
	var named []listed
	for _, p := range all {
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			named = append(named, p)
		}
	}
	if len(named) != 2 || (named[0].Name == "main") == (named[1].Name == "main") {
		return nil, nil, fmt.Errorf("%s and %s must be a package and the main package that judges it", target, judge)
	}
	if named[0].Name == "main" {
		named[0], named[1] = named[1], named[0]
	}
	if t, err = check(named[0], exports); err != nil {
		return nil, nil, err
	}
	j, err = check(named[1], exports)
	return t, j, err
}

func list(ctx context.Context, dir string, patterns ...string) ([]listed, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-deps", "-export", "-json=ImportPath,Name,Dir,Export,GoFiles,DepOnly"}, patterns...)...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w\n%s", strings.Join(patterns, " "), err, &stderr)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the answer of go list: %w", err)
		}
		all = append(all, p)
	}
}

func check(p listed, exports map[string]string) (*source, error) {
	s := &source{path: p.ImportPath, dir: p.Dir, fset: token.NewFileSet(), info: &types.Info{
		Types: make(map[ast.Expr]types.TypeAndValue), Defs: make(map[*ast.Ident]types.Object),
		Uses: make(map[*ast.Ident]types.Object), Implicits: make(map[ast.Node]types.Object),
	}}
	for _, name := range p.GoFiles {
		s.names = append(s.names, filepath.Join(p.Dir, name))
		file, err := parser.ParseFile(s.fset, s.names[len(s.names)-1], nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", p.ImportPath, err)
		}
		s.files = append(s.files, file)
	}
	open := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	config := types.Config{Importer: importer.ForCompiler(s.fset, "gc", open)}
	var err error
	if s.types, err = config.Check(p.ImportPath, s.fset, s.files, s.info); err != nil {
		return nil, fmt.Errorf("check %s: %w", p.ImportPath, err)
	}
	return s, nil
}
