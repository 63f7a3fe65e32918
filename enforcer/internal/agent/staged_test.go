// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"fmt"
	"slices"
	"testing"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// A staged policy drops nothing, and flows say what it would have dropped; then it goes live.
func TestStagedPolicies(t *testing.T) {
	const nodeName, ns = "node-staged", "staged"
	createNode(t, nodeName, node.Gateway4.String())
	createNamespace(t, ns, "enforce")
	client, server := node.NewPod(t, "vsclient", "10.99.14.2"), node.NewPod(t, "vsserver", "10.99.14.3")
	createPod(t, nodeName, ns, "client", nil, client)
	createPod(t, nodeName, ns, "server", nil, server)
	echo(t, server, 3000)
	staged := denyAll()
	staged.Annotations = map[string]string{netpol.AnnotationStaged: "true"}
	apply(t, ns, staged)
	start(t, nodeName, nil)

	if err := reach(client, server.Addrs[0], 3000); err != nil {
		t.Errorf("with a policy that is only staged: %v", err)
	}
	flows(t, &flowpb.FlowFilter{DestinationPod: []string{ns + "/server"}, Verdict: []flowpb.Verdict{flowpb.Verdict_FORWARDED}}, func(f *flowpb.Flow) error {
		if f.GetTrafficDirection() != flowpb.TrafficDirection_INGRESS {
			return fmt.Errorf("%s is not what is staged", f.GetTrafficDirection())
		}
		if by := f.GetIngressDeniedBy(); len(by) != 1 || by[0].GetName() != staged.Name || !slices.Contains(by[0].GetLabels(), "bulkhead.dev/staged=true") {
			return fmt.Errorf("to be denied by %v", by)
		}
		return nil
	})
	live := []byte(`{"metadata":{"annotations":null}}`)
	if _, err := admin.NetworkingV1().NetworkPolicies(ns).Patch(t.Context(), staged.Name, types.MergePatchType, live, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	// A change of a policy alone changes nothing about where packets are judged.
	for _, e := range currentReport(t).Endpoints {
		if !e.Attached {
			t.Errorf("%+v is not attached", e)
		}
	}
	eventually(t, "the policy is live", func() error {
		if err := reach(client, server.Addrs[0], 3000); !isDropped(err) {
			return fmt.Errorf("got %w, want packets dropped", err)
		}
		return nil
	})
}
