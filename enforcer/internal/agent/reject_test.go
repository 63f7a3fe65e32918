// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// Whether the sender of what is denied is told is the namespace's choice.
func TestDenyWith(t *testing.T) {
	const nodeName, ns = "node-reject", "reject"
	createNode(t, nodeName, node.Gateway4.String())
	createNamespace(t, ns, "enforce")
	client, server := node.NewPod(t, "vrclient", "10.99.15.2"), node.NewPod(t, "vrserver", "10.99.15.3")
	createPod(t, nodeName, ns, "client", nil, client)
	createPod(t, nodeName, ns, "server", nil, server)
	echo(t, server, 3000)
	apply(t, ns, denyAll())
	start(t, nodeName, nil)

	if err := reach(client, server.Addrs[0], 3000); !isDropped(err) {
		t.Errorf("by default: %v, want packets dropped", err)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"reject"}}}`, baseline.AnnotationDenyWith)
	if _, err := admin.CoreV1().Namespaces().Patch(t.Context(), ns, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the sender is told", func() error {
		if err := reach(client, server.Addrs[0], 3000); !errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("got %w, want the connection refused", err)
		}
		return nil
	})
}
