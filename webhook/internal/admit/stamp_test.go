// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

func create(name, raw string) admission.Request {
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Namespace"}, Operation: admissionv1.Create,
		Name: name, Object: runtime.RawExtension{Raw: []byte(raw)},
	}}
}

func update(name, raw string) admission.Request {
	request := create(name, raw)
	request.Operation = admissionv1.Update
	return request
}

// expecting has the shipped profiles, of which standard starts in the given mode, and others. The API server has
// one more, new, which starts in audit.
func expecting(starting baseline.Mode, others ...*profile.Profile) *Profiles {
	scheme := runtime.NewScheme()
	if err := profile.AddToScheme(scheme); err != nil {
		panic(err) // the types are ours
	}
	return &Profiles{
		Live:     fake.NewClientBuilder().WithScheme(scheme).WithObjects(selecting("new", 0)).Build(),
		Set:      func(context.Context) (*profile.Set, error) { return profile.NewSet(starting, others), nil },
		Starting: func(_ context.Context, mode baseline.Mode) baseline.Mode { return mode },
	}
}

// selecting is a profile that starts in audit and selects namespaces by label team=NAME.
func selecting(name string, priority int32) *profile.Profile {
	return &profile.Profile{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: profile.Spec{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "web"}}, Priority: priority, StartingMode: "audit",
	}}
}

const (
	modePath    = "/metadata/labels/bulkhead.dev~1mode"
	profilePath = "/metadata/labels/bulkhead.dev~1profile"
)

func TestStamp(t *testing.T) {
	low := selecting("low", 1)
	high := selecting("high", 2)
	stamp := &Stamp{Profiles: expecting(baseline.Enforce, low, high), Exempt: []string{"calm"}}
	const enforce, standard = modePath + "=enforce", profilePath + "=standard"
	for name, test := range map[string]struct {
		request admission.Request
		want    []string // path=value of added labels
	}{
		"labels are added":          {create("shop", `{"metadata":{"name":"shop","labels":{"a":"b"}}}`), []string{enforce, standard}},
		"a mode that is given":      {create("shop", `{"metadata":{"name":"shop","labels":{"bulkhead.dev/mode":"audit"}}}`), []string{standard}},
		"exempt":                    {create("calm", `{"metadata":{"name":"calm","labels":{"a":"b"}}}`), []string{modePath + "=observe", standard}},
		"newer fields survive":      {create("shop", `{"metadata":{"name":"shop","labels":{"a":"b"}},"spec":{"newer":[1]}}`), []string{enforce, standard}},
		"a system namespace":        {create("kube-system", `{"metadata":{"name":"kube-system"}}`), nil},
		"all labels are present":    {create("shop", `{"metadata":{"name":"shop","labels":{"bulkhead.dev/mode":"audit","bulkhead.dev/profile":"x"}}}`), nil},
		"selected by priority":      {create("shop", `{"metadata":{"name":"shop","labels":{"team":"web"}}}`), []string{modePath + "=audit", profilePath + "=high"}},
		"a profile that is given":   {create("shop", `{"metadata":{"name":"shop","labels":{"bulkhead.dev/profile":"observe"}}}`), []string{modePath + "=observe"}},
		"a profile that is new":     {create("shop", `{"metadata":{"name":"shop","labels":{"bulkhead.dev/profile":"new"}}}`), []string{modePath + "=audit"}},
		"a profile that is unknown": {create("shop", `{"metadata":{"name":"shop","labels":{"bulkhead.dev/profile":"x","team":"web"}}}`), []string{modePath + "=audit"}},
		"enrolled":                  {update("shop", `{"metadata":{"name":"shop","labels":{"bulkhead.dev/mode":"audit"}}}`), []string{standard}},
		"enrolled and selected":     {update("shop", `{"metadata":{"name":"shop","labels":{"bulkhead.dev/mode":"enforce","team":"web"}}}`), []string{profilePath + "=high"}},
		"enrolled with a profile":   {update("shop", `{"metadata":{"name":"shop","labels":{"bulkhead.dev/mode":"audit","bulkhead.dev/profile":"x"}}}`), nil},
		"not enrolled":              {update("shop", `{"metadata":{"name":"shop","labels":{"a":"b"}}}`), nil},
		"observed":                  {update("shop", `{"metadata":{"name":"shop","labels":{"bulkhead.dev/mode":"observe"}}}`), nil},
		"going away":                {update("shop", `{"metadata":{"name":"shop","deletionTimestamp":"2026-01-01T00:00:00Z","labels":{"bulkhead.dev/mode":"audit"}}}`), nil},
	} {
		response := stamp.Handle(t.Context(), test.request)
		if !response.Allowed {
			t.Errorf("%s: refused: %v", name, response.Result)
		}
		got := map[string]bool{}
		for _, patch := range response.Patches {
			if patch.Operation != "add" {
				t.Errorf("%s: patch %s", name, patch.Json())
			}
			value, _ := patch.Value.(string)
			got[patch.Path+"="+value] = true
		}
		for _, want := range test.want {
			if !got[want] {
				t.Errorf("%s: patches %v lack %s", name, got, want)
			}
		}
		if len(got) != len(test.want) {
			t.Errorf("%s: patches %v, want %v", name, got, test.want)
		}
	}
}

func TestStampWithoutDNS(t *testing.T) {
	profiles := expecting(baseline.Enforce)
	profiles.Starting = func(_ context.Context, mode baseline.Mode) baseline.Mode { return min(mode, baseline.Audit) }
	response := (&Stamp{Profiles: profiles}).Handle(t.Context(), create("shop", `{"metadata":{"name":"shop"}}`))
	text, err := json.Marshal(response.Patches)
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"op":"add","path":"/metadata/labels","value":{"bulkhead.dev/mode":"audit","bulkhead.dev/profile":"standard"}}]`
	if string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
}

func TestStampRefusesWhatIsNoObject(t *testing.T) {
	response := (&Stamp{}).Handle(t.Context(), create("shop", `[]`))
	if response.Allowed || response.Result.Code != http.StatusBadRequest {
		t.Errorf("got %+v", response)
	}
}
