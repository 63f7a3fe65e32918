// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	kjson "sigs.k8s.io/json"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/gate"
)

// FuzzReview sends anything to the handler that judges, with the rules that come with Bulkhead. Nobody may weaken
// anything. Every body gets a review as its answer; none makes the handler panic; and what is allowed is a review
// of a kind that is judged.
func FuzzReview(f *testing.F) {
	handler := Bound(&webhook.Admission{Handler: newJudge(f)})
	f.Fuzz(func(t *testing.T, body []byte) {
		answer := send(t, handler, bytes.NewReader(body))
		if !answer.Allowed {
			if answer.Result == nil || strings.Contains(answer.Result.Message, "panic") {
				t.Fatalf("%+v", answer)
			}
			return
		}
		if uid, kind := decode(t, body); uid != answer.UID || !judged(kind) {
			t.Fatalf("allowed: %s of kind %v, answered to %s", uid, kind, answer.UID)
		}
	})
}

// FuzzProfileReview sends anything to the handler that judges profiles. What is allowed is a review of a Profile.
func FuzzProfileReview(f *testing.F) {
	for _, request := range []admission.Request{
		profileRequest(created, "new", "", withPolicy(ofTeam)), profileRequest(created, "strict", "", withPolicy(open)),
		profileRequest(updated, "web", audit, withPolicy(ofTeam)), profileRequest(deleted, "web", audit, ""),
	} {
		f.Add(profileReview(request))
	}
	handler := Bound(&webhook.Admission{Handler: newProfileJudge(f)})
	f.Fuzz(func(t *testing.T, body []byte) {
		answer := send(t, handler, bytes.NewReader(body))
		if !answer.Allowed {
			if answer.Result == nil || strings.Contains(answer.Result.Message, "panic") {
				t.Fatalf("%+v", answer)
			}
			return
		}
		if uid, kind := decode(t, body); uid != answer.UID || !isProfile(kind) {
			t.Fatalf("allowed: %s of kind %v, answered to %s", uid, kind, answer.UID)
		}
	})
}

// newJudge has the namespace shop and a user who may do nothing in particular.
func newJudge(t testing.TB) *Judge {
	t.Helper()
	engine, err := gate.New(t.Context(), gate.Config{Rules: []gate.Source{gate.Embedded()}})
	if err != nil {
		t.Fatal(err)
	}
	namespaces := fake.NewClientBuilder().WithObjects(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}).Build()
	return &Judge{
		Gate: engine, Exempt: []string{"calm"}, Profiles: expecting(baseline.Enforce), Users: &Users{Reviews: nobodyMay{}},
		Cached: namespaces, Live: namespaces, Log: slog.New(slog.DiscardHandler),
	}
}

// nobodyMay answers every question for a permission with no.
type nobodyMay struct {
	authorizationclient.SubjectAccessReviewInterface
}

func (nobodyMay) Create(context.Context, *authorizationv1.SubjectAccessReview, metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	return &authorizationv1.SubjectAccessReview{}, nil
}

// decode reads what a body is about as the API machinery does. The kind of the review itself is not looked at:
// both versions have the same fields, and the server takes one whose kind it does not know for a review.
func decode(t *testing.T, body []byte) (types.UID, metav1.GroupVersionKind) {
	t.Helper()
	var review admissionv1.AdmissionReview
	if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &review); err != nil || review.Request == nil {
		t.Fatalf("allowed, and cannot be read: %v", err)
	}
	return review.Request.UID, review.Request.Kind
}

func TestUnknownKindsAreRefused(t *testing.T) {
	judge := newJudge(t)
	stamp := &Stamp{Profiles: expecting(baseline.Enforce)}
	profiles := newProfileJudge(t)
	for _, kind := range []metav1.GroupVersionKind{
		{}, {Version: "v1", Kind: "Pod"}, {Group: "example.com", Version: "v1", Kind: "Namespace"}, {Version: "v1", Kind: "NetworkPolicy"},
	} {
		request := create("calm", `{}`)
		request.Kind = kind
		for _, handler := range []admission.Handler{judge, stamp, profiles} {
			response := handler.Handle(t.Context(), request)
			if response.Allowed || response.Result.Code != http.StatusBadRequest || !strings.Contains(response.Result.Message, "nothing is known of kind") {
				t.Errorf("%v: %+v", kind, response)
			}
		}
	}
}
