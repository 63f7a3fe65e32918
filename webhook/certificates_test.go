// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	admissionreviewv1 "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/certs"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/register"
)

func TestBundleIsWrittenIntoTheChartsObjects(t *testing.T) {
	objects, err := register.Objects(baseline.ProjectNamespace)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { emergencyOff(t) })
	for _, object := range objects { // as Helm does
		eventually(t, object.GetName(), func() error { return client.IgnoreAlreadyExists(admin.Create(t.Context(), object.DeepCopy())) })
	}
	p := launch(t, "--listen", freeAddress(t))
	if n := bundles(t); n != 8 {
		t.Errorf("%d webhooks have a caBundle, want 8", n)
	}
	p.stop(t)
	if n := bundles(t); n != 8 {
		t.Errorf("%d webhooks after the end, want 8: they are Helm's", n)
	}
}

// bundles counts the webhooks that have a caBundle.
func bundles(t *testing.T) (count int) {
	t.Helper()
	validating, mutating := &admissionv1.ValidatingWebhookConfiguration{}, &admissionv1.MutatingWebhookConfiguration{}
	key := client.ObjectKey{Name: "bulkhead-webhook"}
	if err := errors.Join(admin.Get(t.Context(), key, validating), admin.Get(t.Context(), key, mutating)); err != nil {
		t.Fatal(err)
	}
	for _, w := range validating.Webhooks {
		count += min(bytes.Count(w.ClientConfig.CABundle, []byte("BEGIN CERTIFICATE")), 1)
	}
	for _, w := range mutating.Webhooks {
		count += min(bytes.Count(w.ClientConfig.CABundle, []byte("BEGIN CERTIFICATE")), 1)
	}
	return count
}

func TestCertificateAuthorityIsReplaced(t *testing.T) {
	p := start(t)
	before := served(t, p.listen)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: baseline.ProjectNamespace, Name: certs.SecretName}}
	if err := admin.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a certificate of another authority", func() error {
		if bytes.Equal(before, served(t, p.listen)) {
			return errors.New("still the old one")
		}
		return nil
	})
	eventually(t, "a namespace, judged over the new certificate", func() error {
		return admin.Create(t.Context(), newNamespace("rotated", nil), client.DryRunAll)
	})
}

// served is the leaf certificate at an address.
func served(t *testing.T, address string) []byte {
	t.Helper()
	connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0].AuthorityKeyId
}

func TestMalformedReviewsAreRefused(t *testing.T) {
	p := start(t)
	for name, test := range map[string]struct {
		body string
		want int32
	}{
		"empty":          {"", http.StatusBadRequest},
		"not JSON":       {"{", http.StatusBadRequest},
		"too large":      {strings.Repeat(" ", 5<<20), http.StatusRequestEntityTooLarge},
		"no object":      {review(`"kind":{"kind":"Namespace"},"operation":"CREATE"`), http.StatusBadRequest},
		"object no JSON": {review(`"kind":{"group":"networking.k8s.io","kind":"NetworkPolicy"},"operation":"CREATE","object":{"spec":7}`), http.StatusBadRequest},
		"unknown kind":   {review(`"kind":{"kind":"Pod"},"operation":"CREATE","object":{}`), http.StatusBadRequest},
		"deep":           {review(`"kind":{"kind":"Namespace"},"operation":"CREATE","object":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000)), http.StatusBadRequest},
	} {
		answer := post(t, "https://"+p.listen+"/validate", test.body)
		if answer.Allowed || answer.Result == nil || answer.Result.Code != test.want {
			t.Errorf("%s: %+v, want %d", name, answer, test.want)
		}
	}
	if err := admin.Create(t.Context(), newNamespace("after-garbage", nil), client.DryRunAll); err != nil {
		t.Errorf("after malformed requests: %v", err)
	}
}

func review(request string) string {
	return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","userInfo":{"username":"u"},` + request + `}}`
}

func post(t *testing.T, url, body string) *admissionreviewv1.AdmissionResponse {
	t.Helper()
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer trusting.CloseIdleConnections()
	response, err := trusting.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer admissionreviewv1.AdmissionReview
	if err := json.Unmarshal(text, &answer); err != nil || answer.Response == nil {
		t.Fatal(fmt.Errorf("answer %q: %w", text, err))
	}
	return answer.Response
}

func TestRulesFromAConfigMap(t *testing.T) {
	rules := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: baseline.ProjectNamespace, Name: "rules"},
		Data: map[string]string{
			"namespace.no_tests.rego": forbidX, "namespace.no_tests_test.rego": forbidXTest,
			"params.yaml": "namespace/owner_required: {label: example.com/team}",
		},
	}
	if err := admin.Create(t.Context(), rules); err != nil {
		t.Fatal(err)
	}
	start(t, "--rules-configmap", baseline.ProjectNamespace+"/rules")
	refused(t, admin.Create(t.Context(), newNamespace("xylophone", nil), client.DryRunAll), "no namespace begins with x", "rename it", "example.com/team")
}
