// SPDX-License-Identifier: Apache-2.0

// Package apply brings the approved policies of a namespace into a cluster, takes back what is no
// longer approved, and reports what was changed behind Git's back.
package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/kustomize/api/resmap"

	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// permitted are the fields of a kustomization that can only rearrange files of the checkout. The
// others run programs, fetch charts or load configuration.
var permitted = []string{
	"apiVersion", "kind", "metadata", "namespace", "resources", "components", "patches",
	"labels", "commonAnnotations", "namePrefix", "nameSuffix", "sortOptions",
}

// Build builds the kustomization of a namespace. files are those of its directory; nothing else
// can be reached, so that what is approved for a namespace is one directory. The result is valid
// NetworkPolicies of that namespace; anything else is an error that names it.
func Build(files tree.Files, namespace string) ([]*networkingv1.NetworkPolicy, error) {
	read := func(name string) ([]byte, error) {
		content, ok := files[name]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return content, nil
	}
	k := manifest.Kustomization{Read: read, Base: "/" + namespace, Dir: ".", Permitted: permitted}
	built, err := k.Build()
	if err != nil {
		return nil, fmt.Errorf("build namespace %s: %w", namespace, err)
	}
	return policies(built, namespace)
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
