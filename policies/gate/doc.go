// SPDX-License-Identifier: Apache-2.0

// Package gate judges objects by rules written in Rego.
//
// A rule is a folder <group>/<rule> with rule.rego (package bulkhead.rules.<group>.<rule>, a set
// named violation) and rule_test.rego. It sees one document, Input, and nothing else: no network,
// no clock, no environment, no other rule. What happens to a violation is its Action, which is
// chosen outside the rule.
//
// An Engine always has one complete set of rules. Load replaces it as a whole or not at all.
package gate
