// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/generator/internal/command"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

var updateExplain = flag.Bool("update-explain", false, "write what explain prints into testdata/explain")

// explain runs the command and returns all that a person sees, with the exit status at the end.
func explain(t *testing.T, args ...string) (text string, status int) {
	t.Helper()
	var out, errOut bytes.Buffer
	err := run(t.Context(), append([]string{"explain"}, args...), &out, &errOut)
	if err != nil && err.Error() != "" {
		fmt.Fprintf(&errOut, "bulkhead: %s\n", command.OneLine(err))
	}
	return errOut.String() + out.String(), command.ExitCode(err)
}

// Each section of a file below testdata/explain is a case: what it is about, a colon, and the flags; then what
// the command prints about objects.yaml, and its exit status.
func TestExplainGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/explain/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			path, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			for i := range archive.Files {
				golden(t, &archive.Files[i])
			}
			if *updateExplain {
				if err := os.WriteFile(path, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func golden(t *testing.T, f *txtar.File) {
	t.Helper()
	if f.Name == "objects.yaml" {
		write(t, f.Name, string(f.Data))
		return
	}
	_, flags, _ := strings.Cut(f.Name, ": ")
	text, status := explain(t, append(strings.Fields(flags), "objects.yaml")...)
	text += fmt.Sprintf("exit status %d\n", status)
	if *updateExplain {
		f.Data = []byte(text)
	} else if text != string(f.Data) {
		t.Errorf("%s: got\n%s\nwant\n%s", f.Name, text, f.Data)
	}
}

// The page's commands print what the page says.
func TestExplainPage(t *testing.T) {
	path, err := filepath.Abs("../docs/explain.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	page, commands := string(text), 0
	if _, manifest, ok := strings.Cut(page, "```yaml\n"); ok {
		manifest, _, _ = strings.Cut(manifest, "```\n")
		write(t, "shop.yaml", manifest)
	}
	const begin, end = "```console\n$ bulkhead explain ", "```\n"
	parts := strings.Split(page, begin)
	for i, part := range parts[1:] {
		commands++
		shown, rest, _ := strings.Cut(part, end)
		line, _, _ := strings.Cut(shown, "\n")
		output, _ := explain(t, strings.Fields(line)...)
		if shown != line+"\n"+output && !*updateExplain {
			t.Errorf("%s prints\n%s", line, output)
		}
		parts[1+i] = line + "\n" + output + end + rest
	}
	if commands == 0 {
		t.Error("the page has no commands")
	}
	if *updateExplain {
		if err := os.WriteFile(path, []byte(strings.Join(parts, begin)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const explainCase = "testdata/explain/rules.txtar"

// explainObjects writes the objects of a golden file.
func explainObjects(t *testing.T) string {
	t.Helper()
	archive, err := txtar.ParseFile(explainCase)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(t.TempDir(), "objects.yaml"), string(archive.Files[0].Data))
}

// JSON and YAML say the same, and as much as a program needs.
func TestExplainForPrograms(t *testing.T) {
	objects := explainObjects(t)
	args := []string{"--from", "shop/web", "--to", "shop/api", "--port", "8080", objects, "-o"}
	var fromJSON, fromYAML struct {
		Allowed bool
		Egress  struct{ Rule struct{ At string } }
		Ingress struct {
			Reason     string
			Considered []struct {
				Path, At                 string
				PeerMatched, PortMatched bool
				Misses                   []struct {
					Path string
					Why  []struct {
						Cause, Wanted string
						Actual        *string
					}
				}
			}
		}
		Suggestion struct {
			Steps []struct{ Verb, Kind, Namespace, Name, Path, At, Fragment string }
		}
	}
	text, status := explain(t, append(args, "json")...)
	if err := json.Unmarshal([]byte(text), &fromJSON); err != nil || status != 1 {
		t.Fatalf("%v, status %d\n%s", err, status, text)
	}
	text, _ = explain(t, append(args, "yaml")...)
	if err := yaml.Unmarshal([]byte(text), &fromYAML); err != nil || fmt.Sprintf("%+v", fromYAML.Suggestion) != fmt.Sprintf("%+v", fromJSON.Suggestion) {
		t.Errorf("%v\n%+v\n%+v", err, fromYAML, fromJSON)
	}
	in := fromJSON.Ingress
	if fromJSON.Allowed || fromJSON.Egress.Rule.At != objects+":72" || in.Reason != "NoRule" || len(in.Considered) != 2 {
		t.Fatalf("%+v", fromJSON)
	}
	nearest := in.Considered[0]
	if nearest.Path != "spec.ingress[0]" || nearest.At != objects+":46" || !nearest.PeerMatched || nearest.PortMatched || nearest.Misses[0].Why[0].Cause != "NameIsOther" {
		t.Errorf("nearest: %+v", nearest)
	}
	if s := fromJSON.Suggestion.Steps; len(s) != 1 || s[0].Verb != "AddPort" || s[0].Path != "spec.ingress[0].ports" || s[0].Fragment == "" {
		t.Errorf("steps: %+v", s)
	}
}

// A question that cannot be answered has the exit status 2, and says what to do.
func TestExplainRefuses(t *testing.T) {
	objects := explainObjects(t)
	good := func(change ...string) []string {
		return append([]string{"--from", "shop/web", "--to", "shop/api", "--port", "80", objects}, change...)
	}
	for _, tc := range []struct {
		want string
		args []string
	}{
		{"--from is missing", []string{"--to", "shop/api", "--port", "80", objects}},
		{"--to is missing", []string{"--from", "shop/web", "--port", "80", objects}},
		{"--port is missing", []string{"--from", "shop/web", "--to", "shop/api", objects}},
		{"value out of range", good("--port", "70000")},
		{"unknown flag", good("--tier", "1")},
		{`--protocol "ICMP": give one of TCP, UDP, SCTP`, good("--protocol", "icmp")},
		{`--output "table": give one of text, json, yaml`, good("-o", "table")},
		{"no objects: give files", []string{"--from", "shop/web", "--to", "shop/api", "--port", "80"}},
		{"not both", good("--kubeconfig", "x")},
		{"read manifests: ", good("nosuch.yaml")},
		{"it names no cluster", []string{"--from", "shop/web", "--to", "shop/api", "--port", "80", "--kubeconfig", write(t, t.TempDir()+"/c", "")}},
	} {
		text, status := explain(t, tc.args...)
		if status != 2 || !strings.Contains(text, tc.want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%q: status %d, %s; want %s", tc.args, status, text, tc.want)
		}
	}
}

// A live cluster answers as files do, with and without the API of ClusterNetworkPolicies.
func TestExplainCluster(t *testing.T) {
	plane, err := cluster.Start(t.Context(), cluster.Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	}()
	file, err := plane.Kubeconfig("admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(plane.Admin())
	create := func(path, object string) {
		t.Helper()
		// An API that was just defined is served a little later.
		err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			err := client.RESTClient().Post().AbsPath(path).SetHeader("Content-Type", "application/yaml").Body([]byte(object)).Do(ctx).Error()
			if apierrors.IsNotFound(err) {
				return false, nil
			}
			return true, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pod := "{apiVersion: v1, kind: Pod, metadata: {name: %[1]s, labels: {app: %[1]s}}, spec: {automountServiceAccountToken: false, containers: [{name: c, image: x}]}}"
	create("/api/v1/namespaces", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")
	create("/api/v1/namespaces/shop/pods", fmt.Sprintf(pod, "web"))
	create("/api/v1/namespaces/shop/pods", fmt.Sprintf(pod, "api"))
	create("/api/v1/namespaces/shop/services", "{apiVersion: v1, kind: Service, metadata: {name: entry}, spec: {selector: {app: api}, ports: [{port: 80, targetPort: 3000}]}}")
	create("/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies",
		"{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: api}, spec: {podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{port: 9090}]}]}}")

	args := []string{"--from", "shop/web", "--to", "shop/entry", "--port", "80", "--kubeconfig", file}
	text, status := explain(t, args...)
	if status != 1 || !strings.Contains(text, "Service shop/entry leads to Pod shop/api, port 3000.") || !strings.Contains(text, "Add this rule to spec.ingress of NetworkPolicy shop/api:") {
		t.Errorf("status %d\n%s", status, text)
	}
	definition, err := cluster.PolicyDefinition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
	create("/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies", `{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: open},
 spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Accept, from: [{namespaces: {}}]}]}}`)
	if text, status = explain(t, args...); status != 0 || !strings.Contains(text, "allowed by   ClusterNetworkPolicy open, ingress rule 0\n") {
		t.Errorf("with a ClusterNetworkPolicy: status %d\n%s", status, text)
	}
}
