// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"strings"
	"testing"
)

// Parameters of rules that come with Bulkhead, as users write them, over those of the configuration.
func TestParams(t *testing.T) {
	for name, c := range map[string]struct{ params, refused, free string }{
		"none":      {``, "kube-x", "corp-x"},
		"no params": {`namespace/reserved_name:`, "kube-x", "corp-x"},
		"a comment": {"# nothing\n", "kube-x", "corp-x"},
		"YAML":      {`namespace/reserved_name: {prefixes: [corp-]}`, "corp-x", "kube-x"},
		"JSON":      {`{"namespace/reserved_name": {"prefixes": ["corp-"]}}`, "corp-x", "kube-x"},
	} {
		t.Run(name, func(t *testing.T) {
			e := engine(t, Config{
				Rules:  []Source{Embedded(), source(t, map[string]string{ParamsFile: c.params})},
				Params: Params{"namespace/reserved_name": {"names": []any{"vault"}}},
			})
			for tried, want := range map[string]int{c.refused: 1, c.free: 0, "vault": 1, "bulkhead-system": 0} {
				if r := evaluate(t, e, createdNamespace(tried)); len(r) != want {
					t.Errorf("%s: results %v, want %d", tried, r, want)
				}
			}
		})
	}
}

func createdNamespace(name string) Input {
	return Input{Operation: "CREATE", User: User{Username: "dev"}, Object: map[string]any{
		"kind":     "Namespace",
		"metadata": map[string]any{"name": name, "labels": map[string]any{"bulkhead.dev/owner": "web"}},
	}}
}

func TestLaterParamsCountMore(t *testing.T) {
	first := source(t, map[string]string{ParamsFile: `namespace/reserved_name: {prefixes: [a-], names: [b]}`})
	second := source(t, map[string]string{ParamsFile: `namespace/reserved_name: {prefixes: [c-]}`})
	e := engine(t, Config{Rules: []Source{Embedded(), first, second}})
	for name, want := range map[string]int{"a-x": 0, "b": 1, "c-x": 1} {
		if r := evaluate(t, e, createdNamespace(name)); len(r) != want {
			t.Errorf("%s: results %v, want %d", name, r, want)
		}
	}
}

func TestRefusedParams(t *testing.T) {
	const file = "ConfigMap ns/rules/params.yaml: "
	for params, want := range map[string]string{
		"namespace/reserved_name:\n  groups: [a\n":                          file + "yaml: line 2: ",
		"namespace/reserved_name: {}\nnamespace/reserved_name: {}":          `key "namespace/reserved_name" already set in map`,
		"[namespace/reserved_name]":                                         file + "give group/rule: {parameter: value}",
		"namespace/reserved_name: kube-":                                    file + "parameters of rule namespace/reserved_name are not of the form parameter: value",
		"namespace/reserved: {groups: [a]}":                                 file + "rule namespace/reserved does not exist; there are: namespace/mode_weakened, ",
		"reserved_name: {groups: [a]}":                                      file + "rule reserved_name does not exist",
		"namespace/reserved_name: {group: [a]}":                             "rule namespace/reserved_name: " + file + "it has no parameter group; it has groups, names, prefixes, users",
		"namespace/reserved_name: {groups: admins}":                         `parameter groups is "admins"; give one like its default ["system:masters"]`,
		"namespace/reserved_name: {groups: }":                               `parameter groups is null; give one like its default ["system:masters"]`,
		"namespace/reserved_name: {prefixes: [1]}":                          `parameter prefixes is [1]; give one like its default ["kube-", "openshift-"]`,
		"networkpolicy/allow_all: {maxPorts: many}":                         `parameter maxPorts is "many"; give one like its default 1000`,
		"namespace/owner_required: {label: [a]}":                            `parameter label is ["a"]; give one like its default "bulkhead.dev/owner"`,
		"namespace/mode_weakened: {mode: audit}":                            "it has no parameter mode; it has exempt",
		"namespace/owner_required:\n  label: " + strings.Repeat("x", 65537): "larger than 65536 bytes",
	} {
		_, err := New(t.Context(), Config{Rules: []Source{Embedded(), source(t, map[string]string{ParamsFile: params})}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60q: error %v, want one line with %q", params, err, want)
		}
	}
}

// What parameters a rule has is read from its text.
func TestReadsOf(t *testing.T) {
	for body, want := range map[string]string{
		always: "", // none
		`violation contains {"message": "x"} if input.params.strict`:                                          "strict",
		`violation contains {"message": "x"} if input.params["a b"].c`:                                        "a b",
		`violation contains {"message": "x"} if not object.get(input.params, "lax", false)`:                   "lax",
		`violation contains {"message": "x"} if { object.get(input.params, "on", true) }`:                     "on",
		`violation contains {"message": "x"} if "a" in object.get(input.params, "list", [])`:                  "list",
		`violation contains {"message": "x"} if { some name, _ in input.params; name != "" }`:                 "and others",
		`violation contains {"message": "x"} if { some name in ["a", "b"]; input.params[name] }`:              "and others",
		`violation contains {"message": "x"} if object.get(input, ["params", "x"], false)`:                    "and others",
		`violation contains {"message": "x"} if { some name; input[name].x }`:                                 "and others",
		`violation contains {"message": "x"} if { p := input.params; p.x; object.get(input.params, "y", 1) }`: "y and others",
	} {
		module, err := parse(&file{name: "rule.rego", text: "package p\n\n" + body})
		if err != nil {
			t.Fatal(err)
		}
		r := readsOf(module)
		got := names(r.defaults)
		if r.others {
			got = strings.TrimSpace(got + " and others")
		}
		if got != want {
			t.Errorf("%s: reads %q, want %q", body, got, want)
		}
	}
}

// A rule whose parameters cannot be told from its text takes any.
func TestParamsThatCannotBeChecked(t *testing.T) {
	e := engine(t, Config{Rules: []Source{
		sample(t, `violation contains {"message": name} if some name, _ in input.params`),
		source(t, map[string]string{ParamsFile: `team/sample: {anything: 1}`}),
	}})
	if r := evaluate(t, e, Input{}); len(r) != 1 || r[0].Message != "anything" {
		t.Errorf("results %v, want one that names the parameter", r)
	}
}

func TestLoadReplacesParams(t *testing.T) {
	rules := sample(t, `violation contains {"message": input.params.text}`)
	with := func(params string) []Source {
		return []Source{rules, source(t, map[string]string{ParamsFile: params})}
	}
	e := engine(t, Config{Rules: with(`team/sample: {text: first}`)})
	if err := e.Load(t.Context(), with(`team/sample: {txt: second}`)); err == nil {
		t.Error("a misspelt parameter was taken")
	}
	if r := evaluate(t, e, Input{}); len(r) != 1 || r[0].Message != "first" {
		t.Errorf("results %v, want the first parameters", r)
	}
	if err := e.Load(t.Context(), with(`team/sample: {text: second}`)); err != nil {
		t.Fatal(err)
	}
	if r := evaluate(t, e, Input{}); len(r) != 1 || r[0].Message != "second" {
		t.Errorf("results %v, want the second parameters", r)
	}
}
