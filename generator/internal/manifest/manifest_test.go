// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
)

func TestParse(t *testing.T) {
	const input = `# a comment alone is no document
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: a, fieldOfNextYear: 1}}
- {apiVersion: example.com/v1, kind: Rollout, metadata: {name: b}}
---
apiVersion: v1
kind: PodList
items: [{metadata: {name: c}}]
---
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
`
	objects, err := manifest.Parse("x.yaml", []byte(input), manifest.Lenient)
	if err != nil || len(objects) != 2 {
		t.Errorf("%d objects, %v; want pods a and c", len(objects), err)
	}
	if _, err := manifest.Parse("x.yaml", []byte(input), manifest.Strict); err == nil || !strings.Contains(err.Error(), "fieldOfNextYear") {
		t.Errorf("a strict reading says %v", err)
	}
}

func TestParseNamesTheDocument(t *testing.T) {
	for bad, want := range map[string]string{
		"kind: Pod\napiVersion: v1\n---\nkind: Pod\napiVersion: v1\nspec: [\n": "x.yaml: document at line 4:",
		"kind: Pod\napiVersion: v1\nspec: {containers: 5}\n":                   "x.yaml: document at line 1:",
	} {
		_, err := manifest.Parse("x.yaml", []byte(bad), manifest.Lenient)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one line that begins with %s", err, want)
		}
	}
}

func TestReadDirStaysInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.yaml")
	if err := os.WriteFile(outside, []byte("kind: Pod\napiVersion: v1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "x.yaml")); err != nil {
		t.Fatal(err)
	}
	if objects, err := manifest.ReadDir(dir, manifest.Lenient); err == nil {
		t.Errorf("read %v through a link that leads out", objects)
	}
}
