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
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

func create(name, raw string) admission.Request {
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Namespace"}, Operation: admissionv1.Create,
		Name: name, Object: runtime.RawExtension{Raw: []byte(raw)},
	}}
}

func always(mode baseline.Mode) func(context.Context) baseline.Mode {
	return func(context.Context) baseline.Mode { return mode }
}

func TestStamp(t *testing.T) {
	stamp := &Stamp{Starting: always(baseline.Audit), Exempt: []string{"calm"}}
	const mode, profile = "/metadata/labels/bulkhead.dev~1mode=audit", "/metadata/labels/bulkhead.dev~1profile=standard"
	for name, test := range map[string]struct {
		namespace, raw string
		want           []string // path=value of added labels
	}{
		"labels are added":       {"shop", `{"metadata":{"name":"shop","labels":{"a":"b"}}}`, []string{mode, profile}},
		"a mode that is given":   {"shop", `{"metadata":{"name":"shop","labels":{"bulkhead.dev/mode":"enforce"}}}`, []string{profile}},
		"exempt":                 {"calm", `{"metadata":{"name":"calm","labels":{"a":"b"}}}`, []string{"/metadata/labels/bulkhead.dev~1mode=observe", profile}},
		"newer fields survive":   {"shop", `{"metadata":{"name":"shop","labels":{"a":"b"}},"spec":{"newer":[1]}}`, []string{mode, profile}},
		"a system namespace":     {"kube-system", `{"metadata":{"name":"kube-system"}}`, nil},
		"all labels are present": {"shop", `{"metadata":{"name":"shop","labels":{"bulkhead.dev/mode":"audit","bulkhead.dev/profile":"x"}}}`, nil},
	} {
		response := stamp.Handle(t.Context(), create(test.namespace, test.raw))
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

func TestStampAddsTheFirstLabels(t *testing.T) {
	response := (&Stamp{Starting: always(baseline.Enforce)}).Handle(t.Context(), create("shop", `{"metadata":{"name":"shop"}}`))
	text, err := json.Marshal(response.Patches)
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"op":"add","path":"/metadata/labels","value":{"bulkhead.dev/mode":"enforce","bulkhead.dev/profile":"standard"}}]`
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
