// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// installNodePolicy applies the chart's admission policy on what the enforcer writes of nodes, once, and waits
// until the API server acts on it.
var installNodePolicy = sync.OnceValue(func() error {
	ctx := context.Background()
	var policy admissionv1.ValidatingAdmissionPolicy
	var binding admissionv1.ValidatingAdmissionPolicyBinding
	if err := errors.Join(chartFile("enforcer-node-condition-policy.yaml", &policy), chartFile("enforcer-node-condition-binding.yaml", &binding)); err != nil {
		return err
	}
	_, policyErr := admin.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(ctx, &policy, metav1.CreateOptions{})
	_, bindingErr := admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Create(ctx, &binding, metav1.CreateOptions{})
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: baseline.ProjectNamespace}}
	_, namespaceErr := admin.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: baseline.EnforcerServiceAccount}}
	_, accountErr := admin.CoreV1().ServiceAccounts(baseline.ProjectNamespace).Create(ctx, account, metav1.CreateOptions{})
	return errors.Join(policyErr, bindingErr, namespaceErr, accountErr)
})

func chartFile(name string, into any) error {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "charts", "bulkhead", "admission", name))
	if err != nil {
		return err
	}
	return yaml.UnmarshalStrict([]byte(strings.ReplaceAll(string(text), "{{ .Release.Namespace }}", baseline.ProjectNamespace)), into)
}

// onNode is how an enforcer reaches the API server from its pod on a node: with a token that names the node.
func onNode(t *testing.T, nodeName string) *rest.Config {
	t.Helper()
	if err := installNodePolicy(); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "enforcer-" + nodeName, Namespace: baseline.ProjectNamespace},
		Spec: corev1.PodSpec{
			NodeName: nodeName, ServiceAccountName: baseline.EnforcerServiceAccount, HostNetwork: true,
			Containers: []corev1.Container{{Name: "enforcer", Image: "none"}},
		},
	}
	pod, err := admin.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	token, err := admin.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(t.Context(), baseline.EnforcerServiceAccount, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &rest.Config{
		Host: adminConfig.Host, BearerToken: token.Status.Token, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: adminConfig.CAData},
	}
}

// Who takes over an enforcer can write its own condition of its own node, and nothing else of any node.
func TestTheEnforcerWritesItsOwnConditionOnly(t *testing.T) {
	createNode(t, "node-own", "192.0.2.30")
	createNode(t, "node-foreign", "192.0.2.31")
	bound, err := kubernetes.NewForConfig(onNode(t, "node-own"))
	if err != nil {
		t.Fatal(err)
	}
	unbound, err := kubernetes.NewForConfig(enforcer)
	if err != nil {
		t.Fatal(err)
	}
	const ours = `{"status":{"conditions":[{"type":"BulkheadEnforcing","status":"False","reason":"R"}]}}`
	patch := func(client *kubernetes.Clientset, node, change string) error {
		_, err := client.CoreV1().Nodes().Patch(t.Context(), node, types.StrategicMergePatchType, []byte(change), metav1.PatchOptions{}, "status")
		return err
	}
	if err := patchAsAdmin(t, "node-own", `{"metadata":{"labels":{"zone":"a"}},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the API server acts on the policy", func() error {
		if err := patch(bound, "node-foreign", ours); !apierrors.IsForbidden(err) {
			return fmt.Errorf("got %w, want forbidden", err)
		}
		return nil
	})
	for _, tc := range []struct {
		client *kubernetes.Clientset
		node   string
		change string
		want   string // in the refusal; empty: it is allowed
	}{
		{bound, "node-own", ours, ""},
		{bound, "node-own", strings.ReplaceAll(ours, "False", "True"), ""},
		{bound, "node-own", `{"status":{"conditions":[{"type":"BulkheadEnforcing","$patch":"delete"}]}}`, ""},
		{bound, "node-own", ours, ""},
		{bound, "node-foreign", ours, "the enforcer of node node-own may not write the status of node node-foreign"},
		{unbound, "node-own", ours, "name no node"},
		{bound, "node-own", `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`, "only the condition BulkheadEnforcing"},
		{bound, "node-own", `{"status":{"conditions":[{"type":"MemoryPressure","status":"True"}]}}`, "only the condition BulkheadEnforcing"},
		{bound, "node-own", `{"status":{"conditions":[{"type":"Ready","$patch":"delete"}]}}`, "only the condition BulkheadEnforcing"},
		{bound, "node-own", `{"status":{"conditions":[{"type":"BulkheadEnforcing2","status":"True"}]}}`, "only the condition BulkheadEnforcing"},
		{bound, "node-own", `{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.99"}]}}`, "nothing else of the status"},
		{bound, "node-own", `{"status":{"addresses":null}}`, "nothing else of the status"},
		{bound, "node-own", `{"status":{"capacity":{"cpu":"99"}}}`, "nothing else of the status"},
		{bound, "node-own", `{"status":{"nodeInfo":{"kubeletVersion":"v9"}}}`, "nothing else of the status"},
		{bound, "node-own", `{"metadata":{"labels":{"zone":"b"}}}`, "no metadata"},
		{bound, "node-own", `{"metadata":{"labels":null}}`, "no metadata"},
		{bound, "node-own", `{"metadata":{"annotations":{"a":"b"}}}`, "no metadata"},
		{bound, "node-own", `{"metadata":{"finalizers":["bulkhead.dev/x"]}}`, "no metadata"},
	} {
		err := patch(tc.client, tc.node, tc.change)
		if (err == nil) != (tc.want == "") || err != nil && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s %s: %v; want %q", tc.node, tc.change, err, tc.want)
		}
	}
	_, err = bound.CoreV1().Nodes().Patch(t.Context(), "node-own", types.MergePatchType, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("the node itself: %v, want forbidden", err)
	}
	if err := patchAsAdmin(t, "node-own", `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`); err != nil {
		t.Errorf("others write nodes as before: %v", err)
	}
}

func patchAsAdmin(t *testing.T, node, change string) error {
	_, err := admin.CoreV1().Nodes().Patch(t.Context(), node, types.StrategicMergePatchType, []byte(change), metav1.PatchOptions{}, "status")
	return err
}
