// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"bytes"
	"io/fs"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
)

// FuzzLoad: no input makes Load panic or runs away with it, strict is never more permissive than
// lenient, and every position is a line of the input.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		positions, deployment + "---\n" + ingress, laughs(), pod + "...\n---\n" + podB, "\ufeff---\r\n" + pod,
		`{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}]}{}`,
		"  kind: Pod\na: b\n", pod + "spec: {a: &a [*a]}\n", "a: {{ .b }}\n", "%YAML 1.1\n--- !!map\n? a\n: b\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			t.Skip("size is bounded by other means")
		}
		lenient, errLenient := manifest.Load([]string{"-"}, bytes.NewReader(data), manifest.Lenient)
		strict, err := manifest.Load([]string{"-"}, bytes.NewReader(data), manifest.Strict)
		if err == nil && (errLenient != nil || len(strict.Objects) != len(lenient.Objects)) {
			t.Fatalf("strict takes what lenient does not: %v", errLenient)
		}
		if errLenient != nil {
			return
		}
		lines := bytes.Count(data, []byte("\n")) + 1
		for i, o := range lenient.Objects {
			at := begin(t, lenient, o)
			if at.Line < 1 || at.Line > lines {
				t.Fatalf("object %d is at %s of %d lines", i, at, lines)
			}
			for _, path := range []string{"spec.ingress[0].from[0].ipBlock.cidr", "metadata.labels[app]", "metadata.name"} {
				if got := lenient.Position(o.GetObjectKind().GroupVersionKind().Kind, "", "a", path); got.Line > lines {
					t.Fatalf("%s of object %d is at %s of %d lines", path, i, got, lines)
				}
			}
		}
	})
}

// FuzzKustomization: whatever a kustomization and its only file say, building them ends with
// resources or an error, and nothing else is asked for.
func FuzzKustomization(f *testing.F) {
	f.Add([]byte("resources: [a.yaml]\nnamespace: shop\nnamePrefix: x-\n"), []byte(deployment))
	f.Add([]byte("resources: [a.yaml]\npatches: [{patch: '[{\"op\": \"add\", \"path\": \"/x\", \"value\": 1}]', target: {kind: Pod}}]\n"), []byte(pod))
	f.Add([]byte("resources: [a.yaml]\nlabels: [{pairs: {a: b}, includeSelectors: true}]\nimages: [{name: api, newTag: x}]\nreplicas: [{name: api, count: 2}]\n"), []byte(deployment))
	f.Add([]byte("resources: [a.yaml]\nreplacements: [{source: {kind: Pod, fieldPath: metadata.name}, targets: [{select: {kind: Pod}, fieldPaths: [metadata.labels.x]}]}]\n"), []byte(pod))
	f.Add([]byte("configMapGenerator: [{name: a, files: [a.yaml]}]\nresources: ['https://example.com/x', ../b]\n"), []byte("a"))
	permitted := []string{
		"apiVersion", "kind", "namespace", "resources", "patches", "patchesStrategicMerge", "replacements", "vars", "labels", "commonLabels",
		"commonAnnotations", "namePrefix", "nameSuffix", "images", "replicas", "configMapGenerator", "sortOptions",
	}
	f.Fuzz(func(t *testing.T, kustomization, resource []byte) {
		k := manifest.Kustomization{Base: "/", Dir: "k", Permitted: permitted, Read: func(name string) ([]byte, error) {
			switch name {
			case "k/kustomization.yaml":
				return kustomization, nil
			case "k/a.yaml":
				return resource, nil
			}
			return nil, fs.ErrNotExist
		}}
		if built, err := k.Build(); err == nil && built == nil {
			t.Fatal("neither resources nor an error")
		}
	})
}
