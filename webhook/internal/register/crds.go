// SPDX-License-Identifier: Apache-2.0

package register

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	chart "github.com/bulkhead-dev/bulkhead/charts/bulkhead"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

const (
	// crdsWithin bounds the time until the API server serves what was applied; new kinds take it a moment.
	crdsWithin = 20 * time.Second
	askEvery   = 50 * time.Millisecond
)

// CRDs returns the custom resource definitions as the chart has them, in order of their file names.
func CRDs() ([]*unstructured.Unstructured, error) {
	names, err := fs.Glob(chart.CRDs, "crd/*.yaml")
	if err != nil {
		return nil, err
	}
	var crds []*unstructured.Unstructured
	for _, name := range names {
		source, err := fs.ReadFile(chart.CRDs, name)
		if err != nil {
			return nil, err
		}
		crd := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(source, &crd.Object); err != nil {
			return nil, fmt.Errorf("chart file %s: %w", name, err)
		}
		crds = append(crds, crd)
	}
	return crds, nil
}

// ApplyCRDs applies the custom resource definitions and waits until the API server serves them. Nothing
// here ever deletes them: all objects of their kinds would be gone as well.
func ApplyCRDs(ctx context.Context, c client.Client) error {
	crds, err := CRDs()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, crdsWithin)
	defer cancel()
	for _, crd := range crds {
		applied := client.ApplyConfigurationFromUnstructured(crd.DeepCopy())
		if err := c.Apply(ctx, applied, fieldOwner, client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s: %w (the user needs the ClusterRole bulkhead-webhook-register)", describe(crd), err)
		}
	}
	for _, crd := range crds {
		var last error
		err := wait.PollUntilContextCancel(ctx, askEvery, true, func(context.Context) (bool, error) {
			last = served(c.RESTMapper(), crd)
			return last == nil, nil
		})
		if err != nil {
			return fmt.Errorf("wait until the API server serves %s: %w: %w", describe(crd), err, last)
		}
	}
	return nil
}

// CheckCRDs errs unless the API server serves the custom resources. It asks for what any user may know.
func CheckCRDs(mapper meta.RESTMapper) error {
	crds, err := CRDs()
	if err != nil {
		return err
	}
	for _, crd := range crds {
		err := served(mapper, crd)
		if meta.IsNoMatchError(err) {
			return fmt.Errorf("%s is missing: install it with the Helm chart, or with kubectl apply from the chart's folder crd", describe(crd))
		}
		if err != nil {
			return fmt.Errorf("ask whether %s is served: %w", describe(crd), err)
		}
	}
	return nil
}

// served returns nil when discovery lists the kind, which it does once the API server can store it.
func served(mapper meta.RESTMapper, crd *unstructured.Unstructured) error {
	kind, _, err := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	if err != nil {
		return fmt.Errorf("%s: %w", describe(crd), err)
	}
	_, err = mapper.RESTMapping(schema.GroupKind{Group: profile.GroupVersion.Group, Kind: kind}, profile.GroupVersion.Version)
	return err
}
