// SPDX-License-Identifier: Apache-2.0

// Package mutate finds what can be mutated in a Go package, and rewrites the package so that it holds
// all mutants at once, of which package mutant makes one active at run time.
package mutate

import (
	"context"
	"fmt"
	"go/ast"
	"os"
)

// runtime is what rewritten source imports.
const runtime = "github.com/bulkhead-dev/bulkhead/test/mutation/mutant"

// Mutant is one small change of the package.
type Mutant struct {
	ID       int    // from 1
	File     string // base name
	Line     int
	Func     string // "Snapshot.Evaluate"; what stands in a function literal belongs to the function around it
	Original string // on one line
	Mutated  string
	// Nth of the same change in the same function, from 1.
	Nth int
	// Decides: the function is one that the judge's calls lead to.
	Decides bool
}

// Key is what a mutant is known by while the code around it changes.
func (m *Mutant) Key() string {
	key := fmt.Sprintf("%s: %s => %s", m.Func, m.Original, m.Mutated)
	if m.Nth > 1 {
		key += fmt.Sprintf(" #%d", m.Nth)
	}
	return key
}

// Package is a Go package with its mutants.
type Package struct {
	Dir     string // absolute
	Mutants []*Mutant
	// Files are the rewritten sources by absolute path of the original.
	Files map[string][]byte
	// Unmutated are functions with a condition in which nothing was found to mutate; a defect of this tool.
	Unmutated []string
}

// Load reads a package and finds its mutants. The judge is the main package that tests it. Both are
// given as go build takes them, relative to dir.
func Load(ctx context.Context, dir, target, judge string) (*Package, error) {
	t, j, err := load(ctx, dir, target, judge)
	if err != nil {
		return nil, err
	}
	decides := decided(t, j)
	p := &Package{Dir: t.dir, Files: make(map[string][]byte)}
	for i, file := range t.files {
		path := t.names[i]
		src, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the source: %w", err)
		}
		f := &finder{Package: p, source: t, file: file, src: src}
		for _, decl := range file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
				f.function(fn, decides[t.fullName(fn)])
			}
		}
		p.Files[path] = f.rewritten()
	}
	times := make(map[string]int)
	for _, m := range p.Mutants {
		key := m.Key()
		times[key]++
		m.Nth = times[key]
	}
	return p, nil
}
