// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

func newDNSService(namespace, name, app string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": app},
			Ports:    []corev1.ServicePort{{Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intOr(5353)}},
		},
	}
}

// usualDNS is the Service of nearly every cluster. Policies are the same with it and without, but
// only with it do namespaces start in enforce.
func usualDNS() *corev1.Service {
	service := newDNSService("kube-system", "kube-dns", "")
	service.Spec.Selector = map[string]string{"k8s-app": "kube-dns"}
	service.Spec.Ports = []corev1.ServicePort{
		{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
		{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP},
	}
	return service
}

func newNodeLocalCache(address string) *appsv1.DaemonSet {
	labels := map[string]string{"k8s-app": "node-local-dns"}
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "node-local-dns"},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				HostNetwork: true,
				Containers:  []corev1.Container{{Name: "node-cache", Image: "example.com/node-cache", Args: []string{"-localip", address}}},
			}},
		},
	}
}

// createFor creates an object for the time of the test.
func createFor(t *testing.T, object client.Object) {
	t.Helper()
	if err := admin.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.IgnoreNotFound(admin.Delete(context.Background(), object)) })
}

// dnsPeers lists where the namespace's DNS policy leads: namespace/app of pods and address ranges.
func dnsPeers(ctx context.Context, namespace string) (string, error) {
	var policy networkingv1.NetworkPolicy
	if err := admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: baseline.AllowDNSName}, &policy); err != nil {
		return "", err
	}
	var peers []string
	for _, rule := range policy.Spec.Egress {
		for _, to := range rule.To {
			if to.IPBlock != nil {
				peers = append(peers, to.IPBlock.CIDR)
				continue
			}
			labels := to.PodSelector.MatchLabels
			peers = append(peers, to.NamespaceSelector.MatchLabels[corev1.LabelMetadataName]+"/"+labels["app"]+labels["k8s-app"])
		}
	}
	return strings.Join(peers, " "), nil
}

// dnsLeadsTo waits until the DNS policies of the namespaces lead where they should, and says how long that took.
func dnsLeadsTo(t *testing.T, want string, namespaces ...string) time.Duration {
	t.Helper()
	began := time.Now()
	for _, namespace := range namespaces {
		eventually(t, "DNS policy of "+namespace, func() error {
			if got, err := dnsPeers(t.Context(), namespace); err != nil || got != want {
				return fmt.Errorf("leads to %q, want %q: %w", got, want, err)
			}
			return nil
		})
	}
	return time.Since(began)
}

func TestDNSIsFollowed(t *testing.T) {
	before := newDNSService("kube-system", "kube-dns", "before")
	createFor(t, before)
	start(t)
	namespaces := []string{"dns-one", "dns-two"}
	for _, name := range namespaces {
		createNamespace(t, newNamespace(name, nil))
	}
	dnsLeadsTo(t, "kube-system/before", namespaces...)

	renamed := newDNSService("kube-system", "rke2-coredns-rke2-coredns", "renamed")
	createFor(t, renamed)
	if took := dnsLeadsTo(t, "kube-system/before kube-system/renamed", namespaces...); took > time.Second {
		t.Errorf("a second DNS was followed after %s, want a second at most", took)
	}
	if err := admin.Delete(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	if took := dnsLeadsTo(t, "kube-system/renamed", namespaces...); took > time.Second {
		t.Errorf("the end of the first was followed after %s, want a second at most", took)
	}
	createFor(t, newNodeLocalCache("169.254.20.11"))
	if took := dnsLeadsTo(t, "kube-system/renamed 169.254.20.11/32 "+renamed.Spec.ClusterIP+"/32", namespaces...); took > time.Second {
		t.Errorf("a node-local cache was followed after %s, want a second at most", took)
	}
}

func TestFlagsOverrideWhatIsDetected(t *testing.T) {
	createNamespace(t, newNamespace("infra", map[string]string{baseline.LabelMode: "observe"}))
	ours := newDNSService("infra", "resolver", "ours")
	createFor(t, ours)
	createFor(t, newDNSService("kube-system", "kube-dns", "theirs"))
	createFor(t, newNodeLocalCache("169.254.20.11"))
	start(t, "--dns-namespace", "infra", "--dns-service", "resolver", "--dns-node-local", "169.254.169.254")
	createNamespace(t, newNamespace("overridden", nil))
	dnsLeadsTo(t, "infra/ours 169.254.169.254/32 "+ours.Spec.ClusterIP+"/32", "overridden")
	if err := admin.Patch(t.Context(), ours, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"selector":{"app":"moved"}}}`))); err != nil {
		t.Fatal(err)
	}
	dnsLeadsTo(t, "infra/moved 169.254.169.254/32 "+ours.Spec.ClusterIP+"/32", "overridden")
}

// Without DNS a new namespace starts in audit, for users who may not weaken modes too. With it, they may
// ask for nothing less than enforce.
func TestMissingDNS(t *testing.T) {
	p := start(t)
	grant(t, "founder-of-names", namespacesOf)
	founder := clientAs(t, "founder-of-names")
	audited := newNamespace("nameless", nil)
	if err := founder.Create(t.Context(), audited); err != nil || audited.Labels[baseline.LabelMode] != "audit" {
		t.Fatalf("labels %v, %v, want mode audit", audited.Labels, err)
	}
	weaker := newNamespace("weaker", map[string]string{baseline.LabelMode: "observe"})
	refused(t, founder.Create(t.Context(), weaker, client.DryRunAll), "may not create namespace weaker in mode observe")
	dnsLeadsTo(t, "kube-system/kube-dns", "nameless")
	eventually(t, "event", func() error { return hasEvent(t, "nameless", "DNSNotFound") })
	eventually(t, "condition", func() error {
		have := &profile.Bulkhead{}
		if err := admin.Get(t.Context(), client.ObjectKey{Namespace: "nameless", Name: profile.BulkheadName}, have); err != nil {
			return err
		}
		if !meta.IsStatusConditionFalse(have.Status.Conditions, profile.DNSFound) {
			return fmt.Errorf("%+v", have.Status)
		}
		return nil
	})
	dnsMetric(t, p, "0")
	createFor(t, newDNSService("kube-system", "kube-dns", "found"))
	dnsLeadsTo(t, "kube-system/found", "nameless")
	dnsMetric(t, p, "1")
	enforced := newNamespace("named-again", nil)
	if err := founder.Create(t.Context(), enforced); err != nil || enforced.Labels[baseline.LabelMode] != "enforce" {
		t.Errorf("labels %v, %v, want mode enforce", enforced.Labels, err)
	}
	weaker = newNamespace("weaker", map[string]string{baseline.LabelMode: "audit"})
	refused(t, founder.Create(t.Context(), weaker, client.DryRunAll), "may not create namespace weaker in mode audit")
}

func dnsMetric(t *testing.T, p *process, want string) {
	t.Helper()
	if text := fetch(t, "http://"+p.metrics+"/metrics"); !strings.Contains(text, "\nbulkhead_dns_found "+want+"\n") {
		t.Errorf("bulkhead_dns_found is not %s", want)
	}
}
