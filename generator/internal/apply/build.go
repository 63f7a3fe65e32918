// SPDX-License-Identifier: Apache-2.0

// Package apply brings the approved policies of a namespace into a cluster, takes back what is no
// longer approved, and reports what was changed behind Git's back.
package apply

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	kustomize "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// building serialises builds: kustomize keeps its schema in global variables.
var building sync.Mutex

// Build builds the kustomization of a namespace. files are those of its directory; nothing else
// can be reached, so that what is approved for a namespace is one directory. The result is valid
// NetworkPolicies of that namespace; anything else is an error that names it.
func Build(files tree.Files, namespace string) ([]*networkingv1.NetworkPolicy, error) {
	fsys := filesys.MakeFsInMemory()
	for name, content := range files {
		if err := fsys.WriteFile(path.Join("/", namespace, name), content); err != nil {
			return nil, fmt.Errorf("build namespace %s: %w", namespace, err)
		}
	}
	if err := closed(files, ".", map[string]bool{}); err != nil {
		return nil, fmt.Errorf("build namespace %s: %w", namespace, err)
	}
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = kustomize.LoadRestrictionsRootOnly
	options.PluginConfig = kustomize.DisabledPluginConfig()
	building.Lock()
	built, err := krusty.MakeKustomizer(options).Run(fsys, "/"+namespace)
	building.Unlock()
	if err != nil {
		return nil, fmt.Errorf("build namespace %s: %w", namespace, err)
	}
	return policies(built, namespace)
}

// permitted are the fields of a kustomization that can only rearrange files of the checkout. The
// others run programs, fetch charts or load configuration.
var permitted = []string{
	"apiVersion", "kind", "metadata", "namespace", "resources", "components", "patches",
	"labels", "commonAnnotations", "namePrefix", "nameSuffix", "sortOptions",
}

// closed checks that a kustomization and all that it refers to is in the checkout: kustomize would
// fetch what it does not find.
func closed(files tree.Files, dir string, visited map[string]bool) error {
	if visited[dir] {
		return nil // kustomize reports the cycle
	}
	visited[dir] = true
	content, name := kustomizationOf(files, dir)
	if name == "" {
		return fmt.Errorf("directory %s has no %s", dir, tree.KustomizationFile)
	}
	var fields map[string]any
	if err := yaml.Unmarshal(content, &fields); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for field := range fields {
		if !slices.Contains(permitted, field) {
			return fmt.Errorf("%s: field %s is not permitted here; permitted are %s", name, field, strings.Join(permitted, ", "))
		}
	}
	for _, r := range append(references(fields["resources"]), references(fields["components"])...) {
		target := path.Join(dir, r)
		if _, isFile := files[target]; isFile {
			continue
		}
		if !isLocal(r) || !below(files, target) {
			return fmt.Errorf("%s: %q is not a file or directory below the namespace's own", name, r)
		}
		if err := closed(files, target, visited); err != nil {
			return err
		}
	}
	for _, p := range patchFiles(fields["patches"]) {
		if _, ok := files[path.Join(dir, p)]; !ok {
			return fmt.Errorf("%s: patch %q is not a file below the namespace's own directory", name, p)
		}
	}
	return nil
}

func kustomizationOf(files tree.Files, dir string) (content []byte, name string) {
	for _, n := range []string{tree.KustomizationFile, "kustomization.yml", "Kustomization"} {
		if c, ok := files[path.Join(dir, n)]; ok {
			return c, path.Join(dir, n)
		}
	}
	return nil, ""
}

// isLocal is false for what kustomize may take for an address of a repository even when a
// directory of that name exists, such as github.com/owner/name.
func isLocal(ref string) bool {
	first, _, _ := strings.Cut(ref, "/")
	return !strings.ContainsAny(ref, ":?@ ") && (first == "." || !strings.Contains(first, "."))
}

func below(files tree.Files, dir string) bool {
	for name := range files {
		if dir != "." && strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

func references(v any) []string {
	items, _ := v.([]any)
	var out []string
	for _, i := range items {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func patchFiles(v any) []string {
	items, _ := v.([]any)
	var out []string
	for _, i := range items {
		if p, _ := i.(map[string]any)["path"].(string); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// policies reads and checks what a build gave. It is an error to have anything but valid
// NetworkPolicies of the namespace.
func policies(built resmap.ResMap, namespace string) ([]*networkingv1.NetworkPolicy, error) {
	var objects []runtime.Object
	for _, r := range built.Resources() {
		if r.GetApiVersion() != networkingv1.SchemeGroupVersion.String() || r.GetKind() != "NetworkPolicy" {
			return nil, fmt.Errorf("refuse namespace %s: %s %s/%s: only NetworkPolicies are synced", namespace, r.GetKind(), r.GetNamespace(), r.GetName())
		}
		doc, err := r.AsYAML()
		if err != nil {
			return nil, fmt.Errorf("build namespace %s: %w", namespace, err)
		}
		found, err := manifest.Parse("refuse namespace "+namespace+": NetworkPolicy "+r.GetName(), doc, manifest.Strict)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	found, err := proof.Policies(objects)
	if err != nil {
		return nil, fmt.Errorf("refuse namespace %s: %w", namespace, err)
	}
	var faults []error
	for _, p := range found {
		if p.Namespace != namespace {
			faults = append(faults, fmt.Errorf("NetworkPolicy %s/%s is not of namespace %s", p.Namespace, p.Name, namespace))
		}
		if problems := validation.IsDNS1123Subdomain(p.Name); len(problems) > 0 {
			faults = append(faults, fmt.Errorf("NetworkPolicy %s/%s: name: %s", p.Namespace, p.Name, problems[0]))
		}
		for _, f := range netpol.Validate(p) {
			faults = append(faults, f)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("refuse namespace %s: %s", namespace, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return found, nil
}
