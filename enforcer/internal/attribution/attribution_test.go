// SPDX-License-Identifier: Apache-2.0

package attribution_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/attribution"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

func pod(name, uid, addr string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, UID: types.UID(uid), ResourceVersion: "1", Labels: map[string]string{"app": name, "a": "b"},
	}}
	p.Status.PodIPs = []corev1.PodIP{{IP: addr}}
	return p
}

func noOwners(string, string, string) (*metav1.OwnerReference, bool) { return nil, false }

// one describes a single record.
func one(b *attribution.Book, r dataplane.Flow) *flowpb.Flow {
	return b.Flows([]dataplane.Flow{r})[0].Message()
}

func record(local, remote string, when time.Time) dataplane.Flow {
	return dataplane.Flow{
		Local: netip.MustParseAddr(local), Remote: netip.MustParseAddr(remote), Port: 80, SourcePort: 40000,
		Protocol: unix.IPPROTO_TCP, Rule: -1, Last: when, Connections: 1, Verdict: dataplane.Allowed, Direction: netpol.Egress,
	}
}

func TestAddressBelongsToWhoHadItThen(t *testing.T) {
	b := attribution.NewBook("node-1", noOwners)
	b.Pods([]*corev1.Pod{pod("old", "1", "10.0.0.2")}, nil, at(0))
	b.Pods(nil, []types.NamespacedName{{Namespace: "shop", Name: "old"}}, at(10))
	b.Pods([]*corev1.Pod{pod("new", "2", "10.0.0.2")}, nil, at(20))
	for seconds, want := range map[int]string{5: "old", 10: "old", 15: "new", 25: "new"} {
		if got := one(b, record("10.0.0.9", "10.0.0.2", at(seconds))).GetDestination().GetPodName(); got != want {
			t.Errorf("after %d s: %q, want %q", seconds, got, want)
		}
	}
	b.Pods([]*corev1.Pod{pod("new", "2", "10.0.0.2")}, nil, at(1000))
	if got := one(b, record("10.0.0.9", "10.0.0.2", at(5))).GetDestination().GetPodName(); got != "new" {
		t.Errorf("the old owner is still remembered after a quarter of an hour: %q", got)
	}
}

func TestWhatIsNoPod(t *testing.T) {
	node := func(name, addr string) *corev1.Node {
		return &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Address: name}, {Address: addr}}},
		}
	}
	host, done := pod("host", "1", "192.0.2.1"), pod("done", "2", "10.0.0.3")
	host.Spec.HostNetwork = true
	done.Status.Phase = corev1.PodFailed
	b := attribution.NewBook("node-1", noOwners)
	b.Pods([]*corev1.Pod{host, done}, nil, at(0))
	b.Nodes(map[string]*corev1.Node{"node-1": node("node-1", "192.0.2.1"), "node-2": node("node-2", "fd00::2")})
	for addr, want := range map[string]string{
		"192.0.2.1": "1 [reserved:host]", "fd00::2": "6 [reserved:remote-node]", "10.0.0.3": "2 [reserved:world]", "8.8.8.8": "2 [reserved:world]",
	} {
		got := one(b, record("10.0.0.9", addr, at(1))).GetDestination()
		if got.GetPodName() != "" || fmt.Sprint(got.GetIdentity(), " ", got.GetLabels()) != want {
			t.Errorf("%s is %v, want %s", addr, got, want)
		}
	}
}

