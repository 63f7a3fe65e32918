// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
	"github.com/bulkhead-dev/bulkhead/test/mutation/mutate"
)

// fewestMutants guards against a tool that finds nothing to mutate.
const fewestMutants = 1000

// Whatever decides is held by a case of the corpus: if it were otherwise, some case would fail.
func TestEveryDecisionIsHeldByTheCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Chdir(filepath.Join("..", ".."))
	// The judge reads the corpus in a process of its own. Reading it here, too, tells go test that the result
	// depends on it, and is not to be taken from the cache when it has changed.
	const folder = "policies/netpol/testdata/corpus"
	if _, err := corpus.Load(folder); err != nil {
		t.Fatal(err)
	}
	known, err := readEquivalent("test/mutation/equivalent.txt")
	if err != nil {
		t.Fatal(err)
	}
	r, err := run(t.Context(), config{
		target: "./policies/netpol", judge: "./test/mutation/judge", args: []string{folder}, known: known,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range known.compare(r) {
		t.Error(problem)
	}
	t.Logf("%d mutants, %d of them equivalent", len(r.verdicts), len(known))
	if len(r.verdicts) < fewestMutants {
		t.Errorf("%d mutants, want at least %d", len(r.verdicts), fewestMutants)
	}
}

// The tool itself: what is known of a small package.
func TestFixture(t *testing.T) {
	r, err := run(t.Context(), config{target: "./testdata/fixture", judge: "./testdata/fixture/judge", tests: true})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]verdict)
	for _, v := range r.verdicts {
		got[v.Key()] = v
	}
	for key, by := range map[string]string{
		"Fee: kilograms < 1 => kilograms <= 1":                      "fees",
		"Fee: kilograms > 10 => kilograms <= 10":                    "fees",
		"Fee: kilograms > 10 => kilograms >= 10":                    "",
		"Fee: kilograms > 10 && abroad => kilograms > 10":           "fees",
		"Fee: kilograms > 10 && abroad => abroad":                   "fees",
		"Fee: return 0 => return 1":                                 "fees",
		"Heaviest: i++ => (left out)":                               "heaviest", // endless
		"Heaviest: for i < len(parcels) => for false":               "heaviest",
		"Heaviest: heaviest = parcels[i] => (left out)":             "heaviest",
		"Heaviest: parcels[i] > heaviest => parcels[i] >= heaviest": "",
		"Insist: if !paid => if true":                               "crash",
		"Unused: parcels == 0 => parcels != 0":                      "TestUnused",
	} {
		if v, ok := got[key]; !ok || v.by != by {
			t.Errorf("%s: found %v, killed by %q, want %q", key, ok, v.by, by)
		}
	}
	if v := got["Unused: parcels == 0 => parcels != 0"]; v.Decides || v.reached {
		t.Errorf("what the judge does not call decides: %v, is reached: %v", v.Decides, v.reached)
	}
}

func TestLoadErrors(t *testing.T) {
	for name, tc := range map[string]struct{ target, judge, want string }{
		"no such package": {"./testdata/nosuch", "./testdata/fixture/judge", "go list ./testdata/nosuch"},
		"no judge":        {"./testdata/fixture", "./mutant", "must be a package and the main package that judges it"},
		"two judges":      {"./judge", "./testdata/fixture/judge", "must be a package and the main package that judges it"},
	} {
		if _, err := run(t.Context(), config{target: tc.target, judge: tc.judge}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

// A judge that does not hold without a mutant says nothing about mutants.
func TestJudgeThatFails(t *testing.T) {
	_, err := run(t.Context(), config{target: "../../policies/netpol", judge: "./judge", args: []string{t.TempDir()}})
	if err == nil || !strings.Contains(err.Error(), "the judge does not work without a mutant: judge: no *.txtar files") {
		t.Errorf("got %v", err)
	}
}

func TestCompare(t *testing.T) {
	known := equivalent{"Fee: a => b": "nobody sees it", "Fee: gone => b": "it was there once"}
	r := result{unmutated: []string{"Odd"}}
	for _, original := range []string{"a", "new"} {
		m := &mutate.Mutant{File: "fee.go", Line: 3, Func: "Fee", Original: original, Mutated: "b", Nth: 1, Decides: true}
		r.verdicts = append(r.verdicts, verdict{Mutant: m})
	}
	var got []string
	for _, err := range known.compare(r) {
		got = append(got, err.Error())
	}
	want := []string{
		"fee.go:3: nothing notices Fee: new => b",
		"listed as equivalent, but killed or gone: remove Fee: gone => b",
		"Odd has a condition, and nothing in it is mutated",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestReadEquivalent(t *testing.T) {
	for text, want := range map[string]string{
		"# a comment\n\nF: a => b -- no difference\n": "",
		"F: a => b\n":                      ":1: write the reason",
		"F: a => b -- \n":                  ":1: write the reason",
		"F: a => b -- x\nF: a => b -- y\n": ":2: F: a => b is listed twice",
	} {
		path := filepath.Join(t.TempDir(), "equivalent.txt")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		known, err := readEquivalent(path)
		if want == "" {
			if err != nil || known["F: a => b"] != "no difference" {
				t.Errorf("%q: %v, %v", text, known, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), path+want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
