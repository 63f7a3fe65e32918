// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

const patience = 15 * time.Second

// The control plane is shared by the tests of this package; they use namespaces and nodes of their own.
var (
	admin       *kubernetes.Clientset
	adminConfig *rest.Config
	enforcer    *rest.Config // with the rights of the chart's ClusterRole, no more
)

func TestMain(m *testing.M) {
	node.Main(m, buildControlPlane, func() (func(), error) {
		cp, err := cluster.Start(context.Background(), cluster.Options{
			Log: os.Stderr,
			// Lets in addresses that only objects from older versions can have.
			APIServerArgs: []string{"--feature-gates=StrictIPCIDRValidation=false"},
		})
		if err != nil {
			return nil, err
		}
		return func() { _ = cp.Stop() }, connect(cp)
	})
}

// buildControlPlane needs the network, so it is done before the network namespace is made.
func buildControlPlane() error {
	for _, tool := range []string{"etcd", "kube-apiserver", "hubble"} {
		if _, err := cluster.Tool(context.Background(), tool, os.Stderr); err != nil {
			return err
		}
	}
	return nil
}

func connect(cp *cluster.ControlPlane) error {
	var err error
	adminConfig = cp.Admin()
	if admin, err = kubernetes.NewForConfig(adminConfig); err != nil {
		return err
	}
	if err := applyRBAC(context.Background()); err != nil {
		return err
	}
	path, err := cp.Kubeconfig(baseline.ServiceAccountUser(baseline.EnforcerServiceAccount))
	if err != nil {
		return err
	}
	enforcer, err = clientcmd.BuildConfigFromFlags("", path)
	return err
}

func applyRBAC(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "charts", "bulkhead", "rbac", "enforcer.yaml"))
	if err != nil {
		return err
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	var role rbacv1.ClusterRole
	var binding rbacv1.ClusterRoleBinding
	if err := errors.Join(decoder.Decode(&role), decoder.Decode(&binding)); err != nil {
		return err
	}
	_, roleErr := admin.RbacV1().ClusterRoles().Create(ctx, &role, metav1.CreateOptions{})
	_, bindingErr := admin.RbacV1().ClusterRoleBindings().Create(ctx, &binding, metav1.CreateOptions{})
	return errors.Join(roleErr, bindingErr)
}

// eventually polls until condition returns nil, and fails the test with its last error after a while.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond) // between two looks at the condition
	}
}

func get(url string) (status int, body string, err error) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func createNamespace(t *testing.T, name, mode string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{baseline.LabelMode: mode}}}
	if _, err := admin.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func createNode(t *testing.T, name, addr string) {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	node, err := admin.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{})
	if err == nil {
		node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: addr}}
		_, err = admin.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// createPod makes a running Pod object with the addresses of p. owner may be nil.
func createPod(t *testing.T, node, namespace, name string, owner *metav1.OwnerReference, p *node.Pod) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "main", Image: "none"}}},
	}
	if owner != nil {
		pod.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	pod, err := admin.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err == nil {
		pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, p.Addrs[0].String()
		for _, a := range p.Addrs {
			pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: a.String()})
		}
		_, err = admin.CoreV1().Pods(namespace).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatalf("create pod %s/%s: %v", namespace, name, err)
	}
}

// createReplicaSet makes one that belongs to a Deployment, and returns the reference for its pods.
func createReplicaSet(t *testing.T, namespace, deployment string) *metav1.OwnerReference {
	t.Helper()
	yes := true
	labels := map[string]string{"app": deployment}
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: deployment + "-5d4f8", Namespace: namespace, OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "apps/v1", Kind: "Deployment", Name: deployment, UID: "d1", Controller: &yes},
		}},
		Spec: appsv1.ReplicaSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "none"}}},
			},
		},
	}
	rs, err := admin.AppsV1().ReplicaSets(namespace).Create(t.Context(), rs, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: rs.Name, UID: rs.UID, Controller: &yes}
}
