// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	sigsyaml "sigs.k8s.io/yaml"
)

// FuzzPlainJSON: it is to the byte what sigs.k8s.io/yaml makes of the document, or left to that library.
func FuzzPlainJSON(f *testing.F) {
	for _, s := range []string{
		policy(3), "a: b\n", "b: 1\na: [x, {}, [], ~, null, true, yes, 0x10, 0o7, 010, 1e3, -1, 18446744073709551615, 9223372036854775807]\n",
		"a: <b>&\"\\\nc: \u2028é\u0001\n", "a: \"\\u0000\\uFFFF\\t\"\n", "a: 1\na: 2\n", "1: a\n", "true: a\n", "~: a\n", "? [a]\n: b\n", "a: &x {c: 1}\nb: *x\n",
		"a: &x {c: 1}\nb:\n  <<: *x\n", "a: .inf\n", "a: 2001-01-01\n", "a: !!binary /w==\n", "a: !!timestamp 2001-01-01\n", "- a\n", "a\n", "{}\n", "[] ", "- {key: a, value: b}\n", "a: 1\nitems:\n- - {key: a, value: b}\n- [{key: a, value: b}]\n- !!seq [{key: a, value: b}]\n", "a: |\n  x\n  y\n",
		"a: 1\nitems:\n- a: 1\n  b: |\n    x\n\n- b: 2\nkind: List\n", "a: \"x\nitems:\n- b\ny: c\"\n", "a: 'x\nitems:\n- b: '\n", "a: 1\nitems:\n- a: &x 1\n- b: *x\n", "a:\nitems:\n- b: [\n- c]\n",
		"a: 1\nitems:\n- a: 1\n- a: 'x\n- b: y'\n- c: 1\nitems: []\n", "a: |\nitems:\n- a: >\n\n- b: x\n# c\n- c: x\n...\n", "? a\nitems:\n- ? b\n- c: \n", "a: {\nitems:\n- b: 1\n}\n", "--- \nitems:\n- b: 1\nb: 1\nb: 2\n", "\"a\\nb\": c\na: 1\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 || newDocument("x", 1, data, 1, false).check() != nil {
			t.Skip("refused before, or too large")
		}
		got, plain := plainJSON(data)
		want, err := sigsyaml.YAMLToJSONStrict(data)
		if plain && (err != nil || !bytes.Equal(got, want)) {
			t.Fatalf("got %s\nwant %s, %v", got, want, err)
		}
	})
}

// TestPlainJSONTakesPolicies: the library is not asked for what the generator writes, nor for pods.
func TestPlainJSONTakesPolicies(t *testing.T) {
	for _, text := range []string{policy(3), "a: 0.5\nb: |\n  x\nc: <&>\n"} {
		if _, plain := plainJSON([]byte(text)); !plain {
			t.Errorf("not taken:\n%s", text)
		}
	}
}

// policy has this many rules.
func policy(rules int) string {
	var b strings.Builder
	b.WriteString("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: api\n  namespace: shop\nspec:\n  ingress:\n")
	for i := range rules {
		fmt.Fprintf(&b, "  - from:\n    - namespaceSelector:\n        matchLabels:\n          kubernetes.io/metadata.name: ns-%d\n      podSelector:\n        matchLabels:\n          app.kubernetes.io/name: service-%d\n    ports:\n    - port: %d\n      protocol: TCP\n", i, i, 8000+i)
	}
	b.WriteString("  podSelector:\n    matchLabels:\n      app: api\n  policyTypes:\n  - Ingress\n")
	return b.String()
}

// BenchmarkParse reads a policy of 200 rules.
func BenchmarkParse(b *testing.B) {
	data := []byte(policy(200))
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if objects, err := Parse("x.yaml", data, Strict); err != nil || len(objects) != 1 {
			b.Fatal(err)
		}
	}
}
