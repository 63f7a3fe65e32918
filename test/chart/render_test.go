// SPDX-License-Identifier: Apache-2.0

// Package chart tests the Helm chart with the real helm, a real API server and the built binaries.
package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

const chartDir = "../../charts/bulkhead"

// variants are sets of values under which all templates are rendered. Each differs from the
// default where a template has a branch.
func variants(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("values files in testdata: got %d (%v), want some", len(files), err)
	}
	all := map[string]string{}
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), ".yaml")] = file
	}
	return all
}

func TestLint(t *testing.T) {
	for name, values := range variants(t) {
		t.Run(name, func(t *testing.T) {
			if _, err := helm(t, "lint", "--strict", "--values", values); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBadValuesAreRefused(t *testing.T) {
	for set, want := range map[string]string{
		"webhook.replicas=0":                                        "webhook/replicas",
		"webhook.defaultMode=off":                                   "webhook/defaultMode",
		"webhook.rulez.a=b":                                         "rulez",
		"image.pullPolicy=Sometimes":                                "image/pullPolicy",
		"enforcer.flowInterval=soon":                                "enforcer/flowInterval",
		"enforcer.flowBuffer=-1":                                    "enforcer/flowBuffer",
		"enforcer.nri.socket=nri.sock":                              "enforcer/nri/socket",
		"enforcer.networkNamespaces=":                               "enforcer/networkNamespaces",
		"logLevel=loud":                                             "logLevel",
		"generator.persistence.size=x":                              "generator/persistence/size",
		"webhook.tls.secret=A":                                      "webhook/tls/secret",
		"webhook.tls.injectCAFrom=a/b":                              "webhook.tls: injectCAFrom and caBundle are about",
		"webhook.tls.secret=a,webhook.tls.injectCAFrom=b":           "webhook/tls/injectCAFrom",
		"webhook.tls.secret=a,webhook.tls.caBundle=b":               "webhook/tls/caBundle",
		"generator.observers={node}":                                "generator/observers/0",
		"generator.hubble.ca=a":                                     "generator/hubble",
		"enforcer.hubble.tlsSecret=A":                               "enforcer/hubble/tlsSecret",
		"enforcer.hubble.insecure=true,enforcer.hubble.tlsSecret=a": "enforcer.hubble: set tlsSecret or insecure",
		"generator.repository.url=u,generator.hubble.insecure=true,generator.hubble.tlsSecret=a": "generator.hubble: set tlsSecret or insecure",
	} {
		_, err := helm(t, "template", "--set", set)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--set %s: got %v, want an error that names %s", set, err, want)
		}
	}
}

// TestNoCertificateToGuess: where the chart cannot know the generator's certificate, and nobody asked for
// plain text, it says what to set.
func TestNoCertificateToGuess(t *testing.T) {
	for _, set := range []string{
		"generator.observers={hubble-relay.kube-system.svc:80}",
		"enforcer.hubble.tlsSecret=hubble-server",
		"enforcer.hubble.insecure=true,generator.observers={192.0.2.1:4244}",
	} {
		_, err := helm(t, "template", "--set", "generator.repository.url=https://git.example.com/p.git,"+set)
		if err == nil || !strings.Contains(err.Error(), "generator.hubble.tlsSecret is empty") {
			t.Errorf("--set %s: got %v, want an error that says what to set", set, err)
		}
	}
}

func TestOtherNamespaceIsRefused(t *testing.T) {
	_, err := helm(t, "template", "--namespace", "default")
	if err == nil || !strings.Contains(err.Error(), "--namespace "+baseline.ProjectNamespace) {
		t.Errorf("got %v, want an error that names the right namespace", err)
	}
}

// helm runs a command on the chart or its release bulkhead, in the project's namespace unless args name
// another one.
func helm(t *testing.T, command string, args ...string) ([]byte, error) {
	t.Helper()
	binary, err := cluster.Tool(t.Context(), "helm", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	words := map[string][]string{
		"lint":      {"lint", chartDir},
		"template":  {"template", "bulkhead", chartDir},
		"install":   {"install", "bulkhead", chartDir},
		"upgrade":   {"upgrade", "bulkhead", chartDir},
		"uninstall": {"uninstall", "bulkhead"},
	}[command]
	words = append(words, "--namespace", baseline.ProjectNamespace)
	cmd := exec.CommandContext(t.Context(), binary, append(words, args...)...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("helm %s: %w\n%s%s", command, err, &stdout, &stderr)
	}
	return stdout.Bytes(), nil
}

// render returns the chart's objects under the values of a file.
func render(t *testing.T, values string) []*unstructured.Unstructured {
	t.Helper()
	return renderWith(t, "--values", values)
}

// renderWith returns the chart's objects under arguments of helm.
func renderWith(t *testing.T, args ...string) []*unstructured.Unstructured {
	t.Helper()
	out, err := helm(t, "template", args...)
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096); ; {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("read what helm rendered: %v", err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// only returns the objects of the kinds, as type T.
func only[T any](t *testing.T, objects []*unstructured.Unstructured, kinds ...string) []T {
	t.Helper()
	var found []T
	for _, object := range objects {
		if !slices.Contains(kinds, object.GetKind()) {
			continue
		}
		var typed T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &typed); err != nil {
			t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
		found = append(found, typed)
	}
	return found
}
