// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func namespace(name, mode string) *corev1.Namespace {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if mode != "" {
		ns.Labels = map[string]string{baseline.LabelMode: mode}
	}
	return ns
}

func pod(namespace, name string, addrs ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.PodSpec{NodeName: "here"}}
	for _, a := range addrs {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: a})
	}
	return p
}

var errNone = errors.New("none")

// interfaces finds interface n for addresses that end in ".n" or "::n".
func interfaces(addr netip.Addr) ([]uint32, error) {
	if n := addr.AsSlice()[len(addr.AsSlice())-1]; n < 200 {
		return []uint32{uint32(n)}, nil
	}
	return nil, errNone
}

func TestLocalEndpoints(t *testing.T) {
	elsewhere, host, done := pod("shop", "elsewhere", "10.0.0.7"), pod("shop", "host", "10.0.0.8"), pod("shop", "done", "10.0.0.9")
	elsewhere.Spec.NodeName = "there"
	host.Spec.HostNetwork = true
	done.Status.Phase = corev1.PodSucceeded
	m := newMirror("here", false)
	m.apply(netpol.Change{Set: netpol.Objects{
		Namespaces: []*corev1.Namespace{
			namespace("shop", "enforce"), namespace("trial", "audit"), namespace("old", ""), namespace("typo", "enforced"),
		},
		Pods: []*corev1.Pod{
			pod("typo", "d", "10.0.0.4"), pod("shop", "a", "10.0.0.1", "fd00::1"), pod("trial", "b", "10.0.0.2"), pod("old", "c", "fd00::3"),
			pod("shop", "starting"), elsewhere, host, done,
		},
	}})
	got, problems := m.localEndpoints(nil, interfaces)
	want := []plan.EndpointInput{
		{Pod: types.NamespacedName{Namespace: "old", Name: "c"}, Ifindex: 3, Mode: plan.Audit, Addrs: addrs("fd00::3")},
		{Pod: types.NamespacedName{Namespace: "shop", Name: "a"}, Ifindex: 1, Mode: plan.Enforce, Addrs: addrs("10.0.0.1", "fd00::1")},
		{Pod: types.NamespacedName{Namespace: "trial", Name: "b"}, Ifindex: 2, Mode: plan.Audit, Addrs: addrs("10.0.0.2")},
		{Pod: types.NamespacedName{Namespace: "typo", Name: "d"}, Ifindex: 4, Mode: plan.Audit, Addrs: addrs("10.0.0.4")},
	}
	if !slices.EqualFunc(got, want, plan.EndpointInput.Equal) || len(problems) != 0 {
		t.Errorf("got  %+v, problems %v\nwant %+v", got, problems, want)
	}
}

func addrs(list ...string) (parsed []netip.Addr) {
	for _, a := range list {
		parsed = append(parsed, netip.MustParseAddr(a))
	}
	return parsed
}

func TestLocalEndpointsProblems(t *testing.T) {
	ending := pod("shop", "ending", "10.0.0.250")
	ending.DeletionTimestamp = &metav1.Time{}
	m := newMirror("here", false)
	m.apply(netpol.Change{Set: netpol.Objects{Pods: []*corev1.Pod{
		pod("shop", "a", "10.0.0.1", "fd00::fa"), pod("shop", "b", "10.1.0.1"), ending,
	}}})
	got, problems := m.localEndpoints(nil, interfaces)
	if len(got) != 0 {
		t.Errorf("got %+v, want an interface that two pods claim to be nobody's", got)
	}
	if len(problems) != 2 || !errors.Is(problems[0], errNone) || !strings.Contains(problems[0].Error(), "pod shop/a") ||
		!strings.Contains(problems[1].Error(), "interface 1: pods shop/a and shop/b both seem to be behind it") {
		t.Errorf("problems: %v", problems)
	}
	last := pod("shop", "a", "10.0.0.1")
	last.DeletionTimestamp = &metav1.Time{}
	m.apply(netpol.Change{Set: netpol.Objects{Pods: []*corev1.Pod{last}}})
	if got, problems = m.localEndpoints(nil, interfaces); len(got) != 1 || got[0].Pod.Name != "b" || len(problems) != 0 {
		t.Errorf("while a ends: %+v, problems %v; want the interface of b", got, problems)
	}
}

