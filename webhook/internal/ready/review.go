// SPDX-License-Identifier: Apache-2.0

package ready

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/gate"
)

const (
	// CanaryNamespace cannot exist: the name of a namespace has no dots.
	CanaryNamespace = "canary.bulkhead.dev"
	// CanaryRule refuses it.
	CanaryRule = "admission/canary"
	// maxAnswerBytes bounds an answer.
	maxAnswerBytes = 1 << 20
)

//go:embed rules
var canaryFiles embed.FS

// Rules is the source of the rule that refuses CanaryNamespace. It belongs behind the sources of a
// site, which then cannot replace it.
func Rules() gate.Source {
	files, err := fs.Sub(canaryFiles, "rules")
	if err != nil {
		panic(err) // the name is a constant
	}
	return gate.Source{Name: "readiness", FS: files}
}

// canary is a review whose right answer is known.
type canary struct {
	path    string
	request admissionv1.AdmissionRequest
	right   func(*admissionv1.AdmissionResponse) bool
	want    string // in words
}

// canaries has for each path one review to be refused and one to be allowed. What is allowed are reviews
// that no rule of a site can refuse.
var canaries = []canary{
	{"/validate", about(CanaryNamespace, admissionv1.Create, object(CanaryNamespace)), refusedByRule, "a refusal by rule " + CanaryRule},
	{"/validate", about("kube-system", admissionv1.Update, object("kube-system")), allowed, "no refusal of an update of kube-system"},
	{"/stamp", about(CanaryNamespace, admissionv1.Create, "[]"), refused, "a refusal of what is no object"},
	{"/stamp", about(CanaryNamespace, admissionv1.Create, object(CanaryNamespace)), stamped, "label " + baseline.LabelMode + " on a new namespace"},
}

func about(namespace string, operation admissionv1.Operation, raw string) admissionv1.AdmissionRequest {
	return admissionv1.AdmissionRequest{
		UID: "readiness", Name: namespace, Operation: operation,
		Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Namespace"},
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "namespaces"},
		UserInfo: authenticationv1.UserInfo{Username: "bulkhead:readiness"},
		Object:   runtime.RawExtension{Raw: []byte(raw)},
	}
}

func object(namespace string) string {
	return `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"` + namespace + `"}}`
}

func allowed(r *admissionv1.AdmissionResponse) bool { return r.Allowed }
func refused(r *admissionv1.AdmissionResponse) bool { return !r.Allowed && r.Result != nil }

func refusedByRule(r *admissionv1.AdmissionResponse) bool {
	return refused(r) && strings.Contains(r.Result.Message, CanaryRule+": ")
}

func stamped(r *admissionv1.AdmissionResponse) bool {
	return r.Allowed && bytes.Contains(r.Patch, []byte(baseline.LabelMode))
}

// caller sends the canaries as the API server sends reviews.
type caller struct {
	address, name string
	ca            func(context.Context) ([]byte, error)
}

func (c *caller) check(ctx context.Context) error {
	ca, err := c.ca(ctx)
	if err != nil {
		return err
	}
	var trusted *x509.CertPool
	if len(ca) > 0 {
		trusted = x509.NewCertPool()
		trusted.AppendCertsFromPEM(ca)
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: trusted, ServerName: c.name},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, c.address)
		},
	}}
	defer client.CloseIdleConnections()
	for _, canary := range canaries {
		if err := c.send(ctx, client, canary); err != nil {
			return fmt.Errorf("review sent to itself at %s%s: %w", c.address, canary.path, err)
		}
	}
	return nil
}

func (c *caller) send(ctx context.Context, client *http.Client, canary canary) error {
	review := admissionv1.AdmissionReview{Request: &canary.request}
	review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
	body, err := json.Marshal(review)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+net.JoinHostPort(c.name, "443")+canary.path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer := admissionv1.AdmissionReview{}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswerBytes)).Decode(&answer); err != nil || answer.Response == nil {
		return fmt.Errorf("answer %s is no AdmissionReview: %v", response.Status, err)
	}
	return canary.judge(answer.Response)
}

func (c *canary) judge(answer *admissionv1.AdmissionResponse) error {
	if c.right(answer) {
		return nil
	}
	// It says that it cannot judge, which is what happens without an API server.
	if !answer.Allowed && answer.Result != nil && answer.Result.Code >= http.StatusInternalServerError {
		return fmt.Errorf("it could not be judged: %s", answer.Result.Message)
	}
	return fmt.Errorf("%w: the answer to %s of namespace %s is wrong, want %s: allowed %t, %v",
		errUnfit, c.request.Operation, c.request.Name, c.want, answer.Allowed, answer.Result)
}
