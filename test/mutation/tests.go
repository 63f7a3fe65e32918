// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/bulkhead-dev/bulkhead/test/mutation/mutant"
)

// notAsked are tests that cannot be asked about a mutant: the judge has asked the corpus, and to count
// allocations when every question may allocate shows nothing.
const notAsked = "Alloc|Corpus"

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// askTests asks the package's own tests about the mutants that live.
func askTests(ctx context.Context, binary, dir string, verdicts []verdict) error {
	switch by, err := askTest(ctx, binary, dir, 0); {
	case err != nil:
		return err
	case by != "":
		return fmt.Errorf("without a mutant, %s fails", by)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range verdicts {
		v := &verdicts[i]
		if v.corpus {
			continue
		}
		group.Go(func() (err error) {
			v.by, err = askTest(ctx, binary, dir, v.ID)
			return err
		})
	}
	return group.Wait()
}

// askTest is the test that notices a mutant; empty when none does.
func askTest(ctx context.Context, binary, dir string, id int) (string, error) {
	cmd := exec.CommandContext(ctx, binary, "-test.short", "-test.failfast", "-test.timeout", deadline.String(), "-test.run", "^Test", "-test.skip", notAsked)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), fmt.Sprintf("%s=%d", mutant.Variable, id))
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil:
		return "", nil
	case !errors.As(err, &exit):
		return "", fmt.Errorf("run the tests: %w", err)
	}
	if m := failed.FindSubmatch(out); m != nil {
		return string(m[1]), nil
	}
	return "crash", nil
}
