// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"
)

// TestRender goes through testdata/render. A file has sections profile (its spec), namespace (its metadata),
// and either policies or error.
func TestRender(t *testing.T) {
	files, err := filepath.Glob("testdata/render/*.txtar")
	if err != nil || len(files) < 4 {
		t.Fatalf("got %d files (%v), want some", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sections := map[string]string{}
			for _, section := range archive.Files {
				sections[section.Name] = string(section.Data)
			}
			testRender(t, sections)
		})
	}
}

func testRender(t *testing.T, sections map[string]string) {
	p := read(t, "test", sections["profile"])
	namespace := &corev1.Namespace{}
	decode(t, sections["namespace"], &namespace.ObjectMeta)
	before := p.DeepCopy()
	got, err := p.Render(namespace)
	if !reflect.DeepEqual(p, before) {
		t.Errorf("Render changed the profile: %+v", p)
	}
	if want := strings.TrimSpace(sections["error"]); want != "" {
		if err == nil || err.Error() != want || got != nil {
			t.Errorf("got %v, %v, want error %s", got, err, want)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var want []*networkingv1.NetworkPolicy
	decode(t, sections["policies"], &want)
	if !equality.Semantic.DeepEqual(got, want) {
		text, err := yaml.Marshal(got)
		t.Errorf("got %s (%v)\nwant %s", text, err, sections["policies"])
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

// TestRenderSharesNothing: the caller may change what it got.
func TestRenderSharesNothing(t *testing.T) {
	p := read(t, "test", `{startingMode: audit, policies: [{name: a, spec: {podSelector: {matchLabels: {a: b}}, egress: [{ports: [{port: 1}]}]}}]}`)
	before := p.DeepCopy()
	policies, err := p.Render(&corev1.Namespace{})
	if err != nil {
		t.Fatal(err)
	}
	policies[0].Spec.PodSelector.MatchLabels["a"] = "c"
	policies[0].Spec.Egress[0].Ports[0].Port.IntVal = 2
	if !reflect.DeepEqual(p, before) {
		t.Errorf("the profile is now %+v", p)
	}
}
