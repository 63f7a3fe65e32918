// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultRuleTimeout = time.Second
	loadTimeout        = time.Minute
)

// Config of an Engine.
type Config struct {
	// Rules in order: a rule of a later source replaces the one of the same name of an earlier one,
	// tests included. Usually Embedded() first. Empty: no rules, everything passes.
	Rules []Source
	// Actions by rule ("networkpolicy/allow_all"). A name that is no rule is an error.
	Actions map[string]Action
	// Default is the action of rules that Actions does not name. Empty: Deny.
	Default Action
	// Params of rules. Those that a source sets in its ParamsFile count more; nil: only those.
	Params Params
	// RuleTimeout bounds one rule on one object. Zero: one second.
	RuleTimeout time.Duration
}

// Engine evaluates rules. It is safe for concurrent use.
type Engine struct {
	actions map[string]Action
	params  Params
	other   Action
	limit   time.Duration

	loading sync.Mutex // one Load at a time
	rules   atomic.Pointer[[]*rule]
}

// New returns an engine with the rules of the configuration. The error names the file and line, or
// the setting, that is wrong.
func New(ctx context.Context, c Config) (*Engine, error) {
	e := &Engine{actions: maps.Clone(c.Actions), params: c.Params, other: c.Default, limit: c.RuleTimeout}
	if e.other == "" {
		e.other = Deny
	}
	if e.limit == 0 {
		e.limit = defaultRuleTimeout
	}
	if e.limit < 0 {
		return nil, fmt.Errorf("rule timeout %s is negative", e.limit)
	}
	if _, err := ParseAction(string(e.other)); err != nil {
		return nil, fmt.Errorf("default action: %w", err)
	}
	for _, id := range slices.Sorted(maps.Keys(e.actions)) {
		if _, err := ParseAction(string(e.actions[id])); err != nil {
			return nil, fmt.Errorf("rule %s: %w", id, err)
		}
	}
	if err := e.Load(ctx, c.Rules); err != nil {
		return nil, err
	}
	return e, nil
}

// Load replaces all rules and parameters by those of sources. Everything is compiled and every rule's tests are
// run first; when anything fails, the error says file:line and the rules in use stay in use.
func (e *Engine) Load(ctx context.Context, sources []Source) error {
	e.loading.Lock()
	defer e.loading.Unlock()
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	files, err := merge(sources)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(e.actions)) {
		if files[id] == nil {
			return fmt.Errorf("an action is set for rule %s, which does not exist; there are: %s", id, names(files))
		}
	}
	given, err := allSettings(e.params, sources, files)
	if err != nil {
		return err
	}
	compiled, err := compileAll(ctx, files, given)
	if err != nil {
		return err
	}
	e.rules.Store(&compiled)
	return nil
}

func names[V any](of map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(of)), ", ")
}

func merge(sources []Source) (map[string]*ruleFiles, error) {
	all := map[string]*ruleFiles{}
	for _, s := range sources {
		rules, err := s.read()
		if err != nil {
			return nil, err
		}
		maps.Copy(all, rules)
	}
	if len(all) > maxRules {
		return nil, fmt.Errorf("%d rules: more than %d", len(all), maxRules)
	}
	return all, nil
}

// compileAll goes on after a rule that fails, so that one attempt shows all that is wrong.
func compileAll(ctx context.Context, files map[string]*ruleFiles, given []settings) ([]*rule, error) {
	compiled := []*rule{}
	var faults []error
	for _, id := range slices.Sorted(maps.Keys(files)) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("load rules: stopped before %s: %w", id, err)
		}
		r, err := compile(ctx, id, files[id], given)
		if err != nil {
			faults = append(faults, fmt.Errorf("rule %s: %w", id, err))
			continue
		}
		compiled = append(compiled, r)
	}
	return compiled, errors.Join(faults...)
}

// Rules returns the names of the rules in use, sorted, those whose action is off included.
func (e *Engine) Rules() []string {
	var ids []string
	for _, r := range *e.rules.Load() {
		ids = append(ids, r.id)
	}
	return ids
}

// Action returns what happens to violations of a rule.
func (e *Engine) Action(id string) Action {
	if a, ok := e.actions[id]; ok {
		return a
	}
	return e.other
}

// Evaluate judges one change by all rules whose action is not off. Results are sorted by rule, path
// and message; none means that the change is in order.
//
// A rule that fails or does not finish in time is itself a result: Deny when its action is Deny,
// otherwise Warn. An error means that the input is not JSON and no rule has seen it; callers must
// refuse the change.
func (e *Engine) Evaluate(ctx context.Context, in Input) ([]Result, error) {
	d, err := in.document()
	if err != nil {
		return nil, fmt.Errorf("evaluate rules: %w", err)
	}
	var results []Result
	for _, r := range *e.rules.Load() {
		action := e.Action(r.id)
		if action == Off {
			continue
		}
		violations, err := r.evaluate(ctx, d, e.limit)
		if err != nil {
			results = append(results, failed(r.id, action, err))
			continue
		}
		for _, v := range violations {
			results = append(results, Result{Violation: v, Action: action})
		}
	}
	slices.SortFunc(results, byRulePathMessage)
	return results, nil
}
