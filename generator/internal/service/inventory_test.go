// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// earlier is a CustomResourceDefinition of a kind that the module does not carry any more.
const earlier = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: %[1]s.policy.networking.k8s.io
  annotations: {api-approved.kubernetes.io: "unapproved, for a test"}
spec:
  group: policy.networking.k8s.io
  names: {kind: %[2]s, plural: %[1]s}
  scope: Cluster
  versions:
    - {name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

// TestClusterPolicies: policies for the whole cluster are read with the chart's permissions where the cluster has their kinds, and
// it need not have them.
func TestClusterPolicies(t *testing.T) {
	admin, ours := connect(t)
	of := func() string {
		inv, err := inventory.FromCluster(t.Context(), ours)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(inv.ClusterPolicies("shop"))
	}
	if got := of(); got != "[]" {
		t.Errorf("without the kinds: %s", got)
	}
	definition, err := cluster.PolicyDefinition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	create(t, admin, definitions, definition)
	create(t, admin, "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies", `{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: open},
 spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Accept, from: [{namespaces: {}}]}]}}`)
	if got := of(); got != "[ClusterNetworkPolicy open]" {
		t.Errorf("with one kind: %s", got)
	}
	for kind, spec := range map[string]string{"AdminNetworkPolicy": "priority: 1, subject: {namespaces: {}}", "BaselineAdminNetworkPolicy": "subject: {namespaces: {}}"} {
		plural := strings.ToLower(strings.TrimSuffix(kind, "y")) + "ies"
		create(t, admin, definitions, fmt.Sprintf(earlier, plural, kind))
		create(t, admin, "/apis/policy.networking.k8s.io/v1alpha1/"+plural, "{apiVersion: policy.networking.k8s.io/v1alpha1, kind: "+kind+", metadata: {name: default}, spec: {"+spec+"}}")
	}
	if got := of(); got != "[AdminNetworkPolicy default ClusterNetworkPolicy open BaselineAdminNetworkPolicy default]" {
		t.Errorf("with all: %s", got)
	}
}

// create makes an object. An API that was just defined is served a little later.
func create(t *testing.T, admin kubernetes.Interface, path, object string) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		err := admin.Discovery().RESTClient().Post().AbsPath(path).SetHeader("Content-Type", "application/yaml").Body([]byte(object)).Do(ctx).Error()
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return true, err
	})
	if err != nil {
		t.Fatal(err)
	}
}
