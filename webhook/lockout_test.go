// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// answerIn is the longest that one request may take: two webhooks that are ignored after their
// timeouts would be 4 s, and no request meets two.
const answerIn = 3 * time.Second

// TestNoLockout kills every replica while the API server still has its registration; the second time
// they hang instead, which is worse: every call ends in a timeout.
func TestNoLockout(t *testing.T) {
	for name, end := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "hanging": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			down := prepareLockout(t, name)
			if err := down.replica.Signal(end); err != nil {
				t.Fatal(err)
			}
			down.mustWork(t)
			down.mustStayRefused(t)
			down.mustEnd(t)
		})
	}
}

// lockout is a cluster whose replicas are about to go.
type lockout struct {
	replica   *cluster.Process
	node      client.Client // a kubelet
	nodeName  string
	developer client.Client // may write everything but what is Bulkhead's or admission
	cleaner   client.Client // the namespace controller, with the rights that every cluster gives it
	old       string        // a namespace from before Bulkhead
	closed    string        // mode enforce, with its baseline
	bare      string        // mode enforce, its baseline gone
}

func prepareLockout(t *testing.T, name string) *lockout {
	t.Helper()
	d := &lockout{nodeName: "worker-" + name, old: "old-" + name, closed: "closed-" + name, bare: "bare-" + name}
	d.node = clientAs(t, "system:node:"+d.nodeName, "system:nodes")
	write := rbacv1.PolicyRule{
		APIGroups: []string{"", "apps", "networking.k8s.io"},
		Resources: []string{"*"},
		Verbs:     []string{"*"},
	}
	grant(t, "developer-"+name, write)
	d.developer = clientAs(t, "developer-"+name)
	d.cleaner = clientAs(t, "system:serviceaccount:kube-system:namespace-controller")
	eventually(t, "a namespace without Bulkhead", func() error { return admin.Create(t.Context(), named(d.old)) })
	d.replica = startReplica(t)
	for _, namespace := range []string{d.closed, d.bare} {
		createNamespace(t, newNamespace(namespace, nil))
		eventually(t, "policies", func() error { return policies(t.Context(), namespace) })
		for _, object := range []client.Object{newPodNamed(namespace, "running"), ordinaryPolicy(namespace, "ordinary")} {
			eventually(t, object.GetName(), func() error { return admin.Create(t.Context(), object) })
		}
	}
	return d
}

// startReplica runs the program as a process of its own, which can be killed.
func startReplica(t *testing.T) *cluster.Process {
	t.Helper()
	run, health := replicaOf(t)
	replica := run()
	t.Cleanup(func() {
		_ = replica.Stop(0) // an error says that the test has killed it already
		emergencyOff(t)
	})
	eventually(t, "readiness", func() error { return get("http://" + health + "/readyz") })
	gateIsActive(t)
	return replica
}

// replicaOf returns a function that starts the program as a process of its own, again and again with the
// same addresses, and the one at which it says whether it is ready.
func replicaOf(t *testing.T) (run func() *cluster.Process, health string) {
	t.Helper()
	kubeconfig, err := plane.Kubeconfig(baseline.ServiceAccountUser(baseline.WebhookServiceAccount))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(asProgram, "1")
	health = freeAddress(t)
	args := []string{"--kubeconfig", kubeconfig, "--webhook-url", "https://" + freeAddress(t), "--health-addr", health, "--metrics-addr", "0"}
	log := filepath.Join(t.TempDir(), "webhook.log")
	return func() *cluster.Process {
		replica, err := cluster.StartProcess(os.Args[0], log, args)
		if err != nil {
			t.Fatal(err)
		}
		return replica
	}, health
}

