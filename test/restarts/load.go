// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// shop is the namespace that NetworkPolicies are sent to.
const shop = "shop"

// Kinds of outcomes.
const (
	rightly = iota
	admitted
	refused
	noAnswer
)

// outcome of one request.
type outcome struct {
	kind    int
	message string // empty: rightly
	at      time.Time
}

// request is one kind of requests.
type request struct {
	name string
	rule string // that refuses it; empty: it is valid
	// create returns what is wrong with an answer that is no refusal; empty: nothing.
	create func(context.Context, kubernetes.Interface) (wrong string, err error)
}

var dryRun = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}

var requests = []request{
	{"valid namespace", "", func(ctx context.Context, api kubernetes.Interface) (string, error) {
		created, err := api.CoreV1().Namespaces().Create(ctx, ownedNamespace("books"), dryRun)
		if err == nil && created.Labels[baseline.LabelMode] == "" {
			return "it was not given its mode", nil
		}
		return "", err
	}},
	{"namespace without an owner", "namespace/owner_required", func(ctx context.Context, api kubernetes.Interface) (string, error) {
		_, err := api.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "books"}}, dryRun)
		return "", err
	}},
	{"valid policy", "", createPolicy(networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}})},
	{"policy for everyone", "networkpolicy/allow_all", createPolicy(networkingv1.NetworkPolicyIngressRule{})},
}

func ownedNamespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{baseline.LabelOwner: "team-shop"}}}
}

func createPolicy(rule networkingv1.NetworkPolicyIngressRule) func(context.Context, kubernetes.Interface) (string, error) {
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "api"},
		Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{rule},
		},
	}
	return func(ctx context.Context, api kubernetes.Interface) (string, error) {
		_, err := api.NetworkingV1().NetworkPolicies(shop).Create(ctx, policy, dryRun)
		return "", err
	}
}

func (r *request) send(ctx context.Context, api kubernetes.Interface) outcome {
	wrong, err := r.create(ctx, api)
	kind, message := r.judge(wrong, err)
	if kind != rightly {
		message = r.name + ": " + message
	}
	return outcome{kind, message, time.Now()}
}

// judge an answer. A webhook that is skipped when it does not answer leaves its work undone, which is
// wrong as well.
func (r *request) judge(wrong string, err error) (kind int, message string) {
	switch {
	case err == nil && r.rule != "":
		return admitted, "it was admitted"
	case err == nil && wrong != "":
		return noAnswer, wrong
	case err == nil || r.rule != "" && apierrors.IsForbidden(err) && strings.Contains(err.Error(), r.rule):
		return rightly, ""
	case strings.Contains(err.Error(), "failed calling webhook"), strings.Contains(err.Error(), "did not answer"):
		return noAnswer, err.Error()
	default:
		return refused, err.Error()
	}
}

// load are clients at work.
type load struct {
	lab *lab

	mu    sync.Mutex
	sent  int
	wrong []outcome // in order of their answers
}

// run sends all kinds of requests in turn until ctx ends. The last ones are waited for.
func (l *load) run(ctx context.Context) {
	var clients sync.WaitGroup
	for i := range l.lab.config.parallel {
		clients.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				l.note(requests[n%len(requests)].send(context.WithoutCancel(ctx), l.lab.api))
			}
		})
	}
	clients.Wait()
}

func (l *load) note(o outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if o.kind != rightly {
		l.wrong = append(l.wrong, o)
	}
}

// failing is the time between the first and the last failure since a moment.
func (l *load) failing(since time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first time.Time
	for _, o := range l.wrong {
		if o.at.Before(since) {
			continue
		}
		if first.IsZero() {
			first = o.at
		}
	}
	if first.IsZero() {
		return 0
	}
	return l.wrong[len(l.wrong)-1].at.Sub(first)
}
