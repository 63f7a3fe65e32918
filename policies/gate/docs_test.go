// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"os"
	"regexp"
	"testing"
)

var example = regexp.MustCompile("(?s)`(team\\.[a-z_]+\\.rego)`:\n\n```rego\n(.*?)```")

var paramsExample = regexp.MustCompile("(?s)## Set a rule's parameters.*?```yaml\n(.*?)```")

// The parameters on the documentation's page are taken, and do what they say.
func TestDocumentedParams(t *testing.T) {
	page, err := os.ReadFile("../../docs/rego-rules.md")
	if err != nil {
		t.Fatal(err)
	}
	m := paramsExample.FindSubmatch(page)
	if m == nil {
		t.Fatal("the page has no example")
	}
	e := engine(t, Config{Rules: []Source{Embedded(), source(t, map[string]string{ParamsFile: string(m[1])})}})
	if r := evaluate(t, e, createdNamespace("corp-x")); len(r) != 1 {
		t.Errorf("results %v, want a refusal of corp-x", r)
	}
	if r := evaluate(t, e, created(t, `{podSelector: {}, ingress: [{ports: [{port: 443}]}]}`)); len(r) != 1 {
		t.Errorf("results %v, want a refusal: no port may be open to everyone", r)
	}
}

// The rule on the documentation's page loads, passes its tests and finds what the page says.
func TestDocumentedRule(t *testing.T) {
	page, err := os.ReadFile("../../docs/rego-rules.md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, m := range example.FindAllStringSubmatch(string(page), -1) {
		files[m[1]] = m[2]
	}
	if len(files) != 2 {
		t.Fatalf("the page has %d files of a rule, want 2", len(files))
	}
	e := engine(t, Config{Rules: []Source{source(t, files)}})
	r := evaluate(t, e, created(t, `{podSelector: {}, ingress: [{from: [{podSelector: {}}, {namespaceSelector: {matchLabels: {a: b}}}]}]}`))
	if len(r) != 1 || r[0].Path != "spec.ingress[0].from[1]" || r[0].Message != "spec.ingress[0].from[1] allows every pod of a=b" {
		t.Errorf("results %v, want one for spec.ingress[0].from[1]", r)
	}
}
