// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// rule is a compiled rule. Each has a compiler of its own, so that no rule can reach into another
// and a fault has one owner.
type rule struct {
	id     string
	query  rego.PreparedEvalQuery
	params ast.Value
}

// compile compiles a rule, runs its tests and checks its parameters. Errors begin with file:line, those
// of parameters with the file.
func compile(ctx context.Context, id string, files *ruleFiles, given []settings) (*rule, error) {
	if files.rule == nil {
		return nil, fmt.Errorf("%s: tests of a rule that is not there: put rule %s beside them", files.test.name, id)
	}
	if files.test == nil {
		return nil, fmt.Errorf("%s: rule %s has no tests: put a rule_test.rego with at least one test_ rule beside it", files.rule.name, id)
	}
	module, err := parse(files.rule)
	if err != nil {
		return nil, err
	}
	compiler := ast.NewCompiler().WithCapabilities(capabilities()).WithStrict(true).WithSchemas(schemas())
	compiler.Compile(map[string]*ast.Module{files.rule.name: module})
	if compiler.Failed() {
		return nil, explain(compiler.Errors)
	}
	if err := checkShape(id, compiler.Modules[files.rule.name]); err != nil {
		return nil, err
	}
	query, err := rego.New(
		rego.Compiler(compiler),
		rego.Query(packageOf(id)+".violation"),
		// A builtin that fails makes the rule fail. OPA's default takes it for "no violation".
		rego.StrictBuiltinErrors(true),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", files.rule.name, err)
	}
	if err := runTests(ctx, id, module, files.test); err != nil {
		return nil, err
	}
	params, err := paramsOf(id, module, given)
	if err != nil {
		return nil, err
	}
	return &rule{id: id, query: query, params: params}, nil
}

func packageOf(id string) string { return "data.bulkhead.rules." + strings.ReplaceAll(id, "/", ".") }

func schemas() *ast.SchemaSet {
	set := ast.NewSchemaSet()
	set.Put(ast.SchemaRootRef, inputSchema())
	return set
}

func parse(f *file) (*ast.Module, error) {
	module, err := ast.ParseModuleWithOpts(f.name, f.text, ast.ParserOptions{
		RegoVersion: ast.RegoV1, Capabilities: testCapabilities(),
	})
	if errs := ast.Errors(nil); errors.As(err, &errs) {
		return nil, explain(errs)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return module, nil
}

// checkShape refuses what would compile and then silently find nothing.
func checkShape(id string, module *ast.Module) error {
	if got := module.Package.Path.String(); got != packageOf(id) {
		return at(module.Package.Loc(), "package is %s: name it %s", trimData(got), trimData(packageOf(id)))
	}
	found := false
	for _, r := range module.Rules {
		if r.Head.Ref()[0].Value.Compare(ast.Var("violation")) != 0 {
			continue
		}
		if r.Head.DocKind() != ast.PartialSetDoc {
			return at(r.Loc(), "violation is not a set: write `violation contains {…} if {…}`")
		}
		found = true
	}
	if !found {
		return at(module.Package.Loc(), "no violation: write `violation contains {…} if {…}`")
	}
	return checkRefs(module)
}

// checkRefs refuses data of others: there is none, so the reference would be undefined for ever.
func checkRefs(module *ast.Module) (err error) {
	ast.WalkRefs(module, func(ref ast.Ref) bool {
		if err == nil && ref.HasPrefix(ast.DefaultRootRef) && !ref.HasPrefix(module.Package.Path) && ref[0].Location != nil {
			err = at(ref[0].Location, "%s is not in reach: a rule sees input and its own package only", ref)
		}
		return err != nil
	})
	return err
}

func trimData(ref string) string { return strings.TrimPrefix(ref, "data.") }

// explain flattens OPA's errors to lines that begin with file:line, and names a builtin that exists
// but is not for rules.
func explain(errs ast.Errors) error {
	const most = 5
	var lines []error
	for i, e := range errs {
		if i == most {
			lines = append(lines, fmt.Errorf("and %d more", len(errs)-most))
			break
		}
		message := e.Message
		if name, ok := strings.CutPrefix(message, "undefined function "); ok && ast.BuiltinMap[name] != nil {
			message = fmt.Sprintf("builtin %s is not allowed in rules: a rule judges its input and nothing else", name)
		}
		lines = append(lines, at(e.Location, "%s", message))
	}
	return errors.Join(lines...)
}

func at(where *ast.Location, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	if where == nil {
		return errors.New(message)
	}
	return fmt.Errorf("%s:%d: %s", where.File, where.Row, message)
}

// evaluate runs the rule for at most limit.
func (r *rule) evaluate(ctx context.Context, d *document, limit time.Duration) ([]Violation, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	set, err := r.query.Eval(ctx, rego.EvalParsedInput(d.with(r.params)))
	if err != nil {
		if topdown.IsCancel(err) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("it did not finish in time (%s)", limit)
		}
		return nil, err
	}
	return r.violations(set)
}

func (r *rule) violations(set rego.ResultSet) ([]Violation, error) {
	if len(set) != 1 || len(set[0].Expressions) != 1 {
		return nil, errors.New("violation is undefined")
	}
	elements, ok := set[0].Expressions[0].Value.([]any)
	if !ok {
		return nil, errors.New("violation is not a set")
	}
	var all []Violation
	for i, element := range elements {
		if i == maxViolations {
			return append(all, Violation{
				Rule: r.id, Severity: "medium",
				Message: fmt.Sprintf("and %d more violations of this rule", len(elements)-maxViolations),
			}), nil
		}
		v, err := readViolation(r.id, element)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}
