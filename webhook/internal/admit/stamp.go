// SPDX-License-Identifier: Apache-2.0

// Package admit answers the API server's admission requests: Stamp completes new namespaces, Judge
// runs the Rego rules on namespaces and NetworkPolicies.
package admit

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// Stamp gives new namespaces the labels mode and profile where they are absent.
type Stamp struct {
	// Starting returns the mode that a namespace gets now.
	Starting func(context.Context) baseline.Mode
	// Exempt namespaces are stamped observe: they are left alone, and can be seen to be. A mode that
	// somebody gave is somebody's decision, and stays.
	Exempt []string
}

// Handle implements admission.Handler.
func (s *Stamp) Handle(ctx context.Context, request admission.Request) admission.Response {
	if !isNamespace(request.Kind) {
		return admission.Errored(http.StatusBadRequest, unknownKind(request.Kind))
	}
	if !createsNamespace(request) || baseline.IsSystemNamespace(request.Name) {
		return admission.Allowed("")
	}
	// Not the typed Namespace: fields that are newer than this program would be patched away.
	namespace := &unstructured.Unstructured{}
	if err := json.Unmarshal(request.Object.Raw, &namespace.Object); err != nil {
		return admission.Errored(http.StatusBadRequest, &malformed{err})
	}
	mode := s.Starting(ctx)
	if slices.Contains(s.Exempt, request.Name) {
		mode = baseline.Observe
	}
	labels := namespace.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	setDefault(labels, baseline.LabelMode, mode.String())
	setDefault(labels, baseline.LabelProfile, baseline.DefaultProfile)
	namespace.SetLabels(labels)
	stamped, err := json.Marshal(namespace.Object)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(request.Object.Raw, stamped)
}

func setDefault(labels map[string]string, key, value string) {
	if _, ok := labels[key]; !ok {
		labels[key] = value
	}
}
