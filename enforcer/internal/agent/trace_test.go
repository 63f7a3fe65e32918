// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/report"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/trace"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

func traced(t *testing.T, from, to string, port uint16, protocol corev1.Protocol) (*trace.Report, error) {
	t.Helper()
	body, err := json.Marshal(trace.Query{From: from, To: to, Port: port, Protocol: protocol})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := report.Ask(t.Context(), httpAddr, "/trace", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	var r trace.Report
	return &r, json.NewDecoder(answer).Decode(&r)
}

// everything lists what the API server has.
func everything(t *testing.T) *netpol.Snapshot {
	t.Helper()
	all := metav1.ListOptions{}
	namespaces, err1 := admin.CoreV1().Namespaces().List(t.Context(), all)
	pods, err2 := admin.CoreV1().Pods("").List(t.Context(), all)
	services, err3 := admin.CoreV1().Services("").List(t.Context(), all)
	nodes, err4 := admin.CoreV1().Nodes().List(t.Context(), all)
	policies, err5 := admin.NetworkingV1().NetworkPolicies("").List(t.Context(), all)
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			t.Fatal(err)
		}
	}
	snapshot, err := netpol.Compile(netpol.Objects{
		Namespaces: pointers(namespaces.Items), Pods: pointers(pods.Items), Services: pointers(services.Items), Nodes: pointers(nodes.Items),
		Policies: pointers(policies.Items),
	})
	if snapshot == nil {
		t.Fatal(err)
	}
	return snapshot
}

func pointers[T any](items []T) (all []*T) {
	for i := range items {
		all = append(all, &items[i])
	}
	return all
}

