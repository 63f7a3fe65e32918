// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// review is an admission review as it is sent.
type review struct {
	kind    string // what the report calls it
	path    string
	body    []byte
	allowed bool // the right answer
}

// share of a kind of review in the mix.
type share struct {
	percent int
	make    func(p *pool, i int) (path string, request admissionv1.AdmissionRequest, allowed bool)
}

// mix is that of a cluster at work: mostly pods, many policies, few namespaces; each new namespace is asked
// about twice.
var mix = map[string]share{
	"pod":               {40, (*pool).pod},
	"policy":            {25, (*pool).policy},
	"policy update":     {15, (*pool).policyUpdate},
	"policy refused":    {10, (*pool).policyRefused},
	"namespace stamped": {5, (*pool).namespaceStamped},
	"namespace judged":  {5, (*pool).namespaceJudged},
}

// pool holds objects as the API server has them, with defaults and managedFields.
type pool struct {
	pods     []corev1.Pod
	policies []networkingv1.NetworkPolicy
	refused  []networkingv1.NetworkPolicy
}

// poolSize bounds how many objects reviews are made of.
const poolSize = 500

func (l *lab) pool(ctx context.Context) (*pool, error) {
	api, some := l.apis[0], metav1.ListOptions{Limit: poolSize, LabelSelector: baseline.LabelOwner}
	pods, err := api.CoreV1().Pods("").List(ctx, some)
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	policies, err := api.NetworkingV1().NetworkPolicies("").List(ctx, some)
	if err != nil {
		return nil, fmt.Errorf("list NetworkPolicies: %w", err)
	}
	p := &pool{pods: pods.Items, policies: policies.Items}
	for _, policy := range p.policies {
		wide := tooWide()
		wide.ObjectMeta = *policy.ObjectMeta.DeepCopy()
		p.refused = append(p.refused, *wide)
	}
	return p, nil
}

// reviews returns n reviews in the proportions of mix, shuffled.
func (p *pool) reviews(n int) ([]review, error) {
	var all []review
	for kind, share := range mix {
		for i := range n * share.percent / 100 {
			path, request, allowed := share.make(p, i)
			body, err := json.Marshal(complete(request))
			if err != nil {
				return nil, err
			}
			all = append(all, review{kind: kind, path: path, body: body, allowed: allowed})
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all, nil
}

// complete fills in what the API server always sends.
func complete(request admissionv1.AdmissionRequest) *admissionv1.AdmissionReview {
	request.UID = types.UID("5bd8b1a4-0b8d-4a0e-8f3d-0d4d6f3b7f11")
	request.RequestKind, request.RequestResource = &request.Kind, &request.Resource
	request.UserInfo = authenticationv1.UserInfo{Username: "dev@example.com", Groups: []string{"team-shop", "system:authenticated"}}
	request.Options = runtime.RawExtension{Raw: []byte(`{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1","fieldManager":"kubectl-client-side-apply"}`)}
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request:  &request,
	}
}

func (p *pool) pod(i int) (string, admissionv1.AdmissionRequest, bool) {
	pod := &p.pods[i%len(p.pods)]
	return "/hold", created(corev1.SchemeGroupVersion.WithKind("Pod"), "pods", pod), true
}

func (p *pool) policy(i int) (string, admissionv1.AdmissionRequest, bool) {
	return "/validate", createdPolicy(&p.policies[i%len(p.policies)]), true
}

func (p *pool) policyUpdate(i int) (string, admissionv1.AdmissionRequest, bool) {
	old := &p.policies[i%len(p.policies)]
	policy := old.DeepCopy()
	policy.Spec.Egress[1].To[0].IPBlock.CIDR = "198.51.100.0/24"
	request := createdPolicy(policy)
	request.Operation, request.OldObject = admissionv1.Update, runtime.RawExtension{Object: old}
	return "/validate", request, true
}

func (p *pool) policyRefused(i int) (string, admissionv1.AdmissionRequest, bool) {
	return "/validate", createdPolicy(&p.refused[i%len(p.refused)]), false
}

func (p *pool) namespaceStamped(i int) (string, admissionv1.AdmissionRequest, bool) {
	return "/stamp", createdNamespace(namespace(fmt.Sprintf("new-%d", i))), true
}

func (p *pool) namespaceJudged(i int) (string, admissionv1.AdmissionRequest, bool) {
	ns := namespace(fmt.Sprintf("new-%d", i))
	ns.Labels[baseline.LabelMode], ns.Labels[baseline.LabelProfile] = baseline.Enforce.String(), baseline.DefaultProfile
	return "/validate", createdNamespace(ns), true
}

// createdNamespace: the API server gives the name of a Namespace as the request's namespace, too.
func createdNamespace(ns *corev1.Namespace) admissionv1.AdmissionRequest {
	request := created(corev1.SchemeGroupVersion.WithKind("Namespace"), "namespaces", ns)
	request.Namespace = ns.Name
	return request
}

func createdPolicy(policy *networkingv1.NetworkPolicy) admissionv1.AdmissionRequest {
	return created(networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"), "networkpolicies", policy)
}

func created(kind schema.GroupVersionKind, resource string, object client.Object) admissionv1.AdmissionRequest {
	object.GetObjectKind().SetGroupVersionKind(kind) // lists leave it out
	return admissionv1.AdmissionRequest{
		Kind:      metav1.GroupVersionKind(kind),
		Resource:  metav1.GroupVersionResource{Group: kind.Group, Version: kind.Version, Resource: resource},
		Name:      object.GetName(),
		Namespace: object.GetNamespace(),
		Operation: admissionv1.Create,
		Object:    runtime.RawExtension{Object: object},
	}
}
