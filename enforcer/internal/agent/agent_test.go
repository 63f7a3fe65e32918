// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/agent"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/report"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

const (
	httpAddr   = "127.0.0.1:9967" // free: the network namespace is the tests' own
	hubbleAddr = "127.0.0.1:4244"
)

func currentReport(t *testing.T) *report.Report {
	t.Helper()
	r, err := report.Fetch(t.Context(), httpAddr)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// flows asks for the flows that a filter selects until want finds what it looks for.
func flows(t *testing.T, filter *flowpb.FlowFilter, want func(*flowpb.Flow) error) {
	t.Helper()
	conn, err := grpc.NewClient(hubbleAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := observerpb.NewObserverClient(conn).GetFlows(ctx, &observerpb.GetFlowsRequest{
		Number: 1000, Follow: true, Whitelist: []*flowpb.FlowFilter{filter},
	})
	if err != nil {
		t.Fatal(err)
	}
	last := errors.New("no flow was selected")
	for {
		event, err := stream.Recv()
		if err != nil {
			t.Fatalf("flows with %v: %v; the last one: %v", filter, err, last)
		}
		if f := event.GetFlow(); f != nil {
			if last = want(f); last == nil {
				return
			}
		}
	}
}

func allow(name, to, from string, port int) *networkingv1.NetworkPolicy {
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.PodSelector.MatchLabels = map[string]string{"app": to}
	target := intstr.FromInt(port)
	p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{
		From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": from}}}},
		Ports: []networkingv1.NetworkPolicyPort{{Port: &target}},
	}}
	return p
}

func denyAll() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "default-deny"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	}
}

