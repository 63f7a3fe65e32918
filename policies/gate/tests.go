// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/tester"
)

// testTimeout bounds one test. It is ample, because a busy node must not keep the rules from loading.
const testTimeout = 10 * time.Second

// runTests runs the tests of one rule. A rule without a passing test is not loaded.
func runTests(ctx context.Context, id string, rule *ast.Module, f *file) error {
	module, err := parse(f)
	if err != nil {
		return err
	}
	if pkg := module.Package.Path.String(); pkg != packageOf(id) && pkg != packageOf(id)+"_test" {
		return at(module.Package.Loc(), "package is %s: name it %s_test", trimData(pkg), trimData(packageOf(id)))
	}
	results, err := tester.NewRunner().
		SetCompiler(ast.NewCompiler().WithCapabilities(testCapabilities()).WithStrict(true)).
		SetModules(map[string]*ast.Module{rule.Package.Loc().File: rule, f.name: module}).
		CapturePrintOutput(false).
		RaiseBuiltinErrors(true).
		SetParallel(1).
		SetTimeout(testTimeout).
		RunTests(ctx, nil)
	if errs := ast.Errors(nil); errors.As(err, &errs) {
		return explain(errs)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	return judge(ctx, f, results)
}

func judge(ctx context.Context, f *file, results <-chan *tester.Result) error {
	passed := 0
	var bad []*tester.Result
	for r := range results {
		if r.Pass() {
			passed++
		} else if !r.Skip {
			bad = append(bad, r)
		}
	}
	// A cancelled run reports only the tests it came to.
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: tests not finished: %w", f.name, err)
	}
	if len(bad) == 0 && passed == 0 {
		return fmt.Errorf("%s: no test: write at least one test_ rule", f.name)
	}
	slices.SortFunc(bad, func(a, b *tester.Result) int { return cmp.Compare(a.Location.Row, b.Location.Row) })
	var all []error
	for _, r := range bad {
		all = append(all, at(r.Location, "test %s failed: %s", r.Name, why(r)))
	}
	return errors.Join(all...)
}

func why(r *tester.Result) string {
	if r.Error != nil {
		return r.Error.Error()
	}
	var cases []string
	for name, sub := range r.SubResults.Iter {
		if sub.Fail {
			cases = append(cases, strings.Join(name, "/"))
		}
	}
	if len(cases) == 0 {
		return "not true"
	}
	return "not true for " + strings.Join(cases, ", ")
}
