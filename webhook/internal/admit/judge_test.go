// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// asked answers every question for a permission with yes or no, and keeps the questions.
type asked struct {
	authorizationclient.SubjectAccessReviewInterface
	yes       bool
	questions []string
}

func (a *asked) Create(_ context.Context, review *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	of := review.Spec.ResourceAttributes
	a.questions = append(a.questions, strings.Join([]string{review.Spec.User, of.Verb, of.Resource + "." + of.Group, of.Name}, " "))
	review.Status.Allowed = a.yes
	return review, nil
}

func namespaceWith(labels string) string {
	return `{"kind":"Namespace","metadata":{"name":"shop","labels":{"bulkhead.dev/owner":"web"` + labels + `}}}`
}

// A permission is asked for only where the answer hangs on it, because each question is a call to the API server.
func TestPermissionsAreAskedForWhereTheyMatter(t *testing.T) {
	const (
		enforce, observe = `,"bulkhead.dev/mode":"enforce"`, `,"bulkhead.dev/mode":"observe"`
		standard, web    = `,"bulkhead.dev/profile":"standard"`, `,"bulkhead.dev/profile":"web"`
		unknown          = `,"bulkhead.dev/profile":"x"`
		weaken, leave    = "dev weaken namespacemodes.bulkhead.dev shop", "dev leave profiles.bulkhead.dev standard"
	)
	change := func(before, after string) admission.Request {
		request := update("shop", namespaceWith(after))
		request.OldObject = runtime.RawExtension{Raw: []byte(namespaceWith(before))}
		return request
	}
	judge := newJudge(t) // compiles all rules
	policy := create("own", `{"kind":"NetworkPolicy","metadata":{"name":"own","namespace":"shop"},"spec":{"podSelector":{"matchLabels":{"a":"b"}}}}`)
	policy.Kind, policy.Namespace = metav1.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"}, "shop"
	for name, test := range map[string]struct {
		request   admission.Request
		questions []string
		denied    string // in the refusal where the answers are no; empty: allowed all the same
	}{
		"as usual":                 {create("shop", namespaceWith(enforce+standard)), nil, ""},
		"a weaker mode":            {create("shop", namespaceWith(observe+standard)), []string{weaken}, "namespace/mode_weakened: "},
		"no mode":                  {create("shop", namespaceWith(standard)), []string{weaken}, "namespace/mode_weakened: "},
		"another profile":          {create("shop", namespaceWith(enforce+web)), []string{leave}, "namespace/profile_unmet: "},
		"both":                     {create("shop", namespaceWith(observe+web)), []string{weaken, leave}, "namespace/mode_weakened: "},
		"one that is new":          {create("shop", namespaceWith(enforce+`,"bulkhead.dev/profile":"new"`)), []string{leave}, "namespace/profile_unmet: "},
		"no such profile":          {create("shop", namespaceWith(observe+unknown)), nil, "there is no profile x"},
		"a weaker mode later":      {change(enforce+standard, observe+standard), nil, ""},
		"another profile later":    {change(enforce+standard, enforce+web), nil, ""},
		"enrolled":                 {change("", enforce+standard), nil, ""},
		"enrolled in another":      {change("", enforce+web), []string{leave}, "namespace/profile_unmet: "},
		"something else":           {change(enforce+standard, enforce+standard+`,"a":"b"`), nil, ""},
		"exempt":                   {create("calm", strings.ReplaceAll(namespaceWith(observe+web), "shop", "calm")), nil, ""},
		"a policy":                 {policy, nil, ""},
		"by a controller of ours":  {as("ours", create("shop", namespaceWith(observe+web))), nil, ""},
		"a profile that is gone":   {change(enforce+unknown, enforce+unknown+`,"a":"b"`), nil, ""},
		"another that is not here": {change(enforce+standard, enforce+unknown), nil, "there is no profile x"},
	} {
		for _, yes := range []bool{true, false} {
			reviews := &asked{yes: yes}
			judge.Users = &Users{Reviews: reviews, Trusted: []string{"ours"}}
			judge.Profiles = expecting(baseline.Enforce, selecting("web", 0))
			if test.request.UserInfo.Username == "" {
				test.request.UserInfo.Username = "dev"
			}
			response := judge.Handle(t.Context(), test.request)
			if !slices.Equal(reviews.questions, test.questions) {
				t.Errorf("%s: asked %q, want %q", name, reviews.questions, test.questions)
			}
			refused := test.denied != "" && (!yes || len(test.questions) == 0)
			if response.Allowed == refused || refused && !strings.Contains(response.Result.Message, test.denied) {
				t.Errorf("%s, answered with %t: %v", name, yes, response.Result)
			}
		}
	}
}

func as(user string, request admission.Request) admission.Request {
	request.UserInfo.Username = user
	return request
}

// Where DNS is not found the mode that everybody gets is no weaker one, and not below a profile's minimum.
func TestStartingModeIsNeverRefused(t *testing.T) {
	judge := newJudge(t)
	strictest := selecting("strictest", 0)
	strictest.Spec.StartingMode, strictest.Spec.MinimumMode = "enforce", "enforce"
	judge.Profiles = expecting(baseline.Enforce, strictest)
	judge.Profiles.Starting = func(_ context.Context, mode baseline.Mode) baseline.Mode { return min(mode, baseline.Audit) }
	for labels, want := range map[string]bool{
		`,"team":"web","bulkhead.dev/profile":"strictest","bulkhead.dev/mode":"audit"`:   true,
		`,"team":"web","bulkhead.dev/profile":"strictest","bulkhead.dev/mode":"observe"`: false,
	} {
		if response := judge.Handle(t.Context(), as("dev", create("shop", namespaceWith(labels)))); response.Allowed != want {
			t.Errorf("%s: %v, want %t", labels, response.Result, want)
		}
	}
}
