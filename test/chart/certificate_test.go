// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/util/cert"
)

// TestAUsersCertificate: where the webhook serves a certificate of the user's, the chart says whom API servers trust,
// and the webhook may neither keep an authority nor write a caBundle.
func TestAUsersCertificate(t *testing.T) {
	authority, _, err := cert.GenerateSelfSignedCertKey("localhost", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, authority, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args      []string
		annotated string
		caBundle  []byte
		own       bool
	}{
		"own":                {nil, "", nil, true},
		"somebody's":         {[]string{"--set", "webhook.tls.secret=s"}, "", nil, false},
		"injected":           {[]string{"--set", "webhook.tls.secret=s,webhook.tls.injectCAFrom=a/b"}, "a/b", nil, false},
		"of a known one":     {[]string{"--set", "webhook.tls.secret=s", "--set-file", "webhook.tls.caBundle=" + file}, "", authority, false},
		"next to everything": {[]string{"--values", variants(t)["everything"], "--set", "webhook.tls.secret=s"}, "", nil, false},
	} {
		objects := renderWith(t, test.args...)
		validating := only[admissionv1.ValidatingWebhookConfiguration](t, objects, "ValidatingWebhookConfiguration")
		mutating := only[admissionv1.MutatingWebhookConfiguration](t, objects, "MutatingWebhookConfiguration")
		if len(validating) != 1 || len(mutating) != 1 {
			t.Fatalf("%s: %d and %d webhook configurations, want 1 and 1", name, len(validating), len(mutating))
		}
		for _, annotations := range []map[string]string{validating[0].Annotations, mutating[0].Annotations} {
			if got := annotations["cert-manager.io/inject-ca-from"]; got != test.annotated {
				t.Errorf("%s: cert-manager is to inject the authority of %q, want %q", name, got, test.annotated)
			}
		}
		for _, webhook := range validating[0].Webhooks {
			if !bytes.Equal(webhook.ClientConfig.CABundle, test.caBundle) {
				t.Errorf("%s: webhook %s trusts %q", name, webhook.Name, webhook.ClientConfig.CABundle)
			}
		}
		for _, webhook := range mutating[0].Webhooks {
			if !bytes.Equal(webhook.ClientConfig.CABundle, test.caBundle) {
				t.Errorf("%s: webhook %s trusts %q", name, webhook.Name, webhook.ClientConfig.CABundle)
			}
		}
		rules := rulesOf(only[rbacv1.ClusterRole](t, objects, "ClusterRole", "Role"), "bulkhead-webhook")
		if len(rules) < 5 {
			t.Errorf("%s: the webhook has %d rules, so this test tells nothing", name, len(rules))
		}
		for resource, verb := range map[string]string{"secrets": "update", "validatingwebhookconfigurations": "patch"} {
			if got := allowed(rules, resource, verb); got != test.own {
				t.Errorf("%s: the webhook may %s %s: %t, want %t", name, verb, resource, got, test.own)
			}
		}
	}
}

func rulesOf(roles []rbacv1.ClusterRole, name string) (rules []rbacv1.PolicyRule) {
	for _, role := range roles {
		if role.Name == name {
			rules = append(rules, role.Rules...)
		}
	}
	return rules
}

func allowed(rules []rbacv1.PolicyRule, resource, verb string) bool {
	return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.Resources, resource) && slices.Contains(r.Verbs, verb)
	})
}
