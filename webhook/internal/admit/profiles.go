// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/gate"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

// maxNamed bounds how many namespaces a refusal names.
const maxNamed = 5

// ProfileJudge refuses profiles that would not work: those with a mistake, those whose templates make
// policies that the rules refuse, and the deletion of those that namespaces have.
type ProfileJudge struct {
	Gate   *gate.Engine
	Users  *Users
	Cached client.Reader // Namespaces, from a cache
	Log    *slog.Logger
}

// Handle implements admission.Handler. What cannot be judged is refused.
func (j *ProfileJudge) Handle(ctx context.Context, request admission.Request) admission.Response {
	if !isProfile(request.Kind) {
		return admission.Errored(http.StatusBadRequest, unknownKind(request.Kind))
	}
	var found findings
	var err error
	if request.Operation == admissionv1.Delete {
		err = j.deletion(ctx, request, &found)
	} else {
		err = j.change(ctx, request, &found)
	}
	var bad *malformed
	if errors.As(err, &bad) {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if err != nil {
		j.Log.Error("profile could not be judged", "name", request.Name, "error", err)
		return admission.Errored(http.StatusInternalServerError, fmt.Errorf("bulkhead could not judge this profile, retry: %w", err))
	}
	return found.response(j.Log, request)
}

func isProfile(kind metav1.GroupVersionKind) bool {
	return kind.Group == profile.GroupVersion.Group && kind.Kind == "Profile"
}

func (j *ProfileJudge) deletion(ctx context.Context, request admission.Request, found *findings) error {
	if profile.IsShipped(request.Name) && !j.Users.Describe(request.UserInfo).Trusted {
		found.refuse("profile %s is Bulkhead's own, and would be made again", request.Name)
		return nil
	}
	namespaces, err := j.namespacesOf(ctx, request.Name)
	if err != nil || len(namespaces) == 0 {
		return err
	}
	found.refuse("profile %s is that of %s: give them another one first, as in kubectl label namespace %s --overwrite %s=%s, "+
		"which needs verb leave on profiles.%s, resourceName %s",
		request.Name, listed(namespaces), namespaces[0].Name, baseline.LabelProfile, profile.StandardName, profile.GroupVersion.Group, request.Name)
	return nil
}

// listed names the first of namespaces, and says how many there are.
func listed(namespaces []corev1.Namespace) string {
	var names []string
	for _, namespace := range namespaces[:min(len(namespaces), maxNamed)] {
		names = append(names, namespace.Name)
	}
	text := "namespace " + strings.Join(names, ", ")
	if len(namespaces) > 1 {
		text = fmt.Sprintf("%d namespaces, %s", len(namespaces), strings.Join(names, ", "))
	}
	if more := len(namespaces) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// namespacesOf returns the namespaces whose label names the profile, by name. Those that are going away do
// not count. They are not to be changed.
func (j *ProfileJudge) namespacesOf(ctx context.Context, name string) ([]corev1.Namespace, error) {
	var list corev1.NamespaceList
	if err := j.Cached.List(ctx, &list, client.MatchingLabels{baseline.LabelProfile: name}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list namespaces of profile %s: %w", name, err)
	}
	namespaces := slices.DeleteFunc(list.Items, func(n corev1.Namespace) bool {
		return n.DeletionTimestamp != nil || baseline.IsSystemNamespace(n.Name)
	})
	slices.SortFunc(namespaces, func(a, b corev1.Namespace) int { return cmp.Compare(a.Name, b.Name) })
	return namespaces, nil
}

func (j *ProfileJudge) change(ctx context.Context, request admission.Request, found *findings) error {
	changed, old := &profile.Profile{}, &profile.Profile{}
	if err := json.Unmarshal(request.Object.Raw, changed); err != nil {
		return &malformed{err}
	}
	if request.Operation == admissionv1.Update {
		if err := json.Unmarshal(request.OldObject.Raw, old); err != nil {
			return &malformed{err}
		}
		if equality.Semantic.DeepEqual(changed.Spec, old.Spec) {
			return nil
		}
	}
	user := j.Users.Describe(request.UserInfo)
	if profile.IsShipped(changed.Name) && !user.Trusted {
		found.refuse("profile %s is Bulkhead's own: write one of your own with a higher priority", changed.Name)
		return nil
	}
	for _, fault := range changed.Validate() {
		found.refuse("%s", fault.Error())
	}
	if len(found.refusals) > 0 {
		return nil
	}
	user.Trusted = false // what Bulkhead's controllers may write themselves is not for every namespace
	trial := &trial{gate: j.Gate, user: user, found: found, begin: time.Now(), said: map[gate.Violation]bool{}}
	if err := trial.sample(ctx, changed); err != nil || len(found.refusals) > 0 {
		return err
	}
	namespaces, err := j.namespacesOf(ctx, changed.Name)
	if err != nil {
		return err
	}
	return trial.all(ctx, changed, namespaces)
}
