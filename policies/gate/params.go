// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"sigs.k8s.io/yaml"
)

// ParamsFile is the file of a Source that sets parameters of rules: YAML, group/rule → parameter →
// value. It is not required.
const ParamsFile = "params.yaml"

// Params are parameters by rule ("namespace/owner_required") and name.
type Params map[string]map[string]any

// settings are the parameters that one place gives.
type settings struct {
	from   string // for errors
	params Params
}

// settings reads the source's ParamsFile. Without one there are no parameters.
func (s Source) settings() (settings, error) {
	from := s.file(ParamsFile)
	text, err := readBounded(s.FS, ParamsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return settings{}, nil
	}
	if err != nil {
		return settings{}, fmt.Errorf("read %s: %w", from, err)
	}
	var document any
	if err := yaml.UnmarshalStrict([]byte(text), &document); err != nil {
		return settings{}, fmt.Errorf("%s: %s", from, oneLine(err))
	}
	params, err := readParams(document)
	if err != nil {
		return settings{}, fmt.Errorf("%s: %w", from, err)
	}
	return settings{from: from, params: params}, nil
}

// oneLine is what a YAML error says beside how it came about.
func oneLine(err error) string {
	text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	return strings.Join(strings.Fields(text), " ")
}

func readParams(document any) (Params, error) {
	byRule, ok := document.(map[string]any)
	if !ok && document != nil {
		return nil, errors.New("give group/rule: {parameter: value}")
	}
	params := Params{}
	for _, id := range slices.Sorted(maps.Keys(byRule)) {
		of, ok := byRule[id].(map[string]any)
		if !ok && byRule[id] != nil {
			return nil, fmt.Errorf("parameters of rule %s are not of the form parameter: value", id)
		}
		params[id] = of
	}
	return params, nil
}

// allSettings are the parameters of a configuration and of its sources, in order.
func allSettings(params Params, sources []Source, rules map[string]*ruleFiles) ([]settings, error) {
	all := []settings{{from: "built-in parameters", params: params}}
	for _, s := range sources {
		given, err := s.settings()
		if err != nil {
			return nil, err
		}
		all = append(all, given)
	}
	for _, given := range all {
		for _, id := range slices.Sorted(maps.Keys(given.params)) {
			if rules[id] == nil {
				return nil, fmt.Errorf("%s: rule %s does not exist; there are: %s", given.from, id, names(rules))
			}
		}
	}
	return all, nil
}

// paramsOf merges what is given for a rule; what is given later counts. Each value is checked against
// what the rule reads, because a misspelt parameter would have no effect and nobody would know.
func paramsOf(id string, module *ast.Module, all []settings) (ast.Value, error) {
	known := readsOf(module)
	merged := map[string]any{}
	for _, given := range all {
		for _, name := range slices.Sorted(maps.Keys(given.params[id])) {
			value := given.params[id][name]
			if err := known.check(name, value); err != nil {
				return nil, fmt.Errorf("%s: %w", given.from, err)
			}
			merged[name] = value
		}
	}
	return ast.InterfaceToValue(merged)
}
