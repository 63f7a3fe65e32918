// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/gate"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/ready"
)

const (
	// maxFindings bounds how many violations one refusal spells out.
	maxFindings = 10
	// reservedName is the rule that also holds for exempt names: who takes such a name first would
	// have a namespace without rules.
	reservedName = "namespace/reserved_name"
	// modeWeakened compares with the configured mode, which new namespaces do not get without DNS.
	modeWeakened = "namespace/mode_weakened"
)

// Judge refuses what the rules deny and passes on what they warn of.
type Judge struct {
	Gate *gate.Engine
	// Exempt namespaces, and policies in them, are not judged. Only whether the user may take such a
	// name is.
	Exempt []string
	// Starting returns the mode that a namespace gets now, as in Stamp. Nobody is refused for it.
	Starting func(context.Context) baseline.Mode
	Users    *Users
	Cached   client.Reader // Namespaces, from a cache
	Live     client.Reader // Namespaces that the cache does not know yet
	Log      *slog.Logger
}

// Handle implements admission.Handler. What cannot be judged is refused.
func (j *Judge) Handle(ctx context.Context, request admission.Request) admission.Response {
	if !judged(request.Kind) {
		return admission.Errored(http.StatusBadRequest, unknownKind(request.Kind))
	}
	exempt := slices.Contains(j.Exempt, namespaceOf(request))
	if exempt && !createsNamespace(request) {
		return admission.Allowed("")
	}
	input, err := j.input(ctx, request)
	if err != nil {
		var bad *malformed
		if errors.As(err, &bad) {
			return admission.Errored(http.StatusBadRequest, err)
		}
		j.Log.Error("request could not be judged", "namespace", request.Namespace, "name", request.Name, "error", err)
		return admission.Errored(http.StatusInternalServerError, fmt.Errorf("bulkhead could not judge this request, retry: %w", err))
	}
	results, err := j.Gate.Evaluate(ctx, input)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, fmt.Errorf("bulkhead could not judge this request: %w", err))
	}
	if exempt {
		results = slices.DeleteFunc(results, func(r gate.Result) bool { return r.Rule != reservedName })
	}
	if createsNamespace(request) && j.startsAsUsual(ctx, input.Object) {
		results = slices.DeleteFunc(results, func(r gate.Result) bool { return r.Rule == modeWeakened })
	}
	return j.answer(request, results)
}

func (j *Judge) startsAsUsual(ctx context.Context, namespace map[string]any) bool {
	mode, _, err := unstructured.NestedString(namespace, "metadata", "labels", baseline.LabelMode)
	return err == nil && mode == j.Starting(ctx).String()
}

func (j *Judge) answer(request admission.Request, results []gate.Result) admission.Response {
	var refusals, warnings []string
	audit := map[string]string{}
	for _, result := range results {
		switch result.Action {
		case gate.Deny:
			refusals = append(refusals, result.String())
		case gate.Warn:
			warnings = append(warnings, result.String())
		default:
			audit[strings.ReplaceAll(result.Rule, "/", ".")] = result.String()
		}
	}
	response := admission.Allowed("")
	if len(refusals) > 0 {
		response = admission.Denied(strings.Join(bounded(refusals), "\n"))
	}
	if len(refusals) > 0 && request.Name != ready.CanaryNamespace {
		j.Log.Info("refused", "user", request.UserInfo.Username, "operation", request.Operation, "kind", request.Kind.Kind,
			"namespace", request.Namespace, "name", request.Name, "violations", refusals)
	}
	response.AuditAnnotations = audit
	return response.WithWarnings(bounded(warnings)...)
}

func bounded(findings []string) []string {
	if more := len(findings) - maxFindings; more > 0 {
		return append(findings[:maxFindings:maxFindings], fmt.Sprintf("and %d more", more))
	}
	return findings
}

func (j *Judge) input(ctx context.Context, request admission.Request) (gate.Input, error) {
	input := gate.Input{Operation: string(request.Operation)}
	var err error
	if input.Object, input.Policy, err = read(request, request.Object.Raw); err != nil {
		return input, err
	}
	if input.OldObject, input.OldPolicy, err = read(request, request.OldObject.Raw); err != nil {
		return input, err
	}
	if input.Object == nil && input.OldObject == nil {
		return input, &malformed{errors.New("the admission request has neither object nor oldObject")}
	}
	if input.User, err = j.Users.Describe(ctx, request.UserInfo, namespaceOf(request)); err != nil {
		return input, err
	}
	if request.Kind.Kind != "Namespace" {
		input.Namespace, err = j.namespace(ctx, request.Namespace)
	}
	return input, err
}

// namespace reads a namespace as rules see it. One that was made a moment ago may not be cached yet.
func (j *Judge) namespace(ctx context.Context, name string) (map[string]any, error) {
	namespace := &corev1.Namespace{}
	key := client.ObjectKey{Name: name}
	err := j.Cached.Get(ctx, key, namespace)
	if apierrors.IsNotFound(err) {
		err = j.Live.Get(ctx, key, namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("read namespace %s: %w", name, err)
	}
	return runtime.DefaultUnstructuredConverter.ToUnstructured(namespace)
}

// read returns the object and, of a NetworkPolicy, the compiled view. Both are nil where raw is empty.
func read(request admission.Request, raw []byte) (object map[string]any, view *netpol.PolicyView, err error) {
	if len(raw) == 0 {
		return nil, nil, nil
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, nil, &malformed{err}
	}
	if request.Kind.Kind != "NetworkPolicy" {
		return object, nil, nil
	}
	policy := &networkingv1.NetworkPolicy{}
	if err := json.Unmarshal(raw, policy); err != nil {
		return nil, nil, &malformed{err}
	}
	compiled := netpol.View(policy)
	return object, &compiled, nil
}

// malformed is an admission request that the API server would not send.
type malformed struct{ cause error }

func (m *malformed) Error() string { return "malformed admission request: " + m.cause.Error() }
func (m *malformed) Unwrap() error { return m.cause }

// judged are the kinds that the admission objects ask about.
func judged(kind metav1.GroupVersionKind) bool {
	return isNamespace(kind) || kind.Group == networkingv1.GroupName && kind.Kind == "NetworkPolicy"
}

func isNamespace(kind metav1.GroupVersionKind) bool {
	return kind.Group == corev1.GroupName && kind.Kind == "Namespace"
}

func unknownKind(kind metav1.GroupVersionKind) error {
	return &malformed{fmt.Errorf("nothing is known of kind %q of group %q", kind.Kind, kind.Group)}
}

func createsNamespace(request admission.Request) bool {
	return request.Kind.Kind == "Namespace" && request.Operation == admissionv1.Create
}

// namespaceOf is the namespace that a request is about. It is empty for a Namespace whose name the
// API server has yet to generate.
func namespaceOf(request admission.Request) string {
	if request.Kind.Kind == "Namespace" {
		return request.Name
	}
	return request.Namespace
}