// tracedCluster is four pods on this node and one on another, in two namespaces, with policies of each kind.
func tracedCluster(t *testing.T, nodeName string) (ends []string) {
	t.Helper()
	createNode(t, nodeName, node.Gateway4.String())
	createNode(t, nodeName+"-other", "192.0.2.50")
	createNamespace(t, "traced", "enforce")
	createNamespace(t, "tracedaudit", "audit")
	for i, p := range []struct{ namespace, name string }{{"traced", "web"}, {"traced", "api"}, {"traced", "db"}, {"tracedaudit", "tool"}} {
		four, six := fmt.Sprintf("10.99.24.%d", i+2), fmt.Sprintf("fd99::24:%d", i+2)
		createPod(t, nodeName, p.namespace, p.name, nil, node.NewPod(t, "vtrace"+p.name, four, six))
		ends = append(ends, p.namespace+"/"+p.name, four, six)
	}
	createPod(t, nodeName+"-other", "traced", "far", nil, node.Unconnected("", "10.98.0.2", "fd98::2"))
	egress := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "web-out", Annotations: map[string]string{netpol.CommitAnnotation: "c0ffee"}}}
	egress.Spec.PodSelector.MatchLabels = map[string]string{"app": "web"}
	egress.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
	egress.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{
		{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "fd99::24:0/112"}}}},
		{To: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}},
	}
	udp, from, to := corev1.ProtocolUDP, intstr.FromInt32(5000), int32(5010)
	ranged := allow("db-range", "db", "api", 1)
	ranged.Spec.Ingress[0].Ports = []networkingv1.NetworkPolicyPort{{Protocol: &udp, Port: &from, EndPort: &to}}
	staged := allow("db-next", "db", "web", 3000)
	staged.Annotations = map[string]string{netpol.AnnotationStaged: "true"}
	apply(t, "traced", denyAll(), allow("api", "api", "web", 3000), ranged, egress, staged)
	apply(t, "tracedaudit", denyAll())
	family := corev1.IPFamilyPolicyPreferDualStack
	_, err := admin.CoreV1().Services("traced").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "entry"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "api"}, IPFamilyPolicy: &family,
			Ports: []corev1.ServicePort{{Name: "web", Port: 80, TargetPort: intstr.FromInt32(3000)}, {Name: "wrong", Port: 81, TargetPort: intstr.FromInt32(3001)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return append(ends, "traced/far", "10.98.0.2", "fd98::2", "203.0.113.7", "2001:db8::7", node.Gateway4.String())
}

// For every pair of ends, in both families, the live maps say what the policies mean, by the same rule.
func TestTraceAgreesWithTheEvaluator(t *testing.T) {
	const nodeName = "node-trace"
	ends := tracedCluster(t, nodeName)
	start(t, nodeName, nil)
	eventually(t, "the Service is known", func() error {
		_, err := traced(t, "traced/web", "traced/svc/entry", 80, corev1.ProtocolTCP)
		return err
	})
	checkStaged(t)
	snapshot := everything(t)
	asked, denied := 0, 0
	for _, from := range ends {
		for _, to := range append(ends, "traced/svc/entry") {
			for _, port := range []struct {
				number   uint16
				protocol corev1.Protocol
			}{{80, corev1.ProtocolTCP}, {81, corev1.ProtocolTCP}, {3000, corev1.ProtocolTCP}, {5005, corev1.ProtocolUDP}, {5011, corev1.ProtocolUDP}, {3000, corev1.ProtocolSCTP}} {
				question := fmt.Sprintf("%s to %s %s/%d", from, to, port.protocol, port.number)
				e := snapshot.Explain(netpol.Connection{From: peer(from), To: peer(to), Protocol: port.protocol, Port: port.number})
				r, err := traced(t, from, to, port.number, port.protocol)
				if !answerable(&e, nodeName) {
					if err == nil && e.Egress.Decision.Reason != netpol.UnknownBackend {
						t.Errorf("%s: %+v; want no answer", question, r)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", question, err)
					continue
				}
				asked++
				sameSide(t, question, &e.Egress, &r.Egress, nodeName)
				sameSide(t, question, &e.Ingress, &r.Ingress, nodeName)
				if !r.Allowed {
					denied++
				}
			}
		}
	}
	t.Logf("%d connections, %d of them denied", asked, denied)
	if asked < 1000 || denied < 100 || asked-denied < 100 {
		t.Errorf("%d connections, %d of them denied: too few to tell", asked, denied)
	}
}

// What staged policies say stands beside the live ones.
func checkStaged(t *testing.T) {
	t.Helper()
	r, err := traced(t, "traced/web", "traced/db", 3000, corev1.ProtocolTCP)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Ingress.Staged; r.Allowed || s == nil || !s.Allowed || len(s.By) != 1 || s.By[0].Name != "db-next" || s.By[0].Path != "spec.ingress[0]" {
		t.Errorf("allowed %v, staged %+v; want denied, and allowed by the staged policy", r.Allowed, s)
	}
	if r.Egress.Staged != nil {
		t.Errorf("staged %+v at a pod without staged policies", r.Egress.Staged)
	}
}

func peer(text string) netpol.Peer {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netpol.Peer{Addr: addr}
	}
	parts := strings.Split(text, "/")
	name := types.NamespacedName{Namespace: parts[0], Name: parts[len(parts)-1]}
	if len(parts) == 3 {
		return netpol.Peer{Service: name}
	}
	return netpol.Peer{Pod: name}
}

// answerable: both addresses are known and of one family, and one end is a pod of the node.
func answerable(e *netpol.Explanation, nodeName string) bool {
	from, to := e.Egress.Self, e.Ingress.Self
	return from.Addr.IsValid() && to.Addr.IsValid() && from.Addr.Is4() == to.Addr.Is4() &&
		(from.Pod.Name != "" && from.Node == nodeName || to.Pod.Name != "" && to.Node == nodeName)
}

func sameSide(t *testing.T, question string, want *netpol.Side, got *trace.Side, nodeName string) {
	t.Helper()
	if got.Judged != (want.Self.Pod.Name != "" && want.Self.Node == nodeName) {
		t.Errorf("%s: %s judged: %v", question, want.Direction, got.Judged)
	}
	if !got.Judged {
		return
	}
	d := &want.Decision
	var by []string
	for _, o := range d.By {
		by = append(by, o.String())
	}
	if d.Rule != nil {
		by = append(by, d.Rule.String())
	}
	var gotBy []string
	for _, p := range got.By {
		gotBy = append(gotBy, (&netpol.Origin{Kind: p.Kind, Namespace: p.Namespace, Name: p.Name, Path: p.Path}).String())
		if p.Name == "web-out" && p.Commit != "c0ffee" {
			t.Errorf("%s: %+v lacks the commit", question, p)
		}
	}
	if got.Allowed != d.Allowed || got.Reason != d.Reason || fmt.Sprint(gotBy) != fmt.Sprint(by) || got.Outdated {
		t.Errorf("%s: %s is %v %s by %v (outdated %v); want %v %s by %v",
			question, want.Direction, got.Allowed, got.Reason, gotBy, got.Outdated, d.Allowed, d.Reason, by)
	}
	if audited := strings.HasPrefix(got.Self.Pod, "tracedaudit/"); got.Passes != (d.Allowed || audited) {
		t.Errorf("%s: %s passes %v, in mode audit %v", question, want.Direction, got.Passes, audited)
	}
}

func TestTraceRefuses(t *testing.T) {
	createNode(t, "node-trace-none", "192.0.2.51")
	start(t, "node-trace-none", nil)
	for body, want := range map[string]string{
		`{"from":"a/b","to":"c/d","port":1}`:             `no pod of that name`,
		`{"from":"192.0.2.1","to":"192.0.2.2","port":1}`: "neither end is a pod of node node-trace-none",
		`<html>`: "the question is none",
	} {
		if _, err := report.Ask(t.Context(), httpAddr, "/trace", strings.NewReader(body)); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), fmt.Sprint(http.StatusBadRequest)) {
			t.Errorf("%s: %v; want %q", body, err, want)
		}
	}
}
