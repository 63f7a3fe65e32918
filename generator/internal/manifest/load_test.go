// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
)

// folder writes files, given as name and content in turn, and makes the folder the current one.
func folder(t *testing.T, files ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for pair := range slices.Chunk(files, 2) {
		if err := os.MkdirAll(filepath.Dir(pair[0]), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(pair[0], []byte(pair[1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// begin is where an object begins.
func begin(t testing.TB, s *manifest.Set, o manifest.Object) manifest.Position {
	t.Helper()
	m, err := meta.Accessor(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	return s.Position(o.GetObjectKind().GroupVersionKind().Kind, m.GetNamespace(), m.GetName(), "")
}

// names are "Kind namespace/name file:line" of each object.
func names(t *testing.T, s *manifest.Set) []string {
	t.Helper()
	var out []string
	for _, o := range s.Objects {
		m, err := meta.Accessor(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, o.GetObjectKind().GroupVersionKind().Kind+" "+strings.TrimPrefix(m.GetNamespace()+"/"+m.GetName(), "/")+" "+begin(t, s, o).String())
	}
	return out
}

const (
	pod    = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
	podB   = "apiVersion: v1\nkind: Pod\nmetadata: {name: b}\n"
	podC   = "apiVersion: v1\nkind: Pod\nmetadata: {name: c}\n"
	policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: api, namespace: shop}\n"
)

// TestLoadText: what helm, kubectl and people write is read, with the line of each object.
func TestLoadText(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"one document", pod, "Pod default/a stdin:1"},
		{"a separator first", "---\n" + pod, "Pod default/a stdin:2"},
		{"documents", pod + "---\n" + podB, "Pod default/a stdin:1, Pod default/b stdin:5"},
		{"empty documents", "---\n---\n\n---\n# nothing\n---\n" + pod + "---\n", "Pod default/a stdin:7"},
		{"helm", "---\n# Source: shop/templates/a.yaml\n" + pod + "---\n# Source: shop/templates/b.yaml\n\n" + podB, "Pod default/a stdin:3, Pod default/b stdin:9"},
		{"a comment after the separator", pod + "--- # second\n" + podB, "Pod default/a stdin:1, Pod default/b stdin:5"},
		{"content after the separator", pod + "--- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n", "Pod default/a stdin:1, Pod default/b stdin:4"},
		{"end of document", pod + "...\n---\n" + podB + "...\n", "Pod default/a stdin:1, Pod default/b stdin:6"},
		{"a directive", "%YAML 1.1\n---\n" + pod, "Pod default/a stdin:3"},
		{"CRLF", strings.ReplaceAll(pod+"---\n"+podB, "\n", "\r\n"), "Pod default/a stdin:1, Pod default/b stdin:5"},
		{"BOM", "\ufeff" + pod, "Pod default/a stdin:1"},
		{"a separator in a text", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    x: |\n      ---\n      a: b\n", "Pod default/a stdin:1"},
		{"List", "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(pod, "\n", "\n  ") + "\n- " + strings.ReplaceAll(podB, "\n", "\n  "), "Pod default/a stdin:4, Pod default/b stdin:8"},
		{"List in a List", "{apiVersion: v1, kind: List, items: [\n{apiVersion: v1, kind: List, items: [\n{apiVersion: v1, kind: Pod, metadata: {name: a}}]}]}", "Pod default/a stdin:3"},
		{"typed list", "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n- kind: Pod\n  metadata: {name: b}\n", "Pod default/a stdin:4, Pod default/b stdin:5"},
		{"NetworkPolicyList", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\nitems:\n- metadata: {name: a, namespace: shop}\n", "NetworkPolicy shop/a stdin:4"},
		{"ClusterNetworkPolicy", "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: a}\n", "ClusterNetworkPolicy a stdin:1"},
		{"an empty List", "{apiVersion: v1, kind: List, items: []}", ""},
		{"JSON", `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}`, "Pod default/a stdin:1"},
		{"JSON and tabs", "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\",\n\t\"metadata\": {\"name\": \"a\", \"annotations\": {\"x\": \"\\ud83d\\ude00\\/\"}}\n}", "Pod default/a stdin:1"},
		{"JSON after JSON", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\",\n\"metadata\": {\"name\": \"a\"}}\n\n{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"b\"}}", "Pod default/a stdin:1, Pod default/b stdin:4"},
		{"JSON then YAML", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}\n---\n" + podB, "Pod default/a stdin:1, Pod default/b stdin:3"},
		{"JSON List", "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}\n]}", "Pod default/a stdin:2"},
		{"a name to come", "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: migrate-}\n", "Job default/migrate- stdin:1"},
		{"aliases", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: &l {app: a}, annotations: *l}\n", "Pod default/a stdin:1"},
	}
	for _, tt := range tests {
		set, err := manifest.Load([]string{"-"}, strings.NewReader(tt.text), manifest.Strict)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := strings.Join(names(t, set), ", "); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestLoadKinds: every kind that is read, in its version.
func TestLoadKinds(t *testing.T) {
	for kind, version := range map[string]string{
		"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "ReplicaSet": "apps/v1",
		"Job": "batch/v1", "CronJob": "batch/v1",
		"ReplicationController": "v1", "Pod": "v1", "Service": "v1", "Namespace": "v1", "Node": "v1",
		"NetworkPolicy": "networking.k8s.io/v1", "ClusterNetworkPolicy": "policy.networking.k8s.io/v1alpha2",
	} {
		set, err := manifest.Load([]string{"-"}, strings.NewReader("apiVersion: "+version+"\nkind: "+kind+"\nmetadata: {name: a}\n"), manifest.Strict)
		if err != nil || len(set.Objects) != 1 {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestLoadPaths: files, folders and stdin, each object once.
func TestLoadPaths(t *testing.T) {
	folder(t, "a.yaml", pod, "dir/b.yml", podB, "dir/sub/c.json", `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c"}}`,
		"dir/evidence.json", "[1]", "dir/notes.txt", "not: [yaml", "dir/.git/x.yaml", "not: [yaml")
	tests := []struct{ paths, want string }{
		{"a.yaml", "Pod default/a a.yaml:1"},
		{"dir", "Pod default/b dir/b.yml:1, Pod default/c dir/sub/c.json:1"},
		{"dir dir/b.yml ./dir/", "Pod default/b dir/b.yml:1, Pod default/c dir/sub/c.json:1"},
		{"- a.yaml dir/sub", "Pod default/stdin stdin:1, Pod default/a a.yaml:1, Pod default/c dir/sub/c.json:1"},
		{"dir/.git/..", "Pod default/b dir/b.yml:1, Pod default/c dir/sub/c.json:1"},
	}
	for _, tt := range tests {
		stdin := strings.NewReader("{apiVersion: v1, kind: Pod, metadata: {name: stdin}}")
		set, err := manifest.Load(strings.Fields(tt.paths), stdin, manifest.Strict)
		if err != nil {
			t.Errorf("%s: %v", tt.paths, err)
			continue
		}
		if got := strings.Join(names(t, set), ", "); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.paths, got, tt.want)
		}
	}
}

// TestLoadSkips: what says nothing about connections is counted, and a person hears of what might.
func TestLoadSkips(t *testing.T) {
	folder(t, "all.yaml", pod+"---\napiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: a}}, {metadata: {name: b}}]\n"+
		"---\napiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\n"+
		"---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a}\n",
		"values.yaml", "replicas: 3\n", "Chart.yaml", "apiVersion: v2\nname: shop\n")
	set, err := manifest.Load([]string{"."}, nil, manifest.Lenient)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for gk, n := range set.Skipped {
		got += strings.Repeat(gk.String()+" ", n)
	}
	words := strings.Fields(got)
	slices.Sort(words)
	if want := "CiliumNetworkPolicy.cilium.io ConfigMap ConfigMap Service.serving.knative.dev"; strings.Join(words, " ") != want {
		t.Errorf("skipped %s, want %s", words, want)
	}
	want := "2 documents are no objects of Kubernetes and were left out, the first at Chart.yaml:1\n" +
		"1 objects of kind CiliumNetworkPolicy.cilium.io are not understood: what they allow or deny is not considered"
	if got := strings.Join(set.Warnings, "\n"); got != want {
		t.Errorf("warnings %s\nwant %s", got, want)
	}
	if _, err := manifest.Load([]string{"."}, nil, manifest.Strict); err == nil || !strings.Contains(err.Error(), "Chart.yaml:1: no Kubernetes object: kind is missing") {
		t.Errorf("a strict reading says %v", err)
	}
	if _, err := manifest.Load([]string{"values.yaml"}, nil, manifest.Lenient); err == nil || err.Error() != "read manifests: values.yaml: no Kubernetes object in it" {
		t.Errorf("values.yaml by its name: %v", err)
	}
}

// TestLoadLenient: fields that a newer server writes are left out.
func TestLoadLenient(t *testing.T) {
	text := pod + "spec: {fieldOfNextYear: 1}\n"
	if set, err := manifest.Load([]string{"-"}, strings.NewReader(text), manifest.Lenient); err != nil || len(set.Objects) != 1 {
		t.Errorf("lenient: %v", err)
	}
}

// TestLoadStaysInside: a link out of a folder is not followed, one within it is.
func TestLoadStaysInside(t *testing.T) {
	folder(t, "secret.yaml", pod, "dir/..2026/a.yaml", podB)
	link := func(old, new string) {
		t.Helper()
		if err := os.Symlink(old, new); err != nil {
			t.Fatal(err)
		}
	}
	link("..2026", "dir/..data") // as the kubelet mounts a ConfigMap
	link("..data/a.yaml", "dir/a.yaml")
	set, err := manifest.Load([]string{"dir"}, nil, manifest.Strict)
	if err != nil || strings.Join(names(t, set), ", ") != "Pod default/b dir/a.yaml:1" {
		t.Errorf("a mounted ConfigMap: %v", err)
	}
	link("../secret.yaml", "dir/x.yaml")
	if set, err := manifest.Load([]string{"dir"}, nil, manifest.Lenient); err == nil || !strings.Contains(err.Error(), "dir/x.yaml: ") || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("read %v through a link that leads out, %v", set, err)
	}
}
