// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

var onConfigMaps = admissionregv1.RuleWithOperations{
	Operations: []admissionregv1.OperationType{admissionregv1.Create},
	Rule:       admissionregv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
}

// admissionPolicy refuses Secrets in a namespace that lacks the ConfigMap
// `permit`, as the pod gate refuses pods where a NetworkPolicy is missing.
func admissionPolicy(t *testing.T, c kubernetes.Interface) {
	rule := onConfigMaps
	rule.Resources = []string{"secrets"}
	policy := &admissionregv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "permit"},
		Spec: admissionregv1.ValidatingAdmissionPolicySpec{
			ParamKind: &admissionregv1.ParamKind{APIVersion: "v1", Kind: "ConfigMap"},
			MatchConstraints: &admissionregv1.MatchResources{
				ResourceRules: []admissionregv1.NamedRuleWithOperations{{RuleWithOperations: rule}},
			},
			Validations: []admissionregv1.Validation{{Expression: `params.data["secrets"] == "yes"`}},
		},
	}
	deny := admissionregv1.DenyAction
	binding := &admissionregv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "permit"},
		Spec: admissionregv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        "permit",
			ParamRef:          &admissionregv1.ParamRef{Name: "permit", ParameterNotFoundAction: &deny},
			ValidationActions: []admissionregv1.ValidationAction{admissionregv1.Deny},
		},
	}
	admission := c.AdmissionregistrationV1()
	if _, err := admission.ValidatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admission.ValidatingAdmissionPolicyBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	create := func() error {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{GenerateName: "s-", Namespace: "shop"}}
		_, err := c.CoreV1().Secrets("shop").Create(t.Context(), secret, metav1.CreateOptions{})
		return err
	}
	wait(t, "the policy to refuse without its parameter", func() bool { return refused(create(), "permit") })
	permit := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "permit"}, Data: map[string]string{"secrets": "yes"}}
	if _, err := c.CoreV1().ConfigMaps("shop").Create(t.Context(), permit, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the policy to allow with its parameter", func() bool { return create() == nil })
}

func webhookByURL(t *testing.T, c kubernetes.Interface) {
	server := httptest.NewTLSServer(http.HandlerFunc(denyAll))
	defer server.Close()
	url, none, fail := server.URL+"/deny", admissionregv1.SideEffectClassNone, admissionregv1.Fail
	config := &admissionregv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "deny"},
		Webhooks: []admissionregv1.ValidatingWebhook{{
			Name: "deny.bulkhead.dev",
			ClientConfig: admissionregv1.WebhookClientConfig{
				URL:      &url,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			Rules:       []admissionregv1.RuleWithOperations{onConfigMaps},
			SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
		}},
	}
	webhooks := c.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := webhooks.Create(t.Context(), config, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the webhook to refuse", func() bool {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "c-", Namespace: "shop"}}
		_, err := c.CoreV1().ConfigMaps("shop").Create(t.Context(), cm, metav1.CreateOptions{})
		return refused(err, "the webhook says no")
	})
}

func denyAll(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	no := &metav1.Status{Message: "the webhook says no", Code: http.StatusForbidden}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Result: no}
	_ = json.NewEncoder(w).Encode(review) // a client that is gone shows as a failed test
}

func refused(err error, why string) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && strings.Contains(err.Error(), why)
}