func (d *lockout) mustWork(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: d.nodeName}}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: d.nodeName}}
	request := signingRequest(t, d.nodeName)
	label := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"example.com/tier":"gold"},"annotations":{"example.com/note":"x"}}}`))
	work := []step{
		{"a node registers", func() error { return d.node.Create(ctx, node) }},
		{"a node reports its status", func() error {
			node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
			return d.node.Status().Update(ctx, node)
		}},
		{"a node makes its lease", func() error { return d.node.Create(ctx, lease) }},
		{"a node renews its lease", func() error {
			lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(time.Now()))
			return d.node.Update(ctx, lease)
		}},
		{"a kubelet asks for a certificate", func() error { return d.node.Create(ctx, request) }},
		{"its request is approved", func() error {
			request.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue}}
			return admin.SubResource("approval").Update(ctx, request)
		}},
		{"a node is deleted", func() error { return d.developer.Delete(ctx, node) }},
		{"a label of a namespace from before", func() error { return d.developer.Patch(ctx, named(d.old), label) }},
		{"a label of a namespace in enforce", func() error { return d.developer.Patch(ctx, named(d.closed), label) }},
		{"a label of a system namespace", func() error { return d.developer.Patch(ctx, named("kube-system"), label) }},
		{"a pod in a namespace from before", func() error { return d.developer.Create(ctx, newPod(d.old)) }},
		{"a pod in enforce, with its policies", func() error { return d.developer.Create(ctx, newPod(d.closed)) }},
		{"a pod in enforce is deleted", func() error { return d.developer.Delete(ctx, newPodNamed(d.closed, "running")) }},
		{"an ordinary policy is deleted", func() error { return d.developer.Delete(ctx, ordinaryPolicy(d.closed, "ordinary")) }},
	}
	for _, namespace := range append(baseline.SystemNamespaces(), d.old) {
		for _, object := range workload(namespace, "lockout-"+d.nodeName) {
			if _, policy := object.(*networkingv1.NetworkPolicy); policy && namespace == d.old {
				continue // an ordinary namespace's new policies are judged
			}
			name := fmt.Sprintf("%T in %s", object, namespace)
			work = append(work,
				step{name + " is created", func() error { return d.developer.Create(ctx, object) }},
				step{name + " is changed", func() error { return d.developer.Patch(ctx, object, label) }},
				step{name + " is deleted", func() error { return d.developer.Delete(ctx, object) }},
			)
		}
	}
	for _, s := range work {
		s.mustWork(t)
	}
}

// mustStayRefused: what would leave a pod or a namespace without protection.
func (d *lockout) mustStayRefused(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	removed := baseline.DefaultDeny(d.bare)
	webhook := clientAs(t, baseline.ServiceAccountUser(baseline.WebhookServiceAccount))
	if err := webhook.Delete(ctx, removed); err != nil { // nobody restores it
		t.Fatal(err)
	}
	eventually(t, "refusal of a pod without default-deny", func() error {
		if err := d.developer.Create(ctx, newPod(d.bare), client.DryRunAll); !isRefusal(err) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	merge := func(labels string) client.Patch {
		return client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{`+labels+`}},"spec":{}}`))
	}
	forged := ordinaryPolicy(d.closed, "forged")
	forged.Labels = map[string]string{baseline.LabelManagedBy: baseline.ManagedByOnboarding}
	for _, s := range []step{
		{"a managed policy is deleted", func() error { return d.developer.Delete(ctx, baseline.DefaultDeny(d.closed)) }},
		{"a managed policy is changed", func() error { return d.developer.Patch(ctx, baseline.DefaultDeny(d.closed), merge(`"x":"y"`)) }},
		{"a managed policy is forged", func() error { return d.developer.Create(ctx, forged) }},
		{"a policy that nobody judged", func() error { return d.developer.Create(ctx, ordinaryPolicy(d.closed, "unjudged")) }},
		{"a namespace that nobody judged", func() error { return d.developer.Create(ctx, newNamespace("unjudged", nil)) }},
		{"a weaker mode", func() error { return d.developer.Patch(ctx, named(d.closed), merge(`"bulkhead.dev/mode":"observe"`)) }},
		{"no mode", func() error { return d.developer.Patch(ctx, named(d.closed), merge(`"bulkhead.dev/mode":null`)) }},
		{"another profile", func() error { return d.developer.Patch(ctx, named(d.closed), merge(`"bulkhead.dev/profile":"x"`)) }},
		{"no owner", func() error { return d.developer.Patch(ctx, named(d.closed), merge(`"bulkhead.dev/owner":null`)) }},
	} {
		s.mustBeRefused(t)
	}
}

// mustEnd: namespaces go away, with the policies that nobody may delete else.
func (d *lockout) mustEnd(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for _, namespace := range []string{d.old, d.closed, d.bare} {
		var found networkingv1.NetworkPolicyList
		if err := admin.List(ctx, &found, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
		step{namespace + " is deleted", func() error { return d.developer.Delete(ctx, named(namespace)) }}.mustWork(t)
		for i := range found.Items {
			step{found.Items[i].Name + " is cleaned up", func() error { return d.cleaner.Delete(ctx, &found.Items[i]) }}.mustWork(t)
		}
		step{namespace + " loses its finalizer", func() error {
			ending := named(namespace)
			if err := d.cleaner.Get(ctx, client.ObjectKeyFromObject(ending), ending); err != nil {
				return err
			}
			ending.Spec.Finalizers = nil
			return d.cleaner.SubResource("finalize").Update(ctx, ending)
		}}.mustWork(t)
	}
}

// step is one request to the API server.
type step struct {
	what string
	do   func() error
}

func (s step) mustWork(t *testing.T) {
	t.Helper()
	begin := time.Now()
	if err := s.do(); err != nil {
		t.Errorf("%s: %v", s.what, err)
	}
	if took := time.Since(begin); took > answerIn {
		t.Errorf("%s: took %s", s.what, took)
	}
}

// mustBeRefused accepts a webhook that did not answer, too: the API server calls that an internal error.
func (s step) mustBeRefused(t *testing.T) {
	t.Helper()
	err := s.do()
	unanswered := apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook")
	if !isRefusal(err) && !unanswered {
		t.Errorf("%s: not refused: %v", s.what, err)
	}
}

func named(namespace string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
}

func newPodNamed(namespace, name string) *corev1.Pod {
	pod := newPod(namespace)
	pod.Name, pod.GenerateName = name, ""
	return pod
}

// ordinaryPolicy is a user's own: what it selects may talk to itself.
func ordinaryPolicy(namespace, name string) *networkingv1.NetworkPolicy {
	self := metav1.LabelSelector{MatchLabels: map[string]string{"app": "self"}}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: self,
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &self}}}},
		},
	}
}

// signingRequest is what a kubelet asks for its own certificate with.
func signingRequest(t *testing.T, node string) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	subject := pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "kubelet-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: certificatesv1.KubeAPIServerClientKubeletSignerName,
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
		},
	}
}

// workload is what it takes to bring a component back.
func workload(namespace, name string) []client.Object {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	labels := map[string]string{"app": name}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: newPod(namespace).Spec}
	return []client.Object{
		&corev1.ServiceAccount{ObjectMeta: meta},
		&corev1.ConfigMap{ObjectMeta: meta},
		&corev1.Secret{ObjectMeta: meta},
		&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 443}}}},
		&appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template}},
		newPodNamed(namespace, name),
		ordinaryPolicy(namespace, name),
	}
}
