// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/bulkhead-dev/bulkhead/test/mutation/mutant"
	"github.com/bulkhead-dev/bulkhead/test/mutation/mutate"
)

// config names what is mutated and what must notice.
type config struct {
	target string     // package, as go build takes it
	judge  string     // main package that holds it to the corpus
	args   []string   // of the judge
	known  equivalent // mutants of which no more is asked than whether they still live
	tests  bool       // mutate the functions that decide nothing, too, and ask the package's own tests about all that lives
}

// verdict is what became of a mutant.
type verdict struct {
	*mutate.Mutant
	by      string // what killed it: a case of the judge or a test; empty: nothing
	corpus  bool   // a case of the judge killed it
	reached bool   // some case of the judge comes to its place
}

// held says whether the right side noticed: the corpus where something is decided, any test elsewhere.
func (v *verdict) held() bool { return v.corpus || !v.Decides && v.by != "" }

// result is what became of all mutants, in order of the source.
type result struct {
	verdicts  []verdict
	unmutated []string // functions with a condition and without a mutant
}

// run mutates the target and judges the mutants.
func run(ctx context.Context, c config) (r result, err error) {
	p, err := mutate.Load(ctx, ".", c.target, c.judge)
	if err != nil {
		return r, err
	}
	r.unmutated = p.Unmutated
	for _, m := range p.Mutants {
		if m.Decides || c.tests {
			r.verdicts = append(r.verdicts, verdict{Mutant: m})
		}
	}
	folder, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return r, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	overlay, err := writeOverlay(p, folder)
	if err != nil {
		return r, err
	}
	judge := filepath.Join(folder, "judge")
	if err := goCommand(ctx, "build", "-overlay", overlay, "-o", judge, c.judge); err != nil {
		return r, err
	}
	if err := askJudges(ctx, judge, c, r.verdicts); err != nil || !c.tests {
		return r, err
	}
	tests := filepath.Join(folder, "tests")
	if err := goCommand(ctx, "test", "-c", "-vet=off", "-overlay", overlay, "-o", tests, c.target); err != nil {
		return r, err
	}
	return r, askTests(ctx, tests, p.Dir, r.verdicts)
}

// passes of the corpus that a mutant must live through before it counts as a gap.
const passes = 4

// askJudges shares the mutants among as many judges as there are processors.
func askJudges(ctx context.Context, binary string, c config, verdicts []verdict) error {
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() (err error) {
			w := &worker{binary: binary, args: c.args}
			defer func() { err = errors.Join(err, w.close()) }()
			for i := next.Add(1) - 1; i < int64(len(verdicts)); i = next.Add(1) - 1 {
				v := &verdicts[i]
				q := mutant.Question{ID: v.ID, Passes: passes}
				if c.known[v.Key()] != "" {
					q.Passes = 1
				}
				answer, err := w.judge(ctx, q)
				if err != nil {
					return err
				}
				v.by, v.corpus, v.reached = answer.By, answer.By != "", answer.Reached
			}
			return nil
		})
	}
	return group.Wait()
}
