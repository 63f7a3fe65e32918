// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for spec, want := range map[string]string{ // wanted is one line an error; empty: valid
		``:                      `spec.startingMode: Unsupported value: ""`,
		`startingMode: audit`:   ``,
		`{startingMode: Audit}`: `spec.startingMode: Unsupported value: "Audit"`,
		`{startingMode: audit, minimumMode: all}`:     `spec.minimumMode: Unsupported value: "all"`,
		`{startingMode: audit, minimumMode: enforce}`: `spec.minimumMode: Invalid value: "enforce": it is stronger than startingMode, audit`,
		`{startingMode: audit, minimumMode: audit}`:   ``,
		`{startingMode: x, minimumMode: enforce}`:     `spec.startingMode: Unsupported value: "x"`,

		`{startingMode: audit, namespaceSelector: {}}`:                                                                  ``,
		`{startingMode: audit, namespaceSelector: {matchLabels: {a b: c}}}`:                                             `spec.namespaceSelector.matchLabels: Invalid value: "a b"`,
		`{startingMode: audit, namespaceSelector: {matchLabels: {a: b c}}}`:                                             `spec.namespaceSelector.matchLabels: Invalid value: "b c"`,
		`{startingMode: audit, namespaceSelector: {matchLabels: {a: $(namespace)}}}`:                                    `spec.namespaceSelector.matchLabels: Invalid value: "$(namespace)"`,
		`{startingMode: audit, namespaceSelector: {matchExpressions: [{key: a, operator: In}]}}`:                        `spec.namespaceSelector.matchExpressions[0].values: Required value`,
		`{startingMode: audit, namespaceSelector: {matchExpressions: [{key: a, operator: Is}]}}`:                        `spec.namespaceSelector.matchExpressions[0].operator: Invalid value: "Is"`,
		`{startingMode: audit, namespaceSelector: {matchExpressions: [{key: a, operator: NotIn, values: [b, "c d"]}]}}`: `spec.namespaceSelector.matchExpressions[0].values[1]: Invalid value: "c d"`,
		`{startingMode: audit, namespaceSelector: {matchExpressions: [{key: a, operator: DoesNotExist, values: [b]}]}}`: `spec.namespaceSelector.matchExpressions[0].values: Forbidden`,

		`{startingMode: audit, requiredLabels: [bulkhead.dev/owner, cost-center]}`:  ``,
		`{startingMode: audit, requiredLabels: [a/b/c, "a b"]}`:                     "spec.requiredLabels[0]: Invalid value: \"a/b/c\"\nspec.requiredLabels[1]: Invalid value: \"a b\"",
		`{startingMode: audit, requiredLabels: [a, a]}`:                             `spec.requiredLabels[1]: Duplicate value: "a"`,
		`{startingMode: audit, requiredLabels: [` + strings.Repeat("a,", 17) + `]}`: `spec.requiredLabels: Too many: 17: must have at most 16 items`,
	} {
		check(t, spec, want)
	}
}

func TestValidateTemplates(t *testing.T) {
	for policies, want := range map[string]string{
		`{name: a, spec: {}}`:                      ``,
		`{name: "", spec: {}}`:                     `spec.policies[0].name: Invalid value: "bulkhead-"`,
		`{name: A, spec: {}}`:                      `spec.policies[0].name: Invalid value: "bulkhead-A"`,
		`{name: default-deny, spec: {}}`:           `spec.policies[0].name: Invalid value: "default-deny": every namespace has a policy of this name already`,
		`{name: allow-dns, spec: {}}`:              `spec.policies[0].name: Invalid value: "allow-dns": every namespace has a policy of this name already`,
		`{name: a, spec: {}}, {name: a, spec: {}}`: `spec.policies[1].name: Duplicate value: "a"`,
		strings.Repeat(`{name: a, spec: {}},`, 33): `spec.policies: Too many: 33: must have at most 32 items`,

		`{name: a, spec: {policyTypes: [Exgress]}}`:                                               `spec.policies[0].spec.policyTypes[0]: Invalid value: "Exgress"`,
		`{name: a, spec: {podSelector: {matchLabels: {a: b c}}}}`:                                 `spec.policies[0].spec.podSelector.matchLabels: Invalid value: "b c"`,
		`{name: a, spec: {ingress: [{from: [{}]}]}}`:                                              `spec.policies[0].spec.ingress[0].from[0]: Invalid value: one of podSelector, namespaceSelector and ipBlock is required`,
		`{name: a, spec: {ingress: [{}, {from: [{ipBlock: {cidr: 10.0.0.0}}]}]}}`:                 `spec.policies[0].spec.ingress[1].from[0].ipBlock.cidr: Invalid value: "10.0.0.0" is not a range of addresses`,
		`{name: a, spec: {egress: [{ports: [{endPort: 2}]}]}}`:                                    `spec.policies[0].spec.egress[0].ports[0].endPort: Invalid value: endPort needs port`,
		`{name: a, spec: {egress: [{ports: [{port: $(namespace)}]}]}}`:                            `spec.policies[0].spec.egress[0].ports[0].port: Invalid value: "$(namespace)": must`,
		`{name: a, spec: {egress: [{to: [{ipBlock: {cidr: $(namespace)}}]}]}}`:                    `spec.policies[0].spec.egress[0].to[0].ipBlock.cidr: Invalid value: "$(namespace)" is not a range`,
		`{name: a, spec: {podSelector: {matchLabels: {$(namespace): a}}}}`:                        `spec.policies[0].spec.podSelector.matchLabels: Invalid value: "$(namespace)"`,
		`{name: a, spec: {egress: [{to: [{podSelector: {}, ipBlock: {cidr: "::/0"}}]}]}}`:         `spec.policies[0].spec.egress[0].to[0]: Invalid value: ipBlock cannot be combined`,
		`{name: a, spec: {egress: [{to: [{podSelector: {matchExpressions: [{key: a}]}}]}]}}`:      `spec.policies[0].spec.egress[0].to[0].podSelector.matchExpressions[0].operator: Invalid value: ""`,
		`{name: a, spec: {podSelector: {matchLabels: {a: ` + strings.Repeat("a", 65<<10) + `}}}}`: `spec.policies[0].spec: Too long: may not be more than 65536 bytes`,
	} {
		check(t, `{startingMode: audit, policies: [`+policies+`]}`, want)
	}
}

