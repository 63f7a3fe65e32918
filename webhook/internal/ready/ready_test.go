// SPDX-License-Identifier: Apache-2.0

package ready

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/bulkhead-dev/bulkhead/policies/gate"
)

// right answers every canary as it should be.
func right(path string, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	refusal := &admissionv1.AdmissionResponse{Result: &metav1.Status{Code: http.StatusForbidden, Message: CanaryRule + ": no"}}
	switch {
	case path == "/stamp" && string(request.Object.Raw) == "[]":
		return refusal
	case path == "/stamp":
		return &admissionv1.AdmissionResponse{Allowed: true, Patch: []byte(`[{"op":"add","path":"/metadata/labels","value":{"bulkhead.dev/mode":"enforce"}}]`)}
	case request.Name == CanaryNamespace:
		return refusal
	}
	return &admissionv1.AdmissionResponse{Allowed: true}
}

type answerer func(path string, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse

// server answers reviews and returns a caller of it.
func server(t *testing.T, answer answerer) *caller {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		review.Response = answer(r.URL.Path, review.Request)
		_ = json.NewEncoder(w).Encode(review)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(s.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return &caller{
		address: strings.TrimPrefix(s.URL, "https://"), name: "example.com",
		ca: func(context.Context) ([]byte, error) { return authority, nil },
	}
}

func TestWrongAnswers(t *testing.T) {
	constant := func(response admissionv1.AdmissionResponse) answerer {
		return func(string, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse { return &response }
	}
	refusal := func(code int32, message string) answerer {
		return constant(admissionv1.AdmissionResponse{Result: &metav1.Status{Code: code, Message: message}})
	}
	only := func(path string, response admissionv1.AdmissionResponse) answerer {
		return func(p string, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
			if p == path {
				return &response
			}
			return right(p, request)
		}
	}
	for name, test := range map[string]struct {
		answer answerer
		unfit  bool
		want   string // in the error; empty: none
	}{
		"right":                {right, false, ""},
		"no rules":             {constant(admissionv1.AdmissionResponse{Allowed: true}), true, "want a refusal by rule admission/canary"},
		"another refusal":      {refusal(403, "namespace/other: no"), true, "want a refusal by rule admission/canary"},
		"everything refused":   {refusal(403, "admission/canary: no"), true, "want no refusal of an update of kube-system"},
		"nothing stamped":      {only("/stamp", admissionv1.AdmissionResponse{Allowed: true}), true, "want a refusal of what is no object"},
		"stamp refuses":        {only("/stamp", *right("/stamp", &admissionv1.AdmissionRequest{Name: CanaryNamespace, Object: canaries[2].request.Object})), true, "want label bulkhead.dev/mode"},
		"could not be judged":  {refusal(500, "no API server"), false, "it could not be judged: no API server"},
		"not an answer at all": {func(string, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse { return nil }, false, "is no AdmissionReview"},
	} {
		err := server(t, test.answer).check(t.Context())
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) || errors.Is(err, errUnfit) != test.unfit {
			t.Errorf("%s: %v, want unfit %t, %q", name, err, test.unfit, test.want)
		}
	}
}

func TestCertificates(t *testing.T) {
	another := func(c *caller) { c.name = "another.example" }
	untrusted := func(c *caller) { c.ca = func(context.Context) ([]byte, error) { return []byte("none"), nil } }
	unpublished := func(c *caller) {
		c.ca = func(context.Context) ([]byte, error) { return nil, errors.New("no Secret yet") }
	}
	nobody := func(c *caller) { c.address = "127.0.0.1:1" }
	for want, change := range map[string]func(*caller){
		"not another.example": another, "signed by unknown authority": untrusted, "no Secret yet": unpublished, "connection refused": nobody,
	} {
		c := server(t, right)
		change(c)
		if err := c.check(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// The rule must do what the canaries expect of it, behind whatever a site has.
func TestCanaryRule(t *testing.T) {
	site, err := gate.ConfigMap("site/rules", map[string]string{
		"admission.canary.rego":      "package bulkhead.rules.admission.canary\n\nviolation contains {} if false\n",
		"admission.canary_test.rego": "package bulkhead.rules.admission.canary_test\n\ntest_nothing if true\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := gate.New(t.Context(), gate.Config{Rules: []gate.Source{gate.Embedded(), site, Rules()}})
	if err != nil {
		t.Fatal(err)
	}
	input := gate.Input{Operation: "CREATE", Object: map[string]any{"kind": "Namespace", "metadata": map[string]any{"name": CanaryNamespace}}}
	results, err := engine.Evaluate(t.Context(), input)
	if err != nil || len(results) == 0 || results[0].Rule != CanaryRule || results[0].Action != gate.Deny {
		t.Errorf("%v, %v", results, err)
	}
}

func TestReadyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Bound: 10 * time.Second, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		unreachable := errors.New("unreachable")
		for _, moment := range []struct {
			passed time.Duration // since the last check that passed; negative: none has
			last   error
			ready  bool
		}{
			{-1, unreachable, false},
			{0, nil, true},
			{9 * time.Second, unreachable, true},
			{11 * time.Second, unreachable, false},
			{11 * time.Second, nil, false}, // nobody checks any more
			{0, errUnfit, false},
		} {
			c.passed, c.last = time.Now().Add(-moment.passed), moment.last
			if moment.passed < 0 {
				c.passed = time.Time{}
			}
			if err := c.Ready(nil); (err == nil) != moment.ready {
				t.Errorf("%+v: %v", moment, err)
			}
		}
	})
}

func TestSilentWatch(t *testing.T) {
	const bound = 10 * time.Second
	begin := time.Now()
	namespace := func(version string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", ResourceVersion: version}}
	}
	holding := func(versions ...string) client.Reader {
		builder := fake.NewClientBuilder()
		for _, version := range versions {
			builder = builder.WithObjects(namespace(version))
		}
		return builder.Build()
	}
	nothing := holding()
	for name, test := range map[string]struct {
		cached, live client.Reader // at the first check
		later        client.Reader // the cache after the bound
		after        client.Reader // the API server after the bound
		silent       bool
	}{
		"in step":                 {holding("7"), holding("7"), holding("7"), holding("7"), false},
		"a change is not told":    {holding("7"), holding("9"), holding("7"), holding("9"), true},
		"a creation is not told":  {nothing, holding("9"), nothing, holding("9"), true},
		"told late":               {holding("7"), holding("9"), holding("9"), holding("9"), false},
		"told of an older change": {holding("7"), holding("9"), holding("8"), holding("9"), false},
		"there for a moment":      {nothing, holding("9"), nothing, nothing, false},
	} {
		w := &Watch{Kind: corev1.SchemeGroupVersion.WithKind("Namespace"), New: func() client.Object { return &corev1.Namespace{} }, Cached: test.cached, Live: test.live}
		if err := w.check(t.Context(), begin, bound); err != nil {
			t.Errorf("%s: at once: %v", name, err)
		}
		w.Cached, w.Live = test.later, test.after
		if err := w.check(t.Context(), begin.Add(bound), bound); err != nil {
			t.Errorf("%s: within the bound: %v", name, err)
		}
		err := w.check(t.Context(), begin.Add(bound+time.Second), bound)
		if errors.Is(err, errUnfit) != test.silent || err != nil && !test.silent {
			t.Errorf("%s: %v, want silent %t", name, err, test.silent)
		}
	}
}
