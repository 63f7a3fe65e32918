// SPDX-License-Identifier: Apache-2.0

package yamlmerge

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// randomRules are a few of a few peers, each with a few ports, in the order in which they are generated.
func randomRules(r *rand.Rand) []string {
	var rules []string
	for peer := range 6 {
		if r.IntN(2) == 0 {
			continue
		}
		rule := fmt.Sprintf("p%d", peer)
		for port := range 4 {
			if r.IntN(2) == 0 {
				rule += fmt.Sprint(" ", 80+port)
			}
		}
		if strings.Contains(rule, " ") {
			rules = append(rules, rule)
		}
	}
	return rules
}

// TestPeopleAreNotOverwritten generates, lets a person add comments and rules, and generates again something else.
func TestPeopleAreNotOverwritten(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		before, now := randomRules(r), randomRules(r)
		byHand := fmt.Sprintf("  - from:\n    - podSelector: {matchLabels: {app: mine%d}}   # mine\n    ports: [{port: 7}]\n", seed)
		comment := fmt.Sprintf("# said %d", seed)

		existing := policy(before...)
		if len(before) > 0 {
			existing = strings.Replace(existing, "  podSelector:\n    matchLabels:\n      app: api\n", byHand+"  podSelector:\n    matchLabels:\n      app: api\n", 1)
		}
		existing = with(existing, "podSelector:\n    matchLabels:\n      app: api", "  "+comment)
		existing = with(existing, "spec:", comment)

		result := merge(t, policy(before...), existing, policy(now...))
		got := string(result.Content)
		if strings.Count(got, comment) != 2 || len(before) > 0 && strings.Count(got, byHand) != 1 {
			t.Fatalf("seed %d: a person's words are gone:\n%s\nfrom\n%s", seed, got, existing)
		}
		rest := documents(t, strings.Replace(got, byHand, "", 1))
		want := documents(t, policy(now...))
		if !rest.Equal(want) && !(len(now) == 0 && len(before) > 0) {
			t.Fatalf("seed %d: without the rule made by hand it is\n%s\nwant\n%s", seed, got, policy(now...))
		}
		if again := merge(t, policy(now...), got, policy(now...)); string(again.Content) != got {
			t.Fatalf("seed %d: the second time it is\n%s\nafter\n%s", seed, again.Content, got)
		}
	}
}

// TestSmallChange: one more connection changes few lines.
func TestSmallChange(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 2))
		before := randomRules(r)
		now := append(slices.Clone(before), "zoo 80")
		if len(before) > 0 && r.IntN(2) == 0 {
			now = slices.Clone(before)
			now[r.IntN(len(now))] += " 99"
		}
		text := policy(before...)
		result := merge(t, text, text, policy(now...))
		if n := changed(text, string(result.Content)); n > 12 {
			t.Errorf("seed %d: %d lines changed from\n%s\nto\n%s", seed, n, text, result.Content)
		}
	}
}

// changed counts lines that are in one text and not in the other, as often as they are in it.
func changed(a, b string) (n int) {
	count := map[string]int{}
	for line := range strings.Lines(a) {
		count[line]++
	}
	for line := range strings.Lines(b) {
		count[line]--
	}
	for _, c := range count {
		n += max(c, -c)
	}
	return n
}

// FuzzMerge: whatever the file is, it is refused, kept, or says what it should.
func FuzzMerge(f *testing.F) {
	for _, s := range []string{
		policy("web 80"), "# x\n" + policy("ant 1", "web 80"), "a: [\n", "", "---\n---\n", "a: &x 1\nb: *x\n", "spec: |\n  text\n # c\nkind: >-\n  y\n",
		"? a\n: b\n", "spec:\n    ingress:\n      -\n        from: []\n", "\tx", "spec: {ingress: [], a: \"b\\\n c\"}\r\n", "\ufeffkind: NetworkPolicy\n",
	} {
		f.Add(s)
	}
	base, generated := policy("ant 1", "web 80"), policy("ant 1 2", "zoo 80")
	f.Fuzz(func(t *testing.T, existing string) {
		r, err := Merge(documents(t, base), []byte(existing), documents(t, generated))
		if err != nil {
			return
		}
		now, err := Parse(r.Content)
		if err != nil {
			t.Fatalf("%v in\n%s", err, r.Content)
		}
		again, err := Merge(documents(t, generated), r.Content, documents(t, generated))
		if err != nil || !bytes.Equal(again.Content, r.Content) {
			t.Fatalf("not settled: %v\n%s\nthen\n%s", err, r.Content, again.Content)
		}
		if len(r.Kept)+len(r.Deleted) == 0 && !now.Equal(documents(t, generated)) {
			t.Fatalf("it says something else and does not tell:\n%s", r.Content)
		}
	})
}