func TestValidateExpressions(t *testing.T) {
	at := `spec.policies[0].spec.podSelector.matchLabels[app]: Invalid value: "%s": %s`
	for value, want := range map[string]string{
		`$(namespace)`:                    ``,
		`$(labels['bulkhead.dev/owner'])`: ``,
		``:                                ``,
		`$(foo)`:                          `it is neither $(namespace) nor $(labels['KEY'])`,
		`$()`:                             `it is neither $(namespace) nor $(labels['KEY'])`,
		`$(Namespace)`:                    `it is neither $(namespace) nor $(labels['KEY'])`,
		`$(labels[owner])`:                `it is neither $(namespace) nor $(labels['KEY'])`,
		`$(labels['a b'])`:                `"a b" is not the key of a label`,
		`$(labels[''])`:                   `"" is not the key of a label`,
		`$(namespace`:                     `$( is not closed by )`,
		`$namespace`:                      `$(…) must be the whole value`,
		`$`:                               `$(…) must be the whole value`,
		`team-$(namespace)`:               `$(…) must be the whole value`,
		`$(namespace)-team`:               `$(…) must be the whole value`,
		`$(namespace)$(namespace)`:        `$(…) must be the whole value`,
		`$$(namespace)`:                   `$(…) must be the whole value`,
		`$(labels['$(namespace)'])`:       `$(…) must be the whole value`,
	} {
		if want != "" {
			want = fmt.Sprintf(at, value, want)
		}
		check(t, `{startingMode: audit, policies: [{name: a, spec: {podSelector: {matchLabels: {app: "`+value+`"}}}}]}`, want)
	}
}

// TestValidateExpressionsEverywhere: each selector of a policy is read, and each place has its path.
func TestValidateExpressionsEverywhere(t *testing.T) {
	check(t, `{startingMode: audit, policies: [{name: a, spec: {
		podSelector: {matchExpressions: [{key: a, operator: In, values: [b, $(1)]}]},
		ingress: [{from: [{namespaceSelector: {matchLabels: {a: $(2)}}, podSelector: {matchLabels: {a: $(3)}}}]}],
		egress: [{}, {to: [{podSelector: {}}, {namespaceSelector: {matchExpressions: [{key: a, operator: NotIn, values: [$(4)]}]}}]}]}}]}`,
		`spec.policies[0].spec.podSelector.matchExpressions[0].values[1]: Invalid value: "$(1)"
spec.policies[0].spec.ingress[0].from[0].podSelector.matchLabels[a]: Invalid value: "$(3)"
spec.policies[0].spec.ingress[0].from[0].namespaceSelector.matchLabels[a]: Invalid value: "$(2)"
spec.policies[0].spec.egress[1].to[1].namespaceSelector.matchExpressions[0].values[0]: Invalid value: "$(4)"`)
}

func TestValidateName(t *testing.T) {
	p := read(t, strings.Repeat("a", 64), `startingMode: audit`)
	if errs := p.Validate(); len(errs) != 1 || errs[0].Field != "metadata.name" {
		t.Errorf("got %v, want metadata.name: a label has it as value", errs)
	}
}

// check compares the errors' beginnings, in their order.
func check(t *testing.T, spec, want string) {
	t.Helper()
	errs := read(t, "test", spec).Validate()
	var lines []string
	if want != "" {
		lines = strings.Split(want, "\n")
	}
	matches := len(errs) == len(lines) && (errs == nil) == (want == "")
	for i := 0; matches && i < len(errs); i++ {
		matches = strings.HasPrefix(errs[i].Error(), lines[i])
	}
	if !matches {
		t.Errorf("%.300s: got\n%.1000v\nwant\n%s", spec, errs, want)
	}
}