func TestAddresses(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "here"}}
	node.Status.Addresses = []corev1.NodeAddress{{Address: "192.0.2.1"}, {Address: "here.example"}, {Address: "127.0.0.1"}}
	got := nodeAddrs(addrs("127.0.0.1"), node)
	if want := addrs("127.0.0.1", "192.0.2.1"); !slices.Equal(got, want) {
		t.Errorf("node addresses %v, want %v", got, want)
	}
	headless := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "headless"}, Spec: corev1.ServiceSpec{ClusterIPs: []string{"None"}}}
	dual := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "dual"}, Spec: corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.1", "fd00::96"}}}
	outside := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "outside"}, Spec: corev1.ServiceSpec{ExternalIPs: []string{"192.0.2.9"}}}
	outside.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.9"}, {Hostname: "lb.example"}}
	m := newMirror("here", false)
	m.apply(netpol.Change{Set: netpol.Objects{Services: []*corev1.Service{headless, dual, outside}}})
	if got, want := m.serviceAddrs(), addrs("10.96.0.1", "192.0.2.9", "203.0.113.9", "fd00::96"); !slices.Equal(got, want) {
		t.Errorf("service addresses %v, want %v", got, want)
	}
}

// What is deleted, or changes so that it is not of interest any more, leaves nothing behind.
func TestMirrorForgets(t *testing.T) {
	m := newMirror("here", false)
	invalid := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "wrong"}}
	invalid.Spec.PodSelector.MatchLabels = map[string]string{"a": "not a value!"}
	objs := netpol.Objects{
		Namespaces: []*corev1.Namespace{namespace("shop", "enforce")},
		Pods:       []*corev1.Pod{pod("shop", "a", "10.0.0.1")},
		Services:   []*corev1.Service{{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "s"}, Spec: corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.1"}}}},
		Nodes:      []*corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "here"}}},
		Policies:   []*networkingv1.NetworkPolicy{invalid},
	}
	m.apply(netpol.Change{Set: objs})
	if len(m.faults) != 1 || len(m.nodes) != 1 || len(m.pods) != 1 || m.modes["shop"] != plan.Enforce {
		t.Fatalf("mirrored %+v", m)
	}
	done := objs.Pods[0].DeepCopy()
	done.Status.Phase = corev1.PodFailed
	m.apply(netpol.Change{Set: netpol.Objects{Pods: []*corev1.Pod{done}, Namespaces: []*corev1.Namespace{namespace("shop", "audit")}}})
	if len(m.pods) != 0 || m.modes["shop"] != plan.Audit {
		t.Errorf("a pod that ended and a namespace that is not enforced any more: %v, %v", m.pods, m.modes)
	}
	m.apply(netpol.Change{Set: objs})
	m.apply(netpol.Change{Deleted: []netpol.Key{
		{Kind: "Namespace", Name: "shop"},
		{Kind: "Pod", Namespace: "shop", Name: "a"},
		{Kind: "Service", Namespace: "shop", Name: "s"},
		{Kind: "Node", Name: "here"},
		{Kind: "NetworkPolicy", Namespace: "shop", Name: "wrong"},
	}})
	if len(m.faults)+len(m.nodes)+len(m.pods)+len(m.modes)+len(m.services)+len(m.rejects) != 0 {
		t.Errorf("left behind: %+v", m)
	}
}

func TestDenyWith(t *testing.T) {
	for _, c := range []struct {
		agent      bool
		annotation string
		want       bool
	}{{false, "", false}, {true, "", true}, {false, "reject", true}, {true, "drop", false}, {true, "typo", true}, {false, "typo", false}} {
		m, ns := newMirror("here", c.agent), namespace("shop", "enforce")
		ns.Annotations = map[string]string{baseline.AnnotationDenyWith: c.annotation}
		m.apply(netpol.Change{Set: netpol.Objects{Namespaces: []*corev1.Namespace{ns}}})
		if got := m.input(types.NamespacedName{Namespace: "shop", Name: "a"}, 1, nil).Reject; got != c.want {
			t.Errorf("agent %v, annotation %q: reject %v, want %v", c.agent, c.annotation, got, c.want)
		}
	}
}
