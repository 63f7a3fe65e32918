// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/agent"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// The node says whether policies are enforced there, and Events say when that changed.
func TestNodeCondition(t *testing.T) {
	const nodeName, ns = "node-condition", "condition"
	createNode(t, nodeName, node.Gateway4.String())
	createNamespace(t, ns, "enforce")
	rest := onNode(t, nodeName)
	stop := start(t, nodeName, func(c *agent.Config) { c.REST = rest })
	enforced := conditionIs(t, nodeName, corev1.ConditionTrue, "PoliciesEnforced", "policies are enforced as the API server says")
	if !strings.HasPrefix(enforced.Message, "generation ") {
		t.Errorf("message %q does not begin with the generation", enforced.Message)
	}
	eventIs(t, nodeName, corev1.EventTypeNormal, "PoliciesEnforced")

	createPod(t, nodeName, ns, "lost", nil, node.Unconnected("vcondlost", "10.99.22.2"))
	problem := conditionIs(t, nodeName, corev1.ConditionFalse, "NotUpToDate", "find the interface of pod condition/lost")
	if waited := problem.LastHeartbeatTime.Sub(enforced.LastHeartbeatTime.Time); waited < 9*time.Second { // times have whole seconds
		t.Errorf("written again after %s, want 10s at least", waited)
	}
	if problem.LastTransitionTime != problem.LastHeartbeatTime {
		t.Errorf("transition %v, heartbeat %v: want the same for another status", problem.LastTransitionTime, problem.LastHeartbeatTime)
	}
	eventIs(t, nodeName, corev1.EventTypeWarning, "NotUpToDate")
	stop()
	conditionIs(t, nodeName, corev1.ConditionFalse, "EnforcementEnded", "ended enforcement")
}

// Who stops leaves a condition that does not say that policies are still kept up to date.
func TestNodeConditionOfWhoStopped(t *testing.T) {
	createNode(t, "node-stopped", "192.0.2.40")
	stopped := onNode(t, "node-stopped")
	pins := t.TempDir() + "/bpf"
	for _, tc := range []struct {
		cleanUp bool
		status  corev1.ConditionStatus
		reason  string
	}{{false, corev1.ConditionUnknown, "AgentStopped"}, {true, corev1.ConditionFalse, "EnforcementEnded"}} {
		stop := start(t, "node-stopped", func(c *agent.Config) { c.REST, c.PinPath, c.CleanUp = stopped, pins, tc.cleanUp })
		conditionIs(t, "node-stopped", corev1.ConditionTrue, "PoliciesEnforced", "")
		stop()
		conditionIs(t, "node-stopped", tc.status, tc.reason, "the agent has stopped")
	}
}

func conditionIs(t *testing.T, nodeName string, status corev1.ConditionStatus, reason, message string) (found corev1.NodeCondition) {
	t.Helper()
	eventually(t, fmt.Sprintf("the condition is %s, %s", status, reason), func() error {
		n, err := admin.CoreV1().Nodes().Get(t.Context(), nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range n.Status.Conditions {
			if c.Type == agent.Enforcing && c.Status == status && c.Reason == reason && strings.Contains(c.Message, message) {
				found = c
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", n.Status.Conditions)
	})
	return found
}

func eventIs(t *testing.T, nodeName, kind, reason string) {
	t.Helper()
	eventually(t, "an Event "+reason, func() error {
		events, err := admin.CoreV1().Events("").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Node,involvedObject.name=" + nodeName})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Type == kind && e.Reason == reason {
				return nil
			}
		}
		return fmt.Errorf("%d Events of the node, none of it", len(events.Items))
	})
}
