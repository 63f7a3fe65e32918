// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"regexp"
	"strings"
	"testing"
)

// dotLine is every line that DOT writes: names of nodes and boxes are ours, labels are strings or
// HTML-like labels that nothing in them can end.
var dotLine = regexp.MustCompile(`^(digraph connections \{|\s*\}|\s*// [[:print:]\pL\pM\pN\pS\pP]*|` +
	`  (graph|node|edge) \[[\w=, ".#]+\];|  labelloc=t;|` +
	`  subgraph cluster_\d+ \{|\s*(label|style|color|fillcolor)=` + dotString + `;|` +
	`\s+n\d+ \[shape=\w+(, \w+=(\w+|` + dotString + `))*, label=<[^<>]*(<br/><font point-size="8" color="#57606a">[^<>]*</font>)?>\];|` +
	`  n\d+ -> n\d+ \[label=` + dotString + `(, (ltail|lhead)=cluster_\d+)*\];)$`)

const dotString = `"([^"\\]|\\["\\n])*"`

// mermaidLine is every line that Mermaid writes.
var mermaidLine = regexp.MustCompile(`^(flowchart LR|\s*end|  %% ` + mermaidLabelled + `|` +
	`  subgraph g\d+\["` + mermaidLabelled + `"\]|` +
	`\s+(n\d+|note)(\["` + mermaidLabelled + `"\]|\(\["` + mermaidLabelled + `"\]\)|\{\{"` + mermaidLabelled + `"\}\})|` +
	`  [ng]\d+ -->\|"` + mermaidLabelled + `"\| [ng]\d+)$`)

const mermaidLabelled = `([\pL\pN /:,.…-]|#\d+;|<br/>|</?small>)*`

func TestLines(t *testing.T) {
	for name, m := range samples() {
		for format, pattern := range map[string]*regexp.Regexp{"dot": dotLine, "mmd": mermaidLine} {
			for line := range strings.Lines(render(t, formats[format], m)) {
				if line = strings.TrimSuffix(line, "\n"); !pattern.MatchString(line) {
					t.Errorf("%s as %s: a line that could mean something else: %q", name, format, line)
				}
			}
		}
	}
}

func TestShorten(t *testing.T) {
	for text, want := range map[string]string{
		"api":             "api",
		"abcdefghijkl":    "abcdefghijkl",
		"abcdefghijklm":   "abcdefg…jklm",
		"名前空間名前空間":        "名前空…空間",
		"a\nb\u202e\x00c": "a b  c",
		"\xff":            "?",
		"":                "?",
		"\t":              "?",
	} {
		if got := shorten(text, 12); got != want {
			t.Errorf("shorten(%q) = %q, not %q", text, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "",
		"one":                  "one",
		"one two three":        "one two|three",
		"one two th":           "one two th",
		"incomprehensible one": "incomp…ble|one",
	} {
		if got := strings.Join(wrap(text, 10), "|"); got != want {
			t.Errorf("wrap(%q) = %q, not %q", text, got, want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, name := range hostileNames {
		f.Add(name)
	}
	xmlText := regexp.MustCompile(`^([^<>&"']|&(amp|lt|gt|quot|#39);)*$`)
	dotText := regexp.MustCompile(`^` + dotString + `$`)
	mermaidText := regexp.MustCompile(`^` + mermaidLabelled + `$`)
	f.Fuzz(func(t *testing.T, text string) {
		if got := escapeXML(text); !xmlText.MatchString(got) {
			t.Errorf("XML: %q", got)
		}
		if got := quoteDOT(text); !dotText.MatchString(got) || strings.Contains(got, "\n") {
			t.Errorf("DOT: %q", got)
		}
		if got := escapeMermaid(text); !mermaidText.MatchString(got) || strings.Contains(got, "<") {
			t.Errorf("Mermaid: %q", got)
		}
		if got := shorten(text, 20); columns([]rune(got)) > 21 {
			t.Errorf("%q is longer than 20 letters", got)
		}
	})
}
