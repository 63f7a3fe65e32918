// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func TestPodIsRefusedUntilPoliciesExist(t *testing.T) {
	p := start(t, "--exempt-namespaces", "calm")
	gateIsActive(t)
	createNamespace(t, newNamespace("calm", nil))
	if err := admin.Create(t.Context(), newPod("calm")); err != nil {
		t.Errorf("pod in an exempt namespace: %v", err)
	}
	// The gate must hold without us.
	withoutTheProgram(t, p)

	createNamespace(t, newNamespace("early", stampedAudit))
	eventually(t, "refusal of the early pod", func() error {
		err := admin.Create(t.Context(), newPod("early"), client.DryRunAll)
		if isRefusal(err) {
			return nil
		}
		return fmt.Errorf("got %w", err)
	})
	refused(t, admin.Create(t.Context(), newPod("early")), "retry-when-bulkhead-")

	// A policy of the right name and another content does not open the gate.
	weak := baseline.DefaultDeny("early")
	weak.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}}
	for _, policy := range []*networkingv1.NetworkPolicy{weak, baseline.DNS("early", baseline.DefaultDNS())} {
		if err := admin.Create(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "refusal because of the content", func() error {
		err := admin.Create(t.Context(), newPod("early"))
		if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "retry in a moment, Bulkhead restores it") {
			return nil
		}
		return fmt.Errorf("got %w", err)
	})

	start(t)
	eventually(t, "policies", func() error { return policies(t.Context(), "early") })
	eventually(t, "admission of the pod", func() error { return admin.Create(t.Context(), newPod("early")) })
}

