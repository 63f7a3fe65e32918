// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionreviewv1 "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
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

// TestAUsersCertificateIsLeftAlone: nothing of an authority of Bulkhead's own is made, and what the user's Secret
// is changed to is served.
func TestAUsersCertificateIsLeftAlone(t *testing.T) {
	if err := forgetAuthority(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir, address := t.TempDir(), freeAddress(t)
	first, second := newServing(t), newServing(t)
	bundle := append(bytes.Clone(first.ca), second.ca...)
	first.write(t, dir)
	callAt(t, address, bundle)
	launch(t, "--listen", address, "--cert-dir", dir, "--drain", "0s")
	eventually(t, "a call over the user's certificate", func() error { return createDry(t.Context(), "users") })
	before := served(t, address)
	second.write(t, dir)
	eventually(t, "the user's next certificate", func() error {
		if bytes.Equal(before, served(t, address)) {
			return errors.New("still the first one")
		}
		return createDry(t.Context(), "users")
	})
	config := &admissionv1.ValidatingWebhookConfiguration{}
	if err := admin.Get(t.Context(), client.ObjectKey{Name: "bulkhead-webhook"}, config); err != nil {
		t.Fatal(err)
	}
	if config.Generation != 1 || !bytes.Equal(config.Webhooks[0].ClientConfig.CABundle, bundle) {
		t.Errorf("the webhook configuration was written: generation %d", config.Generation)
	}
	err := admin.Get(t.Context(), client.ObjectKey{Namespace: baseline.ProjectNamespace, Name: certs.SecretName}, &corev1.Secret{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("an authority was made: %v", err)
	}
}

// A certificate that API servers do not trust is no readiness, and the message says so.
func TestAUsersCertificateThatNobodyTrusts(t *testing.T) {
	dir, address := t.TempDir(), freeAddress(t)
	served, other := newServing(t), newServing(t)
	served.write(t, dir)
	callAt(t, address, other.ca)
	p := begin(t, "--listen", address, "--cert-dir", dir, "--drain", "0s")
	eventually(t, "an answer that says why", func() error {
		err := get("http://" + p.health + "/readyz")
		if err == nil || !strings.Contains(err.Error(), "[-]answers") {
			return fmt.Errorf("readyz: %v", err)
		}
		return nil
	})
}

// serving is a certificate for the webhook's Service, and its authority, PEM.
type serving struct{ crt, key, ca []byte }

func newServing(t *testing.T) serving {
	t.Helper()
	chain, key, err := cert.GenerateSelfSignedCertKey(serviceName, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, ca := pem.Decode(chain)
	return serving{chain, key, ca}
}

func (s serving) write(t *testing.T, dir string) {
	t.Helper()
	err := errors.Join(os.WriteFile(filepath.Join(dir, "tls.crt"), s.crt, 0o600), os.WriteFile(filepath.Join(dir, "tls.key"), s.key, 0o600))
	if err != nil {
		t.Fatal(err)
	}
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
