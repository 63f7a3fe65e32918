// SPDX-License-Identifier: Apache-2.0

package gate

//go:generate go test -run ^TestCapabilitiesFile$ -update .

import (
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// allowedBuiltins is the closed list of what a rule may call: pure functions of their arguments.
// Whatever a new version of OPA adds stays out until it is put here. Left out on purpose:
// anything that does I/O, reads the clock, the environment or chance; functions whose cost is not
// proportionate to their input (yaml with its aliases, net.cidr_expand, glob and regex
// intersection, bits.lsh); time zones, which are files.
var allowedBuiltins = []string{
	// operators
	"eq", "equal", "neq", "lt", "lte", "gt", "gte", "assign",
	"plus", "minus", "mul", "div", "rem", "and", "or",
	"internal.member_2", "internal.member_3", "internal.template_string",
	// numbers
	"abs", "ceil", "floor", "round", "numbers.range", "numbers.range_step",
	"bits.and", "bits.or", "bits.xor", "bits.negate", "bits.rsh",
	"to_number", "format_int", "units.parse", "units.parse_bytes",
	// collections
	"count", "sum", "product", "max", "min", "sort", "union", "intersection",
	"array.concat", "array.flatten", "array.reverse", "array.slice",
	"object.filter", "object.get", "object.keys", "object.remove", "object.subset",
	"object.union", "object.union_n", "walk",
	// text
	"concat", "contains", "startswith", "endswith", "indexof", "indexof_n", "lower", "upper",
	"replace", "split", "sprintf", "substring", "trim", "trim_left", "trim_prefix", "trim_right",
	"trim_space", "trim_suffix", "strings.any_prefix_match", "strings.any_suffix_match",
	"strings.count", "strings.reverse", "strings.split_n",
	"regex.is_valid", "regex.match", "regex.replace", "regex.split",
	"regex.find_n", "regex.find_all_string_submatch_n",
	// encodings
	"json.is_valid", "json.marshal", "json.unmarshal",
	"base64.decode", "base64.encode", "base64.is_valid", "hex.decode", "hex.encode",
	// addresses: arithmetic only
	"net.cidr_contains", "net.cidr_contains_matches", "net.cidr_intersects", "net.cidr_is_valid",
	"net.cidr_merge",
	// types, versions, fixed points in time
	"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "type_name",
	"semver.compare", "semver.is_valid", "time.parse_duration_ns", "time.parse_rfc3339_ns",
}

// testCase is called by table tests; the test runner puts the call in.
const testCase = "internal.test_case"

// capabilities are Rego v1 with the builtins of the closed list.
var capabilities = sync.OnceValue(func() *ast.Capabilities { return restricted(allowedBuiltins) })

// testCapabilities are the same for a rule together with its tests. capabilities.json holds them
// for the opa command: opa test --capabilities.
var testCapabilities = sync.OnceValue(func() *ast.Capabilities {
	return restricted(append(slices.Clone(allowedBuiltins), testCase))
})

func restricted(names []string) *ast.Capabilities {
	c := &ast.Capabilities{
		Features: []string{ast.FeatureRegoV1, ast.FeatureKeywordsInRefs, ast.FeatureTemplateStrings},
		AllowNet: []string{}, // empty, not nil: nil would let a schema be fetched from anywhere
	}
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		if slices.Contains(names, b.Name) {
			c.Builtins = append(c.Builtins, b.Minimal())
		}
	}
	return c
}