// A namespace that was deleted and made again is not judged by the policies of the old one, which an API server
// may still remember.
func TestPodGateKnowsTheNamespace(t *testing.T) {
	p := start(t)
	gateIsActive(t)
	withoutTheProgram(t, p)
	namespace := createNamespace(t, newNamespace("born-again", stampedAudit))
	deny, dns := baseline.DefaultDeny(namespace.Name), baseline.DNS(namespace.Name, baseline.DefaultDNS())
	own := string(namespace.UID)
	for _, c := range []struct{ deny, dns, want string }{ // uids; empty: no annotation
		{own, own, ""},
		{"another", own, "NetworkPolicy bulkhead-default-deny was made for an earlier namespace"},
		{own, "another", "NetworkPolicy bulkhead-allow-dns was made for an earlier namespace"},
		{"", "", ""},
	} {
		for policy, uid := range map[*networkingv1.NetworkPolicy]string{deny: c.deny, dns: c.dns} {
			policy.Annotations, policy.ResourceVersion = map[string]string{baseline.AnnotationNamespaceUID: uid}, ""
			if uid == "" {
				policy.Annotations = nil
			}
			err := admin.Update(t.Context(), policy)
			if apierrors.IsNotFound(err) {
				err = admin.Create(t.Context(), policy)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "answer to "+c.deny+" and "+c.dns, func() error {
			err := admin.Create(t.Context(), newPod(namespace.Name), client.DryRunAll)
			if c.want == "" && err == nil || c.want != "" && apierrors.IsForbidden(err) && strings.Contains(err.Error(), c.want) {
				return nil
			}
			return fmt.Errorf("got %w", err)
		})
	}
}

// A default-deny that is only staged denies nothing.
func TestPodGateWantsTheLivePolicy(t *testing.T) {
	p := start(t)
	gateIsActive(t)
	withoutTheProgram(t, p)
	namespace := createNamespace(t, newNamespace("staged-deny", stampedAudit))
	deny, dns := baseline.DefaultDeny(namespace.Name), baseline.DNS(namespace.Name, baseline.DefaultDNS())
	deny.Annotations = map[string]string{netpol.AnnotationStaged: "true"}
	for _, policy := range []*networkingv1.NetworkPolicy{deny, dns} {
		if err := admin.Create(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "answer", func() error {
		err := admin.Create(t.Context(), newPod(namespace.Name), client.DryRunAll)
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "does not deny by default") {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
}

// stampedAudit are the labels of a namespace that the webhook has seen, as the API server wants them a moment longer.
var stampedAudit = map[string]string{baseline.LabelMode: "audit", baseline.LabelProfile: baseline.DefaultProfile}

// withoutTheProgram stops it and leaves the pod gate, which it would take away, as if it had crashed.
func withoutTheProgram(t *testing.T, p *process) {
	t.Helper()
	kept := gateObjects(t)
	p.stop(t)
	for _, object := range kept {
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { emergencyOff(t) })
}

// gateIsActive returns when the API server applies the pod gate, which it does a moment after the
// objects are created.
func gateIsActive(t *testing.T) {
	t.Helper()
	eventually(t, "admission policies", func() error {
		nonsense := newNamespace("gate-probe", map[string]string{baseline.LabelMode: "nonsense"})
		if err := admin.Create(t.Context(), nonsense, client.DryRunAll); !isRefusal(err) {
			return fmt.Errorf("mode nonsense is admitted: %w", err)
		}
		return nil
	})
}

func gateObjects(t *testing.T) []client.Object {
	t.Helper()
	var objects []client.Object
	var gates admissionv1.ValidatingAdmissionPolicyList
	var bindings admissionv1.ValidatingAdmissionPolicyBindingList
	if err := errors.Join(admin.List(t.Context(), &gates), admin.List(t.Context(), &bindings)); err != nil {
		t.Fatal(err)
	}
	for i := range gates.Items {
		if strings.HasPrefix(gates.Items[i].Name, "bulkhead-pod-gate") {
			objects = append(objects, &gates.Items[i])
		}
	}
	for i := range bindings.Items {
		if strings.HasPrefix(bindings.Items[i].Spec.PolicyName, "bulkhead-pod-gate") {
			objects = append(objects, &bindings.Items[i])
		}
	}
	if len(objects) != 4 {
		t.Fatalf("%d objects of the pod gate, want 4", len(objects))
	}
	for _, object := range objects {
		object.SetResourceVersion("")
		object.SetUID("")
		object.SetManagedFields(nil)
	}
	return objects
}

func emergencyOff(t testing.TB) string {
	t.Helper()
	kubeconfig, err := plane.Kubeconfig(baseline.ServiceAccountUser(baseline.WebhookServiceAccount))
	if err != nil {
		t.Fatal(err)
	}
	out := &logBuffer{}
	if err := run(context.Background(), []string{"emergency-off", "--kubeconfig", kubeconfig}, out, out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestStopAndEmergencyOffLeaveNothing(t *testing.T) {
	p := start(t)
	if n := admissionObjects(t); n == 0 {
		t.Fatal("nothing is registered")
	}
	p.stop(t)
	if n := admissionObjects(t); n != 0 {
		t.Errorf("%d admission objects after an orderly end", n)
	}
	start(t)
	out := emergencyOff(t)
	for _, name := range []string{"ValidatingWebhookConfiguration bulkhead-webhook", "ValidatingAdmissionPolicy bulkhead-own-writes"} {
		if !strings.Contains(out, "deleted "+name+"\n") {
			t.Errorf("%s is not deleted: %s", name, out)
		}
	}
	if n := admissionObjects(t); n != 0 {
		t.Errorf("%d admission objects after emergency-off", n)
	}
}

// admissionObjects counts the objects that can act. The two that match nothing stay on purpose.
func admissionObjects(t *testing.T) int {
	t.Helper()
	count, anchors := 0, 0
	for _, kind := range []string{
		"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
	} {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind(kind + "List"))
		if err := admin.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		for _, object := range list.Items {
			if object.Name == "bulkhead-params-anchor" {
				anchors++
				continue
			}
			count++
		}
	}
	if anchors != 2 {
		t.Errorf("%d objects keep the API server's watch of NetworkPolicies, want 2", anchors)
	}
	return count
}