func apply(t *testing.T, namespace string, policies ...*networkingv1.NetworkPolicy) {
	t.Helper()
	for _, p := range policies {
		if _, err := admin.NetworkingV1().NetworkPolicies(namespace).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func setMode(t *testing.T, namespace, mode string) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{"bulkhead.dev/mode":%q}}}`, mode)
	if _, err := admin.CoreV1().Namespaces().Patch(t.Context(), namespace, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func policyNames(policies []*flowpb.Policy) string {
	var names []string
	for _, p := range policies {
		names = append(names, p.GetKind()+" "+p.GetNamespace()+"/"+p.GetName())
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// The whole way: objects in a real API server, packets between real pods, flows over gRPC.
func TestPoliciesReachPackets(t *testing.T) {
	const nodeName, ns = "node-reach", "reach"
	createNode(t, nodeName, node.Gateway4.String())
	createNamespace(t, ns, "enforce")
	createNamespace(t, "stranger", "enforce")
	front := node.NewPod(t, "vfront", "10.99.10.2", "fd99::10:2")
	api := node.NewPod(t, "vapi", "10.99.10.3", "fd99::10:3")
	thief := node.NewPod(t, "vthief", "10.99.10.4", "fd99::10:4")
	createPod(t, nodeName, ns, "frontend", nil, front)
	createPod(t, nodeName, ns, "api", createReplicaSet(t, ns, "api"), api)
	createPod(t, nodeName, "stranger", "thief", nil, thief)
	echo(t, api, 3000)
	apply(t, ns, denyAll(), allow("api", "api", "frontend", 3000))
	start(t, nodeName, nil)

	for _, addr := range api.Addrs {
		if err := reach(front, addr, 3000); err != nil {
			t.Errorf("frontend to api at %s: %v, want allowed", addr, err)
		}
		if err := reach(thief, addr, 3000); !isDropped(err) {
			t.Errorf("thief to api at %s: %v, want dropped", addr, err)
		}
	}
	t.Run("flow of an allowed connection", func(t *testing.T) {
		flows(t, &flowpb.FlowFilter{
			DestinationPod: []string{ns + "/api"}, Verdict: []flowpb.Verdict{flowpb.Verdict_FORWARDED},
			TrafficDirection: []flowpb.TrafficDirection{flowpb.TrafficDirection_INGRESS},
		}, func(f *flowpb.Flow) error {
			got := fmt.Sprintf("%s/%s -> %s %s:%d allowed by %s, %d connection, reply %v, node %s",
				f.GetSource().GetNamespace(), f.GetSource().GetPodName(),
				f.GetDestination().GetWorkloads()[0].GetKind(), f.GetDestination().GetWorkloads()[0].GetName(),
				f.GetL4().GetTCP().GetDestinationPort(), policyNames(f.GetIngressAllowedBy()),
				f.GetAggregate().GetIngressFlowCount(), f.GetIsReply() == nil || f.GetIsReply().GetValue(), f.GetNodeName())
			want := "reach/frontend -> Deployment api:3000 allowed by NetworkPolicy reach/api, 1 connection, reply false, node node-reach"
			if got != want || !slices.Contains(f.GetSource().GetLabels(), "k8s:app=frontend") {
				return fmt.Errorf("got  %s\nwant %s", got, want)
			}
			return nil
		})
	})
	t.Run("flow of a dropped connection", func(t *testing.T) {
		flows(t, &flowpb.FlowFilter{SourcePod: []string{"stranger/"}, Verdict: []flowpb.Verdict{flowpb.Verdict_DROPPED}},
			func(f *flowpb.Flow) error {
				want := "NetworkPolicy reach/api, NetworkPolicy reach/default-deny"
				if got := policyNames(f.GetIngressDeniedBy()); got != want || f.GetDropReasonDesc() != flowpb.DropReason_POLICY_DENIED {
					return fmt.Errorf("denied by %q for %s, want %q", got, f.GetDropReasonDesc(), want)
				}
				return nil
			})
	})
	t.Run("revocation reaches an open connection", func(t *testing.T) {
		open, err := dial(front, api.Addrs[0], 3000)
		if err != nil {
			t.Fatal(err)
		}
		defer open.Close()
		if err := talk(open); err != nil {
			t.Fatal(err)
		}
		if err := admin.NetworkingV1().NetworkPolicies(ns).Delete(t.Context(), "api", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the open connection stops", func() error {
			if err := talk(open); !isDropped(err) {
				return fmt.Errorf("talking: %w, want packets dropped", err)
			}
			return nil
		})
	})
	t.Run("audit drops nothing and says what it would", func(t *testing.T) {
		setMode(t, ns, "audit")
		eventually(t, "thief gets through", func() error { return reach(thief, api.Addrs[1], 3000) })
		flows(t, &flowpb.FlowFilter{SourcePod: []string{"stranger/thief"}, Verdict: []flowpb.Verdict{flowpb.Verdict_AUDIT}},
			func(f *flowpb.Flow) error {
				if got := policyNames(f.GetIngressDeniedBy()); got != "NetworkPolicy reach/default-deny" {
					return fmt.Errorf("would be denied by %q", got)
				}
				return nil
			})
	})
	t.Run("a pod goes", func(t *testing.T) {
		now := int64(0)
		err := admin.CoreV1().Pods("stranger").Delete(t.Context(), "thief", metav1.DeleteOptions{GracePeriodSeconds: &now})
		if err != nil {
			t.Fatal(err)
		}
		thief.RemoveLink()
		eventually(t, "its endpoint is gone and the agent is ready", func() error {
			r := currentReport(t)
			if len(r.Endpoints) != 2 || !r.Ready {
				return fmt.Errorf("endpoints %v, ready %v: %v", r.Endpoints, r.Ready, r.Problems)
			}
			return nil
		})
	})
}

// The interface of a pod may come after its address, and go before its object.
func TestInterfacesComeAndGo(t *testing.T) {
	const nodeName, ns = "node-late", "late"
	createNode(t, nodeName, "192.0.2.7")
	createNamespace(t, ns, "enforce")
	start(t, nodeName, nil)

	late := node.Unconnected("vlate", "10.99.11.2")
	createPod(t, nodeName, ns, "late", nil, late)
	notReady := func() error {
		code, _, err := get("http://" + httpAddr + "/readyz")
		if err == nil && code != http.StatusServiceUnavailable {
			err = fmt.Errorf("status %d, want 503", code)
		}
		return err
	}
	eventually(t, "a pod without an interface: not ready", notReady)
	if r := currentReport(t); len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "pod late/late") {
		t.Errorf("problems %q do not name the pod", r.Problems)
	}
	p := node.NewPod(t, "vlate", "10.99.11.2")
	attached := func() error {
		r := currentReport(t)
		if !r.Ready || len(r.Endpoints) != 1 || !r.Endpoints[0].Attached || r.Endpoints[0].Ifindex != p.Ifindex {
			return fmt.Errorf("report %+v, want interface %d attached", r, p.Ifindex)
		}
		return nil
	}
	eventually(t, "the interface has come", attached)
	p.RemoveRoutes(t) // who has the address is known all the same
	eventually(t, "its route is gone", attached)
	p.RemoveLink()
	eventually(t, "the interface is gone", func() error {
		if r := currentReport(t); r.Ready || len(r.Endpoints) != 0 {
			return fmt.Errorf("report %+v", r)
		}
		return nil
	})
	p = node.NewPod(t, "vlate2", "10.99.11.2")
	eventually(t, "another one has come", attached)
}

// Enforcement does not depend on the agent: it goes on while there is none, and a new agent takes over.
func TestEnforcementOutlivesTheAgent(t *testing.T) {
	const nodeName, ns = "node-restart", "restart"
	createNode(t, nodeName, "192.0.2.8")
	createNamespace(t, ns, "enforce")
	a := node.NewPod(t, "vrestarta", "10.99.12.2")
	b := node.NewPod(t, "vrestartb", "10.99.12.3")
	createPod(t, nodeName, ns, "a", nil, a)
	createPod(t, nodeName, ns, "b", nil, b)
	echo(t, b, 80)
	echo(t, b, 81)
	apply(t, ns, denyAll(), allow("b", "b", "a", 80))
	pinPath := t.TempDir() + "/bpf"
	staying := func(c *agent.Config) { c.PinPath, c.CleanUp = pinPath, false }
	judged := func(when string) {
		t.Helper()
		if err := reach(a, b.Addrs[0], 80); err != nil {
			t.Errorf("%s: allowed connection: %v", when, err)
		}
		if err := reach(a, b.Addrs[0], 81); !isDropped(err) {
			t.Errorf("%s: denied connection: %v, want dropped", when, err)
		}
	}
	stop := start(t, nodeName, staying)
	open, err := dial(a, b.Addrs[0], 80)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	stillOpen := func(when string) {
		t.Helper()
		if err := talk(open); err != nil {
			t.Errorf("%s: open connection: %v", when, err)
		}
	}
	judged("with the agent")
	generation := currentReport(t).Generation
	stop()
	judged("without an agent")
	stillOpen("without an agent")
	stop, _ = launch(t, "node-mistyped", staying)
	eventually(t, "the agent misses its Node", func() error {
		r, err := report.Fetch(t.Context(), httpAddr)
		if err == nil && !strings.Contains(strings.Join(r.Problems, ""), "no Node called node-mistyped") {
			err = fmt.Errorf("problems %q", r.Problems)
		}
		return err
	})
	judged("under an agent with another node's name")
	stop()
	stop = start(t, nodeName, func(c *agent.Config) { c.PinPath = pinPath })
	judged("with the next agent")
	stillOpen("with the next agent")
	if r := currentReport(t); r.Generation <= generation || len(r.Endpoints) != 2 {
		t.Errorf("next agent's report %+v, want 2 endpoints and a generation after %d", r, generation)
	}
	stop()
	// The kernel detaches a moment after the last reference is gone.
	eventually(t, "after clean-up nothing is judged", func() error { return reach(a, b.Addrs[0], 81) })
}

// A pod whose policies do not fit stays under its old ones; one that has none is cut off. All other pods go on.
func TestPoliciesThatDoNotFit(t *testing.T) {
	const nodeName, ns = "node-full", "full"
	createNode(t, nodeName, "192.0.2.11")
	createNamespace(t, ns, "enforce")
	createNamespace(t, "unenforced", "observe")
	a := node.NewPod(t, "vfulla", "10.99.13.2")
	b := node.NewPod(t, "vfullb", "10.99.13.3")
	other := node.NewPod(t, "vfullother", "10.99.13.4")
	createPod(t, nodeName, ns, "a", nil, a)
	createPod(t, nodeName, ns, "b", nil, b)
	createPod(t, nodeName, "unenforced", "other", nil, other)
	echo(t, b, 80)
	echo(t, b, 81)
	echo(t, other, 80)
	apply(t, ns, denyAll(), allow("b", "b", "a", 80))
	start(t, nodeName, nil)

	huge := allow("huge", "b", "a", 1)
	for port := 1000; len(huge.Spec.Ingress) <= plan.MaxRules; port++ {
		huge.Spec.Ingress = append(huge.Spec.Ingress, allow("", "b", "a", port).Spec.Ingress...)
	}
	apply(t, ns, huge)
	eventually(t, "the node says that it is not up to date", func() error {
		if r := currentReport(t); r.Ready || !strings.Contains(strings.Join(r.Problems, "\n"), "pod full/b: Ingress has") {
			return fmt.Errorf("ready %v, problems %q", r.Ready, r.Problems)
		}
		return nil
	})
	late, twin := node.NewPod(t, "vfulllate", "10.99.13.5"), node.NewPod(t, "vfulltwin", "10.99.13.6")
	createPod(t, nodeName, ns, "late", nil, late)
	createPod(t, nodeName, ns, "twin", nil, twin)
	echo(t, late, 80)
	echo(t, twin, 80)
	huge.Name, huge.Spec.PodSelector.MatchLabels = "twins", map[string]string{"app": "twin"}
	apply(t, ns, huge, allow("late", "late", "a", 80), allow("twin", "twin", "a", 80))
	eventually(t, "a new pod has its policies", func() error { return reach(a, late.Addrs[0], 80) })
	eventually(t, "a new pod whose policies do not fit is cut off", func() error {
		if r := currentReport(t); r.Ready || !strings.Contains(strings.Join(r.Problems, "\n"), "pod full/twin: Ingress has") {
			return fmt.Errorf("ready %v, problems %q", r.Ready, r.Problems)
		}
		if err := reach(a, twin.Addrs[0], 80); !isDropped(err) {
			return fmt.Errorf("a to twin: %w, want dropped", err)
		}
		return nil
	})
	if err := reach(a, b.Addrs[0], 80); err != nil {
		t.Errorf("allowed by the old policies: %v", err)
	}
	if err := reach(a, b.Addrs[0], 81); !isDropped(err) {
		t.Errorf("denied by the old policies: %v, want dropped", err)
	}
	for _, name := range []string{"huge", "twins"} {
		if err := admin.NetworkingV1().NetworkPolicies(ns).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all pods have their policies", func() error {
		if r := currentReport(t); !r.Ready {
			return fmt.Errorf("problems %q", r.Problems)
		}
		return reach(a, twin.Addrs[0], 80)
	})
}

// A policy that is wrong says so where people look, and takes nothing else down.
func TestInvalidPolicy(t *testing.T) {
	const nodeName, ns = "node-invalid", "invalid"
	createNode(t, nodeName, "192.0.2.9")
	createNamespace(t, ns, "enforce")
	wrong := allow("wrong", "api", "frontend", 3000)
	wrong.Spec.Ingress[0].From = []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "010.0.0.0/8"}}}
	apply(t, ns, wrong)
	start(t, nodeName, nil)
	eventually(t, "an Event on the policy", func() error {
		events, err := admin.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "InvalidPolicy" && e.InvolvedObject.Name == "wrong" && e.Type == corev1.EventTypeWarning {
				return nil
			}
		}
		return fmt.Errorf("%d events, none about the policy", len(events.Items))
	})
	if r := currentReport(t); !r.Ready || len(r.PolicyErrors) == 0 {
		t.Errorf("report %+v, want ready with a policy error", r)
	}
}

func TestMetrics(t *testing.T) {
	const nodeName = "node-metrics"
	createNode(t, nodeName, "192.0.2.10")
	start(t, nodeName, nil)
	_, body, err := get("http://" + httpAddr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"endpoints 0", "generation ", "ready 1", "policy_errors ", "update_failures_total 0", "update_duration_seconds_count",
		`flows_lost_total{where="kernel"} 0`, `packets_total{reason="isolation",verdict="dropped"}`,
	} {
		if !strings.Contains(body, "\nbulkhead_enforcer_"+name) {
			t.Errorf("metrics lack %s", name)
		}
	}
	var r report.Report
	code, text, err := get("http://" + httpAddr + "/status")
	if err != nil || code != http.StatusOK || json.Unmarshal([]byte(text), &r) != nil || r.Node != nodeName {
		t.Errorf("/status: %d %s %v", code, text, err)
	}
}
