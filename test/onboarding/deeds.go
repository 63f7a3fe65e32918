// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

const (
	// mostNamespaces there are at a time.
	mostNamespaces = 150
	teamProfile    = "team"
)

// administrators may do everything, also what nobody should.
type administrators struct {
	api client.Client

	mu         sync.Mutex
	namespaces []string
	done       map[string]int   // deeds by name
	refused    map[string]error // the last of each
}

// deeds are what they do. Each returns an error when it was not done.
var deeds = map[string]func(*administrators, context.Context) error{
	"create a namespace":     (*administrators).createNamespace,
	"change a mode":          (*administrators).changeMode,
	"change a profile label": (*administrators).changeProfileLabel,
	"delete a policy":        (*administrators).deletePolicy,
	"edit a policy":          (*administrators).editPolicy,
	"add a policy":           (*administrators).addPolicy,
	"move DNS":               (*administrators).moveDNS,
	"change a template":      (*administrators).changeTemplate,
	"delete a Bulkhead":      (*administrators).deleteBulkhead,
}

func newAdministrators(l *lab) (*administrators, error) {
	log.SetLogger(logr.Discard()) // else controller-runtime complains that nobody did
	kinds := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(kinds), profile.AddToScheme(kinds)); err != nil {
		return nil, err
	}
	api, err := client.New(l.plane.Admin(), client.Options{Scheme: kinds})
	return &administrators{api: api, done: map[string]int{}, refused: map[string]error{}}, err
}

// prepare makes the profile whose templates change.
func (a *administrators) prepare(ctx context.Context) error {
	team := &profile.Profile{ObjectMeta: metav1.ObjectMeta{Name: teamProfile}, Spec: profile.Spec{
		StartingMode: baseline.Enforce.String(),
		Policies:     []profile.Template{ingressTemplate("metrics", 9090), ingressTemplate("ingress", 8080)},
	}}
	return a.api.Create(ctx, team)
}

func ingressTemplate(name string, port int32) profile.Template {
	return profile.Template{Name: name, Spec: networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		Ingress: []networkingv1.NetworkPolicyIngressRule{{
			From: []networkingv1.NetworkPolicyPeer{{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "monitoring"}},
				PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"app": "$(namespace)"}},
			}},
			Ports: []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(port))}},
		}},
	}}
}

// act does random deeds until ctx ends.
func (a *administrators) act(ctx context.Context) error {
	names := slices.Collect(maps.Keys(deeds))
	for {
		name := names[rand.IntN(len(names))]
		err := deeds[name](a, ctx)
		if ctx.Err() != nil {
			return nil // done or not: the objects say so
		}
		if err := a.note(name, err); err != nil {
			return err
		}
		pause(ctx, rand.N(restBetween))
	}
}

func (a *administrators) note(name string, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		a.done[name]++
	case refusal(err), apierrors.IsConflict(err), apierrors.IsNotFound(err), apierrors.IsAlreadyExists(err), errors.Is(err, errNothing):
		a.refused[name] = err
	default:
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// errNothing: there is no object yet to do it to.
var errNothing = errors.New("no such object")

func (a *administrators) createNamespace(ctx context.Context) error {
	ns := namespace(fmt.Sprintf("shop-%d", rand.IntN(mostNamespaces)))
	if mode := baseline.Mode(rand.IntN(4)); mode <= baseline.Enforce { // else the webhook gives it one
		ns.Labels[baseline.LabelMode] = mode.String()
	}
	if err := a.api.Create(ctx, ns); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.namespaces = append(a.namespaces, ns.Name)
	return nil
}

// some returns a namespace that was created.
func (a *administrators) some() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.namespaces) == 0 {
		return "default"
	}
	return a.namespaces[rand.IntN(len(a.namespaces))]
}

func (a *administrators) changeMode(ctx context.Context) error {
	return a.label(ctx, baseline.LabelMode, baseline.Mode(rand.IntN(3)).String())
}

func (a *administrators) changeProfileLabel(ctx context.Context) error {
	return a.label(ctx, baseline.LabelProfile, []string{baseline.DefaultProfile, teamProfile}[rand.IntN(2)])
}

func (a *administrators) label(ctx context.Context, key, value string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.some()}}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, key, value)
	return a.api.Patch(ctx, ns, client.RawPatch("application/merge-patch+json", patch))
}

// somePolicy is one that the webhook made.
func (a *administrators) somePolicy(ctx context.Context) (*networkingv1.NetworkPolicy, error) {
	var list networkingv1.NetworkPolicyList
	err := a.api.List(ctx, &list, client.InNamespace(a.some()), client.MatchingLabels{baseline.LabelManagedBy: baseline.ManagedByOnboarding})
	if err == nil && len(list.Items) == 0 {
		err = errNothing
	}
	if err != nil {
		return nil, err
	}
	return &list.Items[rand.IntN(len(list.Items))], nil
}

func (a *administrators) deletePolicy(ctx context.Context) error {
	policy, err := a.somePolicy(ctx)
	if err != nil {
		return err
	}
	return a.api.Delete(ctx, policy)
}

// editPolicy adds a rule, or takes the selector's meaning away.
func (a *administrators) editPolicy(ctx context.Context) error {
	policy, err := a.somePolicy(ctx)
	if err != nil {
		return err
	}
	if rand.IntN(2) == 0 {
		policy.Spec.Ingress = append(policy.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{}) // from everywhere
	} else {
		policy.Spec.PodSelector.MatchLabels = map[string]string{"app": "none"}
	}
	return a.api.Update(ctx, policy)
}

// addPolicy makes one that claims to be the webhook's.
func (a *administrators) addPolicy(ctx context.Context) error {
	policy := baseline.DefaultDeny(a.some())
	policy.Name = "bulkhead-unknown"
	return a.api.Create(ctx, policy)
}

// moveDNS to another port, or away.
func (a *administrators) moveDNS(ctx context.Context) error {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns"}}
	if rand.IntN(4) == 0 {
		return a.api.Delete(ctx, service)
	}
	err := a.api.Get(ctx, client.ObjectKeyFromObject(service), service)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	service.Spec.Selector = map[string]string{"k8s-app": "kube-dns"}
	service.Spec.Ports = nil
	for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{
			Name: "dns-" + string(protocol[0]|0x20), Protocol: protocol, Port: 53, TargetPort: intstr.FromInt32(5353 + rand.Int32N(2)),
		})
	}
	if err != nil {
		return a.api.Create(ctx, service)
	}
	return a.api.Update(ctx, service)
}

func (a *administrators) changeTemplate(ctx context.Context) error {
	team := &profile.Profile{}
	if err := a.api.Get(ctx, client.ObjectKey{Name: teamProfile}, team); err != nil {
		return err
	}
	team.Spec.Policies = []profile.Template{ingressTemplate("metrics", 9090+rand.Int32N(10))}
	if rand.IntN(2) == 0 {
		team.Spec.Policies = append(team.Spec.Policies, ingressTemplate("ingress", 8080))
	}
	return a.api.Update(ctx, team)
}

func (a *administrators) deleteBulkhead(ctx context.Context) error {
	return a.api.Delete(ctx, &profile.Bulkhead{ObjectMeta: metav1.ObjectMeta{Namespace: a.some(), Name: profile.BulkheadName}})
}
