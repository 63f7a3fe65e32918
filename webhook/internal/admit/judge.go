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
)

// reservedName is the rule that also holds for exempt names: who takes such a name first would have a
// namespace without rules.
const reservedName = "namespace/reserved_name"

// Judge refuses what the rules deny and passes on what they warn of.
type Judge struct {
	Gate *gate.Engine
	// Exempt namespaces, and policies in them, are not judged. Only whether the user may take such a
	// name is.
	Exempt   []string
	Profiles *Profiles
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
	if err == nil && isNamespace(request.Kind) && !exempt {
		err = j.expect(ctx, request, &input)
	}
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
	var found findings
	found.add(results...)
	return found.response(j.Log, request)
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
	input.User = j.Users.Describe(request.UserInfo)
	if request.Kind.Kind != "Namespace" {
		input.Namespace, err = j.namespace(ctx, request.Namespace)
	}
	return input, err
}

// expect adds what the namespace's profile expects, and the permissions that the answer hangs on. They are
// asked for only where it does: each is a call to the API server.
func (j *Judge) expect(ctx context.Context, request admission.Request, input *gate.Input) error {
	if input.Object == nil {
		return nil
	}
	namespace, before := unstructured.Unstructured{Object: input.Object}, unstructured.Unstructured{Object: input.OldObject}
	labels := namespace.GetLabels()
	chosen, err := j.Profiles.choose(ctx, labels)
	if err != nil {
		return err
	}
	input.Profile = j.Profiles.expected(ctx, chosen)
	if input.User.Trusted || chosen.Profile == nil {
		return nil
	}
	mode, _ := baseline.ModeOf(labels) // what is no mode protects as little as observe
	if createsNamespace(request) && mode.WeakerThan(j.Profiles.startingMode(ctx, chosen)) {
		if input.User.MayWeaken, err = j.Users.may(ctx, request.UserInfo, mayWeaken, namespace.GetName()); err != nil {
			return err
		}
	}
	if _, had := before.GetLabels()[baseline.LabelProfile]; !had && chosen.Profile != chosen.Selected {
		input.User.MayLeave, err = j.Users.may(ctx, request.UserInfo, mayLeave, chosen.Selected.Name)
	}
	return err
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
	// Often the larger half, and no rule's concern.
	unstructured.RemoveNestedField(object, "metadata", "managedFields")
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