func TestWorkload(t *testing.T) {
	yes := true
	known := map[string]*metav1.OwnerReference{}
	ownerOf := func(kind, _, name string) (*metav1.OwnerReference, bool) {
		o, found := known[kind+"/"+name]
		return o, found
	}
	owned := func(kind, name string) *corev1.Pod {
		p := pod("p", kind, "10.0.0.2")
		p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: name, Controller: &yes}}
		return p
	}
	workload := func(b *attribution.Book, p *corev1.Pod) string {
		b.Pods([]*corev1.Pod{p}, nil, at(0))
		w := one(b, record("10.0.0.2", "8.8.8.8", at(1))).GetSource().GetWorkloads()[0]
		return w.GetKind() + " " + w.GetName()
	}
	b := attribution.NewBook("node-1", ownerOf)
	for want, p := range map[string]*corev1.Pod{
		"Pod p": pod("p", "0", "10.0.0.2"), "DaemonSet agent": owned("DaemonSet", "agent"), "ReplicaSet api-1": owned("ReplicaSet", "api-1"),
	} {
		if got := workload(b, p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// The ReplicaSet may be heard of after its pod, without the pod changing.
	if got := workload(b, owned("ReplicaSet", "api-1")); got != "ReplicaSet api-1" {
		t.Errorf("got %q while the ReplicaSet is unknown", got)
	}
	known["ReplicaSet/api-1"] = &metav1.OwnerReference{Kind: "Deployment", Name: "api"}
	if w := one(b, record("10.0.0.2", "8.8.8.8", at(1))).GetSource().GetWorkloads()[0]; w.GetName() != "api" || w.GetKind() != "Deployment" {
		t.Errorf("got %v once the ReplicaSet is known", w)
	}
	known["Job/nightly-1"] = &metav1.OwnerReference{Kind: "CronJob", Name: "nightly"}
	known["Job/once"] = nil
	for want, p := range map[string]*corev1.Pod{
		"Deployment api": owned("ReplicaSet", "api-1"), "CronJob nightly": owned("Job", "nightly-1"), "Job once": owned("Job", "once"),
	} {
		if got := workload(attribution.NewBook("node-1", ownerOf), p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// world has one pod, shop/api behind interface 7, that policy allow-web lets shop/web in on port 80.
func world(t *testing.T) *plan.World {
	t.Helper()
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "allow-web", Annotations: map[string]string{netpol.CommitAnnotation: "c0ffee"},
	}}
	policy.Spec.PodSelector.MatchLabels = map[string]string{"app": "api"}
	policy.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{
		{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
	}}}
	snapshot, err := netpol.Compile(netpol.Objects{Pods: []*corev1.Pod{pod("api", "1", "10.0.0.2")}, Policies: []*networkingv1.NetworkPolicy{policy}})
	if err != nil {
		t.Fatal(err)
	}
	w, err := plan.Build(snapshot, plan.Input{Endpoints: []plan.EndpointInput{
		{Pod: types.NamespacedName{Namespace: "shop", Name: "api"}, Ifindex: 7, Mode: plan.Enforce},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestVerdictNamesItsPolicy(t *testing.T) {
	b := attribution.NewBook("node-1", noOwners)
	w := world(t)
	b.Pods([]*corev1.Pod{pod("api", "1", "10.0.0.2")}, nil, at(0))
	b.Interfaces(map[uint32]types.NamespacedName{7: {Namespace: "shop", Name: "api"}}, at(0))
	b.Prepare(w)
	b.Loaded(w, at(0))
	b.Loaded(&plan.World{Partial: true, FirstSet: 1, Endpoints: w.Endpoints}, at(1000))
	r := record("10.0.0.2", "10.0.0.3", at(1))
	r.Ifindex, r.Set, r.Direction = 7, w.Endpoints[7].Set, netpol.Ingress

	r.Rule, r.Connections = 0, 5
	f := one(b, r)
	got := fmt.Sprintf("%s %s %s:%d->%s:%d %s %d", f.GetVerdict(), f.GetTrafficDirection(), f.GetIP().GetSource(),
		f.GetL4().GetTCP().GetSourcePort(), f.GetDestination().GetPodName(), f.GetL4().GetTCP().GetDestinationPort(),
		f.GetIngressAllowedBy()[0].GetName(), f.GetAggregate().GetIngressFlowCount())
	if want := "FORWARDED INGRESS 10.0.0.3:40000->api:80 allow-web 5"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	labels := []string{"bulkhead.dev/rule=spec.ingress[0]", "bulkhead.dev/approved-commit=c0ffee"}
	if got := f.GetIngressAllowedBy()[0].GetLabels(); !slices.Equal(got, labels) {
		t.Errorf("labels %v, want %v", got, labels)
	}
	if f.GetIsReply() == nil || f.GetIsReply().GetValue() {
		t.Error("a connection whose opening was seen is no reply")
	}

	r.Staged = &dataplane.StagedJudgement{Verdict: dataplane.Denied, Rule: -1, Set: r.Set}
	staged := slices.Concat([]string{"bulkhead.dev/rule=spec", "bulkhead.dev/approved-commit=c0ffee"}, []string{"bulkhead.dev/staged=true"})
	if f = one(b, r); f.GetVerdict() != flowpb.Verdict_FORWARDED || len(f.GetIngressAllowedBy()) != 1 || !slices.Equal(f.GetIngressDeniedBy()[0].GetLabels(), staged) {
		t.Errorf("staged to be denied: %v", f)
	}
	r.Staged.Verdict = dataplane.Allowed
	if f = one(b, r); len(f.GetIngressDeniedBy()) != 0 {
		t.Errorf("what is staged says the same: %v", f)
	}
	r.Staged = nil

	r.Rule, r.Verdict = -1, dataplane.Denied
	f = one(b, r)
	if f.GetVerdict() != flowpb.Verdict_DROPPED || len(f.GetIngressDeniedBy()) != 1 || f.GetIngressDeniedBy()[0].GetName() != "allow-web" {
		t.Errorf("denied: %v", f)
	}
	r.Verdict = dataplane.WouldDeny
	if f = one(b, r); f.GetVerdict() != flowpb.Verdict_AUDIT || len(f.GetIngressDeniedBy()) != 1 || f.GetDropReasonDesc() != 0 {
		t.Errorf("would be denied: %v", f)
	}
	r.Adopted = r.Connections
	if f = one(b, r); f.GetIsReply() != nil {
		t.Error("nobody saw who opened the connection, and yet its direction is told")
	}
	b.Loaded(&plan.World{Partial: true, FirstSet: 1}, at(1001))
	if f = one(b, r); len(f.GetIngressDeniedBy()) != 1 {
		t.Error("the set is not in use any more, but was a moment ago: its policy is not named")
	}
	b.Loaded(&plan.World{Partial: true, FirstSet: 1}, at(2000))
	if f = one(b, r); len(f.GetIngressDeniedBy()) != 0 {
		t.Errorf("the set is long gone, and yet %v is named", f.GetIngressDeniedBy())
	}
}

// A pod takes its addresses with it, and what others have taken over in the meantime stays theirs.
func TestPodsMove(t *testing.T) {
	b := attribution.NewBook("node-1", noOwners)
	shop := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "shop", Name: name} }
	done := pod("job", "1", "10.0.0.2")
	b.Pods([]*corev1.Pod{pod("job", "1", "10.0.0.2")}, nil, at(0))
	b.Interfaces(map[uint32]types.NamespacedName{7: shop("job")}, at(0))
	done.Status.Phase = corev1.PodSucceeded
	b.Pods([]*corev1.Pod{done}, nil, at(10))
	b.Pods([]*corev1.Pod{pod("api", "2", "10.0.0.2")}, nil, at(20))
	b.Pods(nil, []types.NamespacedName{shop("job")}, at(30))
	b.Interfaces(map[uint32]types.NamespacedName{7: shop("api")}, at(30))
	b.Pods([]*corev1.Pod{pod("api", "3", "10.0.0.5")}, nil, at(40)) // made again under its name
	for _, c := range []struct {
		addr    string
		seconds int
		want    string
	}{{"10.0.0.2", 5, "job"}, {"10.0.0.2", 25, "api"}, {"10.0.0.2", 35, "api"}, {"10.0.0.2", 45, ""}, {"10.0.0.5", 45, "api"}} {
		if got := one(b, record("10.0.0.9", c.addr, at(c.seconds))).GetDestination().GetPodName(); got != c.want {
			t.Errorf("%s after %d s: %q, want %q", c.addr, c.seconds, got, c.want)
		}
	}
	for seconds, want := range map[int]string{5: "job", 35: "api", 45: "api"} {
		r := record("10.9.9.9", "8.8.8.8", at(seconds))
		r.Ifindex = 7
		if got := one(b, r).GetSource().GetPodName(); got != want {
			t.Errorf("interface 7 after %d s: %q, want %q", seconds, got, want)
		}
	}
}
