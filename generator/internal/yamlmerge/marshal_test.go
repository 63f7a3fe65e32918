// SPDX-License-Identifier: Apache-2.0

package yamlmerge_test

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/yamlmerge"
)

// FuzzMarshal: no name or label leaves its place in the YAML. What is written reads back as one
// object with the same values.
func FuzzMarshal(f *testing.F) {
	for _, s := range []string{"api", "null", "true", "1e3", "- x", "a: b", "x\n---\nkind: Secret", "'\"", "#", "*a", "!!binary x", "\t", "{}", "\u2028", "<<", ""} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			t.Skip("JSON and YAML carry valid UTF-8 only; the API server takes nothing else")
		}
		in := &networkingv1.NetworkPolicy{
			TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
			ObjectMeta: metav1.ObjectMeta{Name: value, Namespace: key},
			Spec:       networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{key: value}}},
		}
		docs, err := yamlmerge.DocumentsOf(in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := docs.Marshal()
		if err != nil {
			return // refused, such as control characters: nothing was written
		}
		objects, err := manifest.Parse("x.yaml", out, manifest.Strict)
		if err != nil || len(objects) != 1 {
			t.Fatalf("%d objects, %v, from\n%s", len(objects), err, out)
		}
		got, err := json.Marshal(objects[0])
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("wrote %s, read %s", want, got)
		}
	})
}
