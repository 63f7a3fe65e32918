// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

var (
	definitions     = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	clusterPolicies = schema.GroupVersionResource{Group: "policy.networking.k8s.io", Version: "v1alpha2", Resource: "clusternetworkpolicies"}
)

// definition reads the custom resource definition from the API's own module.
func definition(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	text, err := cluster.PolicyDefinition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &crd.Object); err != nil {
		t.Fatal(err)
	}
	return crd
}

// install gives the API server the kind, until remove is called or the test ends.
func install(t *testing.T, client dynamic.Interface) (remove func()) {
	t.Helper()
	crd := definition(t)
	if _, err := client.Resource(definitions).Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	remove = sync.OnceFunc(func() {
		if err := client.Resource(definitions).Delete(context.Background(), crd.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(remove)
	eventually(t, "the API server serves ClusterNetworkPolicies", func() error {
		_, err := client.Resource(clusterPolicies).List(t.Context(), metav1.ListOptions{})
		return err
	})
	return remove
}

// putClusterPolicy makes a policy about who may reach the pods of a namespace.
func putClusterPolicy(t *testing.T, client dynamic.Interface, name, tier, action, namespace string) {
	t.Helper()
	text := fmt.Sprintf(`{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: %s}, spec: {tier: %s, priority: 1,
		subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: %s}}}, ingress: [{action: %s, from: [{namespaces: {}}]}]}}`, name, tier, namespace, action)
	p := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &p.Object); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Resource(clusterPolicies).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// The tiers reach packets: Admin over NetworkPolicies, Baseline below them.
func TestClusterNetworkPoliciesReachPackets(t *testing.T) {
	client, err := dynamic.NewForConfig(adminConfig)
	if err != nil {
		t.Fatal(err)
	}
	remove := install(t, client)
	const nodeName, ns = "node-tiers", "tiers"
	createNode(t, nodeName, node.Gateway4.String())
	createNamespace(t, ns, "enforce")
	client1, server := node.NewPod(t, "vtclient", "10.99.11.2", "fd99::11:2"), node.NewPod(t, "vtserver", "10.99.11.3", "fd99::11:3")
	createPod(t, nodeName, ns, "client", nil, client1)
	createPod(t, nodeName, ns, "server", nil, server)
	echo(t, server, 3000)
	start(t, nodeName, nil)
	passes := func() error { return reach(client1, server.Addrs[0], 3000) }
	drops := func() error {
		if err := passes(); !isDropped(err) {
			return fmt.Errorf("got %w, want packets dropped", err)
		}
		return nil
	}

	eventually(t, "nothing denies", passes)
	putClusterPolicy(t, client, "base", "Baseline", "Deny", ns)
	eventually(t, "the Baseline tier denies", drops)
	apply(t, ns, allow("server", "server", "client", 3000))
	eventually(t, "a NetworkPolicy comes before the Baseline tier", passes)
	putClusterPolicy(t, client, "top", "Admin", "Deny", ns)
	eventually(t, "the Admin tier comes before NetworkPolicies", drops)
	flows(t, &flowpb.FlowFilter{DestinationPod: []string{ns + "/server"}, Verdict: []flowpb.Verdict{flowpb.Verdict_DROPPED}}, func(f *flowpb.Flow) error {
		if got := policyNames(f.GetIngressDeniedBy()); got != "ClusterNetworkPolicy /top" || f.GetDropReasonDesc() != flowpb.DropReason_POLICY_DENY {
			return fmt.Errorf("denied by %q for %s", got, f.GetDropReasonDesc())
		}
		return nil
	})
	if err := client.Resource(clusterPolicies).Delete(t.Context(), "top", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Admin tier is empty again", passes)
	putClusterPolicy(t, client, "top", "Admin", "Deny", ns)
	eventually(t, "the Admin tier denies once more", drops)
	remove()
	eventually(t, "the kind is gone, and its policies with it", passes)
}
