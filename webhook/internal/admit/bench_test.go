// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// BenchmarkJudge measures a whole answer but for the network: reading the review, the rules, writing the
// answer.
func BenchmarkJudge(b *testing.B) {
	const policy = `{"kind":"NetworkPolicy","apiVersion":"networking.k8s.io/v1","metadata":{"name":"api","namespace":"shop"},"spec":{
		"podSelector":{"matchLabels":{"app":"api"}},"policyTypes":["Ingress","Egress"],
		"ingress":[{"from":[{"podSelector":{"matchLabels":{"app":"frontend"}}}],"ports":[{"protocol":"TCP","port":8080}]}],
		"egress":[{"to":[{"ipBlock":{"cidr":"CIDR"}}],"ports":[{"protocol":"TCP","port":443}]}]}}`
	networkPolicy := func(cidr string) admission.Request {
		request := create("api", strings.Replace(policy, "CIDR", cidr, 1))
		request.Kind, request.Namespace = metav1.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"}, "shop"
		return request
	}
	for name, c := range map[string]struct {
		request admission.Request
		allowed bool
	}{
		"Namespace":             {create("shop", namespaceWith(`,"bulkhead.dev/mode":"enforce","bulkhead.dev/profile":"standard"`)), true},
		"NetworkPolicy":         {networkPolicy("203.0.113.0/24"), true},
		"NetworkPolicy/refused": {networkPolicy("0.0.0.0/1\"}},{\"ipBlock\":{\"cidr\":\"128.0.0.0/1"), false},
	} {
		b.Run(name, func(b *testing.B) {
			handler := Bound(&admission.Webhook{Handler: newJudge(b)})
			body := reviewOf(b, &c.request.AdmissionRequest)
			if answer := send(b, handler, strings.NewReader(body)); answer.Allowed != c.allowed {
				b.Fatalf("allowed: %t: %v", answer.Allowed, answer.Result)
			}
			b.ReportAllocs()
			for b.Loop() {
				request := httptest.NewRequest(http.MethodPost, "/validate", strings.NewReader(body))
				request.Header.Set("Content-Type", "application/json")
				handler.ServeHTTP(httptest.NewRecorder(), request)
			}
		})
	}
}

func reviewOf(b *testing.B, request *admissionv1.AdmissionRequest) string {
	b.Helper()
	body, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: request,
	})
	if err != nil {
		b.Fatal(err)
	}
	return string(body)
}
