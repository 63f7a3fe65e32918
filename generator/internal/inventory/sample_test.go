// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// TestSample: a pod that its workload's selector does not select does not stand for it. Where no pod is left,
// one made of the template does.
func TestSample(t *testing.T) {
	web := edge.Endpoint{Kind: "StatefulSet", Namespace: "shop", Name: "web"}
	tests := []struct {
		name           string
		apps           []string // the label app of each pod
		peers, strayed string
	}{
		{"all alike", []string{"web", "web"}, "[shop/web-0]", "[]"},
		{"one aside", []string{"debug", "web"}, "[shop/web-1]", "[shop/web-0]"},
		{"all aside", []string{"debug", "debug"}, "[shop/StatefulSet+web]", "[shop/web-0 shop/web-1]"},
		{"none", nil, "[shop/StatefulSet+web]", "[]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sample := inventory.New(statefulSet(tt.apps)).Sample()
			peers, twins, err := sample.Peers(web)
			if err != nil || len(peers) != len(twins) {
				t.Fatalf("%v, %v, %v", peers, twins, err)
			}
			var names, strays []string
			for _, p := range peers {
				names = append(names, p.Pod.String())
			}
			for _, s := range sample.Strays {
				strays = append(strays, s.Pod.String())
			}
			if got := fmt.Sprint(names); got != tt.peers {
				t.Errorf("peers %s, want %s", got, tt.peers)
			}
			if got := fmt.Sprint(strays); got != tt.strayed {
				t.Errorf("strays %s, want %s", got, tt.strayed)
			}
			if got := sample.Selector(web).String(); got != "app=web" {
				t.Errorf("selector %s", got)
			}
		})
	}
}

func statefulSet(apps []string) []runtime.Object {
	labels := map[string]string{"app": "web"}
	objects := []runtime.Object{&appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec:       appsv1.StatefulSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}}},
	}}
	for i, app := range apps {
		objects = append(objects, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: fmt.Sprintf("web-%d", i), Labels: map[string]string{"app": app},
			OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: "web", Controller: new(true)}},
		}})
	}
	return objects
}
