// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

const passingTest = "package bulkhead.rules.team.sample_test\n\ntest_nothing if true\n"

// sample is the rule team/sample with the given body below its package line.
func sample(t *testing.T, body string) Source {
	t.Helper()
	return source(t, map[string]string{
		"team.sample.rego":      "package bulkhead.rules.team.sample\n\n" + body,
		"team.sample_test.rego": passingTest,
	})
}

func source(t *testing.T, data map[string]string) Source {
	t.Helper()
	s, err := ConfigMap("ns/rules", data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func engine(t *testing.T, c Config) *Engine {
	t.Helper()
	e, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func evaluate(t *testing.T, e *Engine, in Input) []Result {
	t.Helper()
	results, err := e.Evaluate(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

const always = `violation contains {"message": "always"}`

func TestRefusedRules(t *testing.T) {
	const at = "ConfigMap ns/rules/team.sample.rego:3: "
	for name, c := range map[string]struct{ body, want string }{
		"network":        {`violation contains {"message": "x"} if http.send({"method": "GET", "url": "http://x"})`, at + "builtin http.send is not allowed"},
		"environment":    {`violation contains {"message": opa.runtime().env.HOME}`, at + "builtin opa.runtime is not allowed"},
		"clock":          {`violation contains {"message": "x"} if time.now_ns() > 0`, at + "builtin time.now_ns is not allowed"},
		"chance":         {`violation contains {"message": "x"} if rand.intn("a", 2) == 1`, at + "builtin rand.intn is not allowed"},
		"name lookup":    {`violation contains {"message": "x"} if net.lookup_ip_addr("x")`, at + "builtin net.lookup_ip_addr is not allowed"},
		"identifiers":    {`violation contains {"message": uuid.rfc4122("x")}`, at + "builtin uuid.rfc4122 is not allowed"},
		"expansion":      {`violation contains {"message": "x"} if net.cidr_expand("::/0")`, at + "builtin net.cidr_expand is not allowed"},
		"unknown":        {`violation contains {"message": "x"} if nonsense(1)`, at + "undefined function nonsense"},
		"syntax":         {`violation contains {`, at},
		"not Rego v1":    {`violation[v] { v := {"message": "x"} }`, at + "`if` keyword is required before rule body"},
		"Rego v2":        {"import rego.v2\n\n" + always, at},
		"strict":         {`violation contains {"message": "x"} if { unused := 1 }`, at + "assigned var unused unused"},
		"misspelt input": {`violation contains {"message": "x"} if input.objcet`, at + "undefined ref: input.objcet"},
		"misspelt user":  {`violation contains {"message": "x"} if input.user.name == "x"`, at + "undefined ref: input.user.name"},
		"not a set":      {`violation := {"message": "x"}`, at + "violation is not a set"},
		"no violation":   {`deny contains "x"`, "team.sample.rego:1: no violation"},
		"others' data":   {`violation contains {"message": "x"} if data.settings.strict`, at + "data.settings.strict is not in reach"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(t.Context(), Config{Rules: []Source{sample(t, c.body)}})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "rule team/sample: ") {
				t.Errorf("error %v, want one with rule team/sample and %q", err, c.want)
			}
		})
	}
}

func TestRefusedSources(t *testing.T) {
	const rule, pkg = "team.sample.rego", "package bulkhead.rules.team.sample\n\n" + always
	for name, c := range map[string]struct {
		data map[string]string
		want string
	}{
		"no tests":        {map[string]string{rule: pkg}, "has no tests"},
		"no test rule":    {map[string]string{rule: pkg, "team.sample_test.rego": "package bulkhead.rules.team.sample_test\n\nx := 1\n"}, "no test: "},
		"skipped test":    {map[string]string{rule: pkg, "team.sample_test.rego": "package bulkhead.rules.team.sample_test\n\ntodo_test_x if true\n"}, "no test: "},
		"test fails":      {map[string]string{rule: pkg, "team.sample_test.rego": passingTest + "\ntest_wrong if 1 == 2\n"}, "team.sample_test.rego:5: test test_wrong failed"},
		"case fails":      {map[string]string{rule: pkg, "team.sample_test.rego": passingTest + "\ntest_table[n] if {\n\tsome n, x in {\"good\": 1, \"bad\": 2}\n\tx == 1\n}\n"}, "team.sample_test.rego:5: test test_table failed: not true for bad"},
		"test errs":       {map[string]string{rule: pkg, "team.sample_test.rego": passingTest + "\ntest_wrong if to_number(\"x\") == 2\n"}, "team.sample_test.rego:5: test test_wrong failed"},
		"test calls out":  {map[string]string{rule: pkg, "team.sample_test.rego": passingTest + "\ntest_wrong if http.send({})\n"}, "team.sample_test.rego:5: builtin http.send is not allowed"},
		"test's package":  {map[string]string{rule: pkg, "team.sample_test.rego": "package other\n\ntest_x if true\n"}, "team.sample_test.rego:1: package is other"},
		"package":         {map[string]string{rule: "package other\n\n" + always, "team.sample_test.rego": passingTest}, "team.sample.rego:1: package is other: name it bulkhead.rules.team.sample"},
		"empty":           {map[string]string{rule: "", "team.sample_test.rego": passingTest}, "team.sample.rego"},
		"tests only":      {map[string]string{"team.sample_test.rego": passingTest}, "tests of a rule that is not there"},
		"file name":       {map[string]string{"sample.rego": pkg}, "ConfigMap ns/rules/sample.rego: a rule is <group>/<rule>/rule.rego"},
		"twice":           {map[string]string{rule: pkg, "team/sample/rule.rego": pkg, "team.sample_test.rego": passingTest}, "keep one"},
		"larger than fit": {map[string]string{rule: pkg + strings.Repeat("\n", maxFileBytes)}, "larger than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(t.Context(), Config{Rules: []Source{source(t, c.data)}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestTooManyRules(t *testing.T) {
	data := map[string]string{}
	for i := range maxRules + 1 {
		data["team.r"+strings.Repeat("x", i)+".rego"] = always
	}
	if _, err := New(t.Context(), Config{Rules: []Source{source(t, data)}}); err == nil || !strings.Contains(err.Error(), "200") {
		t.Errorf("error %v, want one with the limit", err)
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	_, err := New(t.Context(), Config{Rules: []Source{source(t, map[string]string{
		"team.one.rego": "package x", "team.one_test.rego": "package x",
		"team.two.rego": "package x", "team.two_test.rego": "package x",
	})}})
	if err == nil || !strings.Contains(err.Error(), "rule team/one: ") || !strings.Contains(err.Error(), "rule team/two: ") {
		t.Errorf("error %v, want both rules named", err)
	}
}

func TestRefusedConfig(t *testing.T) {
	for want, c := range map[string]Config{
		"does not exist; there are: namespace/mode_weakened": {Actions: map[string]Action{"namespace/owner": Warn}},
		`rule namespace/owner_required: action "block"`:      {Actions: map[string]Action{"namespace/owner_required": "block"}},
		`default action: action "no"`:                        {Default: "no"},
		"negative":                                           {RuleTimeout: -time.Second},
	} {
		c.Rules = []Source{Embedded()}
		if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestMissingFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	_, err := New(t.Context(), Config{Rules: []Source{Folder(dir)}})
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v, want %s", err, dir)
	}
}

func TestActions(t *testing.T) {
	for action, want := range map[Action]int{Deny: 1, Warn: 1, Audit: 1, Off: 0} {
		e := engine(t, Config{Rules: []Source{sample(t, always)}, Actions: map[string]Action{"team/sample": action}})
		results := evaluate(t, e, Input{})
		if len(results) != want {
			t.Fatalf("%s: results %v, want %d", action, results, want)
		}
		for _, r := range results {
			if r.Action != action || r.Message != "always" || r.Rule != "team/sample" || r.Severity != "medium" {
				t.Errorf("%s: result %+v", action, r)
			}
		}
	}
}

func TestDenyIsTheDefault(t *testing.T) {
	e := engine(t, Config{Rules: []Source{sample(t, always)}})
	if r := evaluate(t, e, Input{}); len(r) != 1 || r[0].Action != Deny {
		t.Errorf("results %v, want one deny", r)
	}
	e = engine(t, Config{Rules: []Source{sample(t, always)}, Default: Audit})
	if r := evaluate(t, e, Input{}); len(r) != 1 || r[0].Action != Audit {
		t.Errorf("results %v, want one audit", r)
	}
}

// A rule that fails is never taken for "no violation".
func TestFailingRules(t *testing.T) {
	const conflict = "violation contains {\"message\": sprintf(\"%d\", [f(1)])}\n\nf(_) := input.operation\n\nf(_) := count(input.operation)\n"
	for name, c := range map[string]struct{ body, want string }{
		"builtin":          {`violation contains {"message": "x"} if to_number(input.operation) == 1`, "to_number"},
		"conflict":         {conflict, "produced conflicting values"},
		"runaway":          {`violation contains {"message": "x"} if { some i in numbers.range(1, 100000000); i < 0 }`, "did not finish in time (50ms)"},
		"no message":       {`violation contains {"msg": "x"}`, "violation has no message"},
		"message's type":   {`violation contains {"message": 1}`, "violation's message is not a string"},
		"not an object":    {`violation contains "x"`, "give an object"},
		"unknown severity": {`violation contains {"message": "x", "severity": "bad"}`, `severity "bad"`},
	} {
		t.Run(name, func(t *testing.T) {
			for action, want := range map[Action]Action{Deny: Deny, Warn: Warn, Audit: Warn} {
				e := engine(t, Config{Rules: []Source{sample(t, c.body)}, Default: action, RuleTimeout: 50 * time.Millisecond})
				r := evaluate(t, e, Input{Operation: "CREATE"})
				if len(r) != 1 || r[0].Action != want || !strings.Contains(r[0].Message, c.want) || r[0].Rule != "team/sample" {
					t.Errorf("%s: results %+v, want one %s with %q", action, r, want, c.want)
				}
			}
		})
	}
}

func TestOneFailureLeavesOtherRules(t *testing.T) {
	bad := sample(t, `violation contains {"message": "x"} if to_number(input.operation) == 1`)
	good := source(t, map[string]string{
		"team.other.rego":      "package bulkhead.rules.team.other\n\n" + always,
		"team.other_test.rego": strings.ReplaceAll(passingTest, "sample", "other"),
	})
	r := evaluate(t, engine(t, Config{Rules: []Source{bad, good}, Default: Warn}), Input{Operation: "CREATE"})
	if len(r) != 2 || r[0].Rule != "team/other" || r[0].Message != "always" || r[1].Rule != "team/sample" {
		t.Errorf("results %v, want team/other's violation and team/sample's failure", r)
	}
}

func TestCancelledCallerIsRefused(t *testing.T) {
	e := engine(t, Config{Rules: []Source{sample(t, `violation contains {"message": "x"} if { some i in numbers.range(1, 100000000); i < 0 }`)}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := e.Evaluate(ctx, Input{})
	if err != nil || len(r) != 1 || r[0].Action != Deny {
		t.Errorf("results %v, error %v: want one deny", r, err)
	}
}

func TestInputThatIsNotJSON(t *testing.T) {
	e := engine(t, Config{Rules: []Source{sample(t, always)}})
	_, err := e.Evaluate(t.Context(), Input{Object: map[string]any{"x": make(chan int)}})
	if err == nil || !strings.Contains(err.Error(), "input field object") {
		t.Errorf("error %v, want one that names the field", err)
	}
}

func TestManyViolationsAreBounded(t *testing.T) {
	e := engine(t, Config{Rules: []Source{sample(t, `long := concat("", [c | some i in numbers.range(1, 1000); c := "é"])

violation contains {"message": sprintf("%d%s", [i, long])} if some i in numbers.range(1, 200)`)}})
	r := evaluate(t, e, Input{})
	if len(r) != maxViolations+1 || !strings.HasPrefix(r[len(r)-1].Message, "and 150 more") {
		t.Fatalf("%d results, last %q", len(r), r[len(r)-1].Message)
	}
	if n := len(r[0].Message); n > maxText+len("…") || !strings.HasSuffix(r[0].Message, "é…") {
		t.Errorf("message of %d bytes: %s", n, r[0].Message)
	}
}

func TestMessagesAreOneLine(t *testing.T) {
	e := engine(t, Config{Rules: []Source{sample(t, `violation contains {"message": "a\nb\u001b[31m"}`)}})
	if r := evaluate(t, e, Input{}); len(r) != 1 || r[0].Message != "a b [31m" {
		t.Errorf("results %q, want one line without control characters", r)
	}
}

func TestLoadKeepsTheLastGoodSet(t *testing.T) {
	e := engine(t, Config{Rules: []Source{sample(t, `violation contains {"message": "first"}`)}})
	for name, bad := range map[string]Source{
		"does not compile": sample(t, "violation contains {"),
		"fails its tests": source(t, map[string]string{
			"team.sample.rego":      "package bulkhead.rules.team.sample\n\n" + always,
			"team.sample_test.rego": passingTest + "\ntest_wrong if 1 == 2\n",
		}),
		"is not there": Folder(filepath.Join(t.TempDir(), "absent")),
	} {
		if err := e.Load(t.Context(), []Source{bad}); err == nil {
			t.Errorf("%s: loaded", name)
		}
		if r := evaluate(t, e, Input{}); len(r) != 1 || r[0].Message != "first" {
			t.Errorf("%s: results %v, want those of the first set", name, r)
		}
	}
	if err := e.Load(t.Context(), []Source{sample(t, `violation contains {"message": "second"}`)}); err != nil {
		t.Fatal(err)
	}
	if r := evaluate(t, e, Input{}); len(r) != 1 || r[0].Message != "second" {
		t.Errorf("results %v, want those of the second set", r)
	}
}

// An evaluation sees one set of rules, never half of the old and half of the new.
func TestEvaluateWhileLoading(t *testing.T) {
	set := func(message string) []Source {
		data := map[string]string{}
		for _, name := range []string{"one", "two"} {
			data["team."+name+".rego"] = fmt.Sprintf("package bulkhead.rules.team.%s\n\nviolation contains {\"message\": %q}", name, message)
			data["team."+name+"_test.rego"] = strings.ReplaceAll(passingTest, "sample", name)
		}
		return []Source{source(t, data)}
	}
	old, next := set("old"), set("new")
	e := engine(t, Config{Rules: old})
	var loads errgroup.Group
	done := make(chan struct{})
	loads.Go(func() error {
		defer close(done)
		for range 20 {
			if err := errors.Join(e.Load(t.Context(), next), e.Load(t.Context(), old)); err != nil {
				return err
			}
		}
		return nil
	})
	for loading := true; loading; {
		select {
		case <-done:
			loading = false
		default:
		}
		if r := evaluate(t, e, Input{}); len(r) != 2 || r[0].Message != r[1].Message {
			t.Fatalf("results %v, want two of one set", r)
		}
	}
	if err := loads.Wait(); err != nil {
		t.Error(err)
	}
}

func TestCancelledLoadKeepsTheLastGoodSet(t *testing.T) {
	e := engine(t, Config{Rules: []Source{sample(t, always)}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Load(ctx, []Source{Embedded()}); err == nil {
		t.Error("loaded")
	}
	if got := e.Rules(); len(got) != 1 {
		t.Errorf("rules %q, want the first set", got)
	}
}

// A folder as a mounted ConfigMap looks: links into a hidden folder that is swapped.
func TestFolderReplacesEmbeddedRule(t *testing.T) {
	dir := t.TempDir()
	hidden := filepath.Join(dir, "..data")
	for name, text := range map[string]string{
		"networkpolicy.managed.rego":      "package bulkhead.rules.networkpolicy.managed\n\nviolation contains {\"message\": \"ours\"}\n",
		"networkpolicy.managed_test.rego": "package bulkhead.rules.networkpolicy.managed\n\ntest_ours if count(violation) == 1\n",
		"README.md":                       "not Rego",
	} {
		write(t, filepath.Join(hidden, name), text)
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "team/sample/rule.rego"), "package bulkhead.rules.team.sample\n\n"+always)
	write(t, filepath.Join(dir, "team/sample/rule_test.rego"), passingTest)

	e := engine(t, Config{Rules: []Source{Embedded(), Folder(dir)}})
	if got := e.Rules(); len(got) != 8 {
		t.Errorf("rules %q, want the seven and team/sample", got)
	}
	r := evaluate(t, e, Input{})
	if len(r) != 2 || r[0].Message != "ours" || r[1].Message != "always" {
		t.Errorf("results %v, want those of the replaced and the added rule", r)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
