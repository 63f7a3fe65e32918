// SPDX-License-Identifier: Apache-2.0

package yamlmerge

import (
	"fmt"
	"strings"
	"testing"
)

// policy writes a policy with these rules, one a line as "peer ports…", as it is generated.
func policy(ingress ...string) string {
	var b strings.Builder
	b.WriteString("kind: NetworkPolicy\nmetadata:\n  name: api\nspec:\n")
	if len(ingress) > 0 {
		b.WriteString("  ingress:\n")
	}
	for _, r := range ingress {
		b.WriteString(rule(r))
	}
	b.WriteString("  podSelector:\n    matchLabels:\n      app: api\n  policyTypes:\n  - Ingress\n")
	return b.String()
}

// rule is one rule of a policy: "web 80 443" from pods, "10.0.0.1,10.0.0.2 443" from addresses.
func rule(text string) string {
	words := strings.Fields(text)
	var b strings.Builder
	b.WriteString("  - from:\n")
	for _, peer := range strings.Split(words[0], ",") {
		if strings.Contains(peer, ".") {
			fmt.Fprintf(&b, "    - ipBlock:\n        cidr: %s/32\n", peer)
			continue
		}
		fmt.Fprintf(&b, "    - podSelector:\n        matchLabels:\n          app: %s\n", peer)
	}
	b.WriteString("    ports:\n")
	for _, port := range words[1:] {
		fmt.Fprintf(&b, "    - port: %s\n", port)
	}
	return b.String()
}

func documents(t testing.TB, text string) Documents {
	t.Helper()
	d, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func merge(t testing.TB, base, existing, generated string) *Result {
	t.Helper()
	r, err := Merge(documents(t, base), []byte(existing), documents(t, generated))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// with puts a line above the first one that has the mark.
func with(text, mark, line string) string {
	at := strings.Index(text, mark)
	at = strings.LastIndex(text[:at], "\n") + 1
	return text[:at] + line + "\n" + text[at:]
}

func TestMerge(t *testing.T) {
	web := policy("web 80")
	handMade := "  - {from: [{podSelector: {matchLabels: {app: mine}}}]} # by hand\n"
	for name, c := range map[string]struct {
		base, existing, generated, want string
		kept, deleted                   int
	}{
		"nothing new":                      {web, web, web, web, 0, 0},
		"a rule comes":                     {web, web, policy("web 80", "zoo 80"), policy("web 80", "zoo 80"), 0, 0},
		"a rule comes first":               {web, web, policy("ant 80", "web 80"), policy("ant 80", "web 80"), 0, 0},
		"a rule goes":                      {policy("ant 80", "web 80"), policy("ant 80", "web 80"), web, web, 0, 0},
		"all rules go":                     {web, web, policy(), policy(), 0, 0},
		"the first rule comes":             {policy(), policy(), web, web, 0, 0},
		"a port comes":                     {web, web, policy("web 80 443"), policy("web 80 443"), 0, 0},
		"a port is another":                {web, web, policy("web 443"), policy("web 443"), 0, 0},
		"an address comes":                 {policy("10.0.0.1 443"), policy("10.0.0.1 443"), policy("10.0.0.1,10.0.0.2 443"), policy("10.0.0.1,10.0.0.2 443"), 0, 0},
		"a label changes":                  {web, web, strings.ReplaceAll(web, "app: api", "app: 'yes'"), strings.ReplaceAll(web, "app: api", `app: "yes"`), 0, 0},
		"a comment stays":                  {web, "# Kim's\n" + web, policy("web 80 443"), "# Kim's\n" + policy("web 80 443"), 0, 0},
		"a comment at the end of a line":   {web, strings.Replace(web, "port: 80", "port: 80 # why", 1), policy("web 80 443"), strings.Replace(policy("web 80 443"), "port: 80", "port: 80 # why", 1), 0, 0},
		"a comment above a rule":           {web, with(web, "- from", "  # the site"), policy("ant 1", "web 80"), strings.Replace(policy("ant 1", "web 80"), rule("web 80"), "  # the site\n"+rule("web 80"), 1), 0, 0},
		"a comment goes with its rule":     {policy("ant 1", "web 80"), with(policy("ant 1", "web 80"), "- from", "  # ants"), web, web, 0, 0},
		"a comment of the next rule stays": {policy("ant 1", "web 80"), strings.Replace(policy("ant 1", "web 80"), rule("web 80"), "  # the site\n"+rule("web 80"), 1), web, with(web, "- from", "  # the site"), 0, 0},
		"style stays":                      {web, strings.Replace(web, "kind: NetworkPolicy", `"kind": 'NetworkPolicy'`, 1), policy("web 80 443"), strings.Replace(policy("web 80 443"), "kind: NetworkPolicy", `"kind": 'NetworkPolicy'`, 1), 0, 0},
		"a rule by hand stays":             {web, strings.Replace(web, "  podSel", handMade+"  podSel", 1), policy("web 80", "zoo 1"), strings.Replace(policy("web 80", "zoo 1"), rule("zoo 1"), rule("zoo 1")+handMade, 1), 1, 0},
		"a port by hand stays":             {web, policy("web 80 81"), policy("web 80 443"), policy("web 80 443 81"), 1, 0},
		"a port taken away stays away":     {policy("web 80 443"), web, policy("web 80 443"), web, 0, 1},
		"a rule taken away stays away":     {policy("ant 1", "web 80"), web, policy("ant 1", "web 80", "zoo 1"), policy("web 80", "zoo 1"), 0, 1},
		"what is new of it is generated":   {policy("ant 1", "web 80"), web, policy("ant 1 2", "web 80"), policy("ant 1 2", "web 80"), 0, 0},
		"an edited rule outlives its use":  {policy("ant 1", "web 80"), policy("ant 1 7", "web 80"), web, policy("ant 1 7", "web 80"), 1, 0},
		"an added field stays":             {web, strings.Replace(web, "  name: api", "  name: api\n  labels: {team: a}", 1), policy("web 443"), strings.Replace(policy("web 443"), "  name: api", "  name: api\n  labels: {team: a}", 1), 1, 0},
		"nothing known of before":          {"", policy("web 80 81"), policy("web 80", "zoo 1"), policy("web 80 81", "zoo 1"), 1, 0},
		"a rule on one line is rewritten":  {web, strings.Replace(web, rule("web 80"), "  - {from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}]}\n", 1), policy("web 80 443"), policy("web 80 443"), 0, 0},
		"two documents":                    {web + "---\n" + strings.ReplaceAll(web, "api", "b"), "# 1\n" + web + "---\n# 2\n" + strings.ReplaceAll(web, "api", "b"), policy("web 80 443") + "---\n" + strings.ReplaceAll(web, "api", "b"), "# 1\n" + policy("web 80 443") + "---\n# 2\n" + strings.ReplaceAll(web, "api", "b"), 0, 0},
		"another document by hand":         {web, web + "---\nkind: Mine\n", policy("web 80 443"), web + "---\nkind: Mine\n", 1, 0},
		"aliases are left alone":           {web, strings.Replace(web, "app: web", "app: &a web\n  # *a", 1), policy("web 443"), strings.Replace(policy("web 443"), "app: web", "app: &a web\n  # *a", 1), 0, 0},
	} {
		r := merge(t, c.base, c.existing, c.generated)
		if string(r.Content) != c.want || len(r.Kept) != c.kept || len(r.Deleted) != c.deleted {
			t.Errorf("%s: kept %q, deleted %q, got\n%s\nwant\n%s", name, r.Kept, r.Deleted, r.Content, c.want)
		}
	}
}
