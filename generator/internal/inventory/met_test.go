// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// TestMet: whoever was named at an address before, and however, an end is what it is by its own record. Two of the
// workloads' pods are in the inventory; those of agent are on their nodes' network.
func TestMet(t *testing.T) {
	var objects []runtime.Object
	for _, name := range []string{"web", "api", "agent"} {
		labels := map[string]string{"app": name}
		template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{HostNetwork: name == "agent"}}
		objects = append(objects, &appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec:       appsv1.StatefulSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
		})
		if name != "api" {
			objects = append(objects, &corev1.Pod{Spec: template.Spec, ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: name + "-0", Labels: labels,
				OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: name, Controller: new(true)}},
			}})
		}
	}
	var (
		lists      = [][]string{nil, {"k8s:app=web"}, {"k8s:app=api"}, {"k8s:app=api", "k8s:x=y"}}
		random     = rand.New(rand.NewPCG(1, 2))
		a          = inventory.New(objects).Attribute(edge.DefaultLimits)
		kinds      = map[edge.Endpoint]bool{}
		known, all int
	)
	one := func(words ...string) string { return words[random.IntN(len(words))] }
	end := func() flows.Endpoint {
		return flows.Endpoint{
			Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(3))}), Namespace: one("shop", "shop", "other"), Pod: one("web-0", "api-0", "agent-0", ""),
			Kind: one("StatefulSet", "Deployment", "TaskRun"), Workload: one("", "web", "agent"), Labels: lists[random.IntN(len(lists))],
		}
	}
	for i := range 50_000 {
		r := &flows.Record{
			ID: uint64(i), Time: hour, Oriented: true, Side: flows.Egress, Verdict: flows.Forwarded, Protocol: "TCP", DestinationPort: 80,
			Source: end(), Destination: end(),
		}
		for _, e := range []*flows.Endpoint{&r.Source, &r.Destination} {
			met, anew, was := a.Ends(e, r)
			if met != anew {
				t.Fatalf("%+v is %v; without what was before it is %v", e, met, anew)
			}
			kinds[anew] = true
			if all++; was {
				known++
			}
		}
		if err := a.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if len(kinds) < 10 || known < all/20 || known > all/2 {
		t.Errorf("%d kinds of ends; %d of %d were met before", len(kinds), known, all)
	}
}

// TestMetBound: pods at ever new addresses are forgotten, and are what they were when they come again.
func TestMetBound(t *testing.T) {
	a := inventory.New(nil).Attribute(edge.DefaultLimits)
	for _, i := range []int{0, inventory.MaxMet, 0} {
		for n := range inventory.MaxMet {
			e := flows.Endpoint{Addr: external(i + n), Namespace: "shop", Pod: fmt.Sprintf("web-%d", i+n), Kind: "Job", Workload: "web"}
			r := &flows.Record{ID: uint64(n), Time: hour, Oriented: true, Side: flows.Egress, Verdict: flows.Forwarded, Protocol: "TCP", Source: e, Destination: e}
			if err := a.Add(r); err != nil {
				t.Fatal(err)
			}
			if met, anew, known := a.Ends(&e, r); met != anew || !known || a.Met() > inventory.MaxMet {
				t.Fatalf("%s: %v, %v by the record alone; met: %v; %d addresses", e.Pod, met, anew, known, a.Met())
			}
		}
	}
}
