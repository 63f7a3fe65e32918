// SPDX-License-Identifier: Apache-2.0

// Package rules holds the rules that come with Bulkhead. Each is a folder <group>/<rule> with the
// rule, its tests and its page. Package gate evaluates them.
package rules

import "embed"

// Files are the rules and their tests: <group>/<rule>/rule.rego and rule_test.rego.
//
//go:embed */*/*.rego
var Files embed.FS
