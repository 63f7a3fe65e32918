// SPDX-License-Identifier: Apache-2.0

package register

import (
	"context"
	"errors"
	"fmt"
	"io"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// partOf is the label on all objects of the project.
var partOf = client.MatchingLabels{"app.kubernetes.io/part-of": "bulkhead"}

// kinds of admission objects: first what can refuse when nobody answers.
var kinds = []string{
	"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
	"ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy",
}

// stays reports whether an object is kept when the project is removed or switched off. It is so
// for the two that match nothing: see charts/bulkhead/admission/params-anchor-policy.yaml.
func stays(object *unstructured.Unstructured) bool {
	return object.GetAnnotations()["helm.sh/resource-policy"] == "keep"
}

// EmergencyOff deletes all admission objects of the project that can act, by label, whoever made
// them, and prints one line for each. After that Bulkhead refuses nothing; policies stay as they are.
// It goes on after a failure and returns all errors.
func EmergencyOff(ctx context.Context, c client.Client, out io.Writer) error {
	var errs []error
	found := 0
	for _, kind := range kinds {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind(kind + "List"))
		if err := c.List(ctx, list, partOf); err != nil {
			errs = append(errs, fmt.Errorf("list %ss: %w", kind, err))
			continue
		}
		var objects []*unstructured.Unstructured
		for i := range list.Items {
			objects = append(objects, &list.Items[i])
		}
		errs = append(errs, remove(ctx, c, objects, func(removed *unstructured.Unstructured) {
			found++
			fmt.Fprintf(out, "deleted %s\n", describe(removed))
		}))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintf(out, "Bulkhead's admission is off: %d objects deleted. Turn it on again with helm upgrade, or by restarting the webhook where it registers itself.\n", found)
	return nil
}

// remove deletes what does not stay.
func remove(ctx context.Context, c client.Client, objects []*unstructured.Unstructured, removed func(*unstructured.Unstructured)) error {
	var errs []error
	for _, object := range objects {
		if stays(object) {
			continue
		}
		err := c.Delete(ctx, object)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("delete %s: %w", describe(object), err))
			continue
		}
		removed(object)
	}
	return errors.Join(errs...)
}
