// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/apiclient"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/report"
)

// Enforcing is the type of the condition of nodes that says whether policies are enforced there.
const Enforcing corev1.NodeConditionType = "BulkheadEnforcing"

// The reasons of the condition.
const (
	reasonEnforcing      = "PoliciesEnforced"
	reasonStarting       = "Starting"
	reasonProblems       = "NotUpToDate"
	reasonSelfTestFailed = "SelfTestFailed"
	reasonStopped        = "AgentStopped"
	reasonEnded          = "EnforcementEnded"
)

const (
	// writeAtMost is the least time between two writes of the condition, and writeAtLeast the most: a condition
	// that is older tells that nobody writes it any more.
	writeAtMost  = 10 * time.Second
	writeAtLeast = 5 * time.Minute
	// writeWithin bounds one write.
	writeWithin = 5 * time.Second
	// maxMessage bounds the condition's message in bytes.
	maxMessage = 1024
)

// claim is what the condition says, without times. A new generation alone is no other claim: policies of a
// large cluster may change every second, and each node would write as often as it may.
type claim struct {
	status           corev1.ConditionStatus
	reason, problems string
}

// condition writes the condition of the node, and an Event when it changes. Only one goroutine uses it.
type condition struct {
	node     string
	log      *slog.Logger
	client   *rest.RESTClient
	recorder record.EventRecorder
	state    *state

	tried   time.Time // the last write, or the start
	written claim     // zero: nothing yet
	told    string    // the failure that was logged; empty: none
}

func newCondition(config Config, s *state, recorder record.EventRecorder) (*condition, error) {
	bounded := rest.CopyConfig(config.REST)
	bounded.Timeout = writeWithin
	client, err := apiclient.New(bounded, corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	return &condition{node: config.Node, log: config.Log, client: client, recorder: recorder, state: s, tried: time.Now()}, nil
}

// run writes until ctx ends.
func (c *condition) run(ctx context.Context) {
	for {
		r := c.state.current()
		select {
		case <-ctx.Done():
			return
		case <-c.state.changed:
		case <-time.After(c.wait(claimOf(&r), time.Now())):
			c.write(ctx, claimOf(&r), r.Generation)
		}
	}
}

// end is for when the agent has ended: enforcement with it, or not.
func (c *condition) end(cleanedUp bool) {
	generation := c.state.current().Generation
	last := claim{corev1.ConditionUnknown, reasonStopped, "the agent has stopped; the datapath goes on with its last policies"}
	if cleanedUp {
		last = claim{corev1.ConditionFalse, reasonEnded, "the agent has stopped and ended enforcement on this node"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdown)
	defer cancel()
	c.write(ctx, last, generation)
}

// wait is how long there is nothing to write. A start is only worth writing if it takes long.
func (c *condition) wait(now claim, at time.Time) time.Duration {
	switch {
	case c.written == (claim{}) && now.reason != reasonStarting && c.told == "":
		return 0
	case now != c.written:
		return c.tried.Add(writeAtMost).Sub(at)
	}
	return c.tried.Add(writeAtLeast).Sub(at)
}

func claimOf(r *report.Report) claim {
	now := claim{corev1.ConditionTrue, reasonEnforcing, strings.Join(r.Problems, "; ")}
	switch {
	case r.Generation == 0:
		now.status, now.reason = corev1.ConditionUnknown, reasonStarting
	case r.SelfTest == nil && len(r.Problems) == 1:
		now.status, now.reason = corev1.ConditionUnknown, reasonStarting
	case r.SelfTest != nil && !r.SelfTest.Passed:
		now.status, now.reason = corev1.ConditionFalse, reasonSelfTestFailed
	case !r.Ready:
		now.status, now.reason = corev1.ConditionFalse, reasonProblems
	}
	return now
}

func (now *claim) message(generation uint32) string {
	text := now.problems
	if text == "" {
		text = "policies are enforced as the API server says"
	}
	if generation > 0 {
		text = fmt.Sprintf("generation %d: %s", generation, text)
	}
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage-3], "") + "..."
	}
	return text
}

// write tries once. A failure is logged when it is another one than before, and is no reason not to be ready:
// what is enforced does not depend on it.
func (c *condition) write(ctx context.Context, now claim, generation uint32) {
	c.tried = time.Now()
	changed, err := c.patch(ctx, now, now.message(generation))
	if err != nil {
		if ctx.Err() == nil && err.Error() != c.told {
			c.told = err.Error()
			c.log.Warn("the node's condition could not be written, trying again", "condition", Enforcing, "error", err)
		}
		return
	}
	c.told, c.written = "", now
	if changed != nil {
		kind := corev1.EventTypeWarning
		if now.status == corev1.ConditionTrue {
			kind = corev1.EventTypeNormal
		}
		c.recorder.Event(changed, kind, now.reason, now.message(generation))
	}
}

// patch writes the condition. It returns the node if the status is another one than before, else nil.
func (c *condition) patch(ctx context.Context, now claim, message string) (changed *corev1.Node, err error) {
	node := new(corev1.Node)
	if err := c.client.Get().Resource("nodes").Name(c.node).Do(ctx).Into(node); err != nil {
		return nil, fmt.Errorf("read node %s: %w", c.node, err)
	}
	at := metav1.Now()
	next := corev1.NodeCondition{
		Type: Enforcing, Status: now.status, Reason: now.reason, Message: message, LastHeartbeatTime: at, LastTransitionTime: at,
	}
	changed = node
	for _, before := range node.Status.Conditions {
		if before.Type == Enforcing && before.Status == now.status {
			next.LastTransitionTime, changed = before.LastTransitionTime, nil
		}
	}
	body, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{next}}})
	if err != nil {
		return nil, err
	}
	patch := c.client.Patch(types.StrategicMergePatchType).Resource("nodes").Name(c.node).SubResource("status").Body(body)
	if err := patch.Do(ctx).Error(); err != nil {
		return nil, fmt.Errorf("write the status of node %s: %w", c.node, err)
	}
	return changed, nil
}
