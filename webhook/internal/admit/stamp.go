// SPDX-License-Identifier: Apache-2.0

// Package admit answers the API server's admission requests: Stamp completes namespaces, Judge runs the
// Rego rules on namespaces and NetworkPolicies, and ProfileJudge on what profiles would make.
package admit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// Stamp gives new namespaces the labels mode and profile where they are absent, and those that are
// enrolled, in mode audit or enforce, the label profile.
type Stamp struct {
	Profiles *Profiles
	// Exempt namespaces are stamped observe: they are left alone, and can be seen to be. A mode that
	// somebody gave is somebody's decision, and stays.
	Exempt []string
}

// Handle implements admission.Handler.
func (s *Stamp) Handle(ctx context.Context, request admission.Request) admission.Response {
	if !isNamespace(request.Kind) {
		return admission.Errored(http.StatusBadRequest, unknownKind(request.Kind))
	}
	if baseline.IsSystemNamespace(request.Name) {
		return admission.Allowed("")
	}
	// Not the typed Namespace: fields that are newer than this program would be patched away.
	namespace := &unstructured.Unstructured{}
	if err := json.Unmarshal(request.Object.Raw, &namespace.Object); err != nil {
		return admission.Errored(http.StatusBadRequest, &malformed{err})
	}
	if request.Operation != admissionv1.Create && !isEnrolled(namespace) {
		return admission.Allowed("")
	}
	if err := s.stamp(ctx, request, namespace); err != nil {
		return admission.Errored(http.StatusInternalServerError, fmt.Errorf("bulkhead cannot tell the namespace's profile, retry: %w", err))
	}
	stamped, err := json.Marshal(namespace.Object)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(request.Object.Raw, stamped)
}

func (s *Stamp) stamp(ctx context.Context, request admission.Request, namespace *unstructured.Unstructured) error {
	labels := namespace.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	chosen, err := s.Profiles.choose(ctx, labels)
	if err != nil {
		return err
	}
	if request.Operation == admissionv1.Create {
		mode := baseline.Observe
		if !slices.Contains(s.Exempt, request.Name) {
			mode = s.Profiles.startingMode(ctx, chosen)
		}
		setDefault(labels, baseline.LabelMode, mode.String())
	}
	setDefault(labels, baseline.LabelProfile, chosen.Selected.Name)
	namespace.SetLabels(labels)
	return nil
}

// isEnrolled reports whether a namespace that exists needs a profile.
func isEnrolled(namespace *unstructured.Unstructured) bool {
	mode, err := baseline.ModeOf(namespace.GetLabels())
	return err == nil && mode.NeedsBaseline() && namespace.GetDeletionTimestamp() == nil
}

func setDefault(labels map[string]string, key, value string) {
	if _, ok := labels[key]; !ok {
		labels[key] = value
	}
}
