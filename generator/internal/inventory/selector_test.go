// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// set reads labels written as "a=1 b=2".
func set(text string) map[string]string {
	out := map[string]string{}
	for _, word := range strings.Fields(text) {
		key, value, _ := strings.Cut(word, "=")
		out[key] = value
	}
	return out
}

// TestSelectorsOfLabels: where pods' labels are all there is, those that name a version are left out, unless what is left
// selects somebody else, too.
func TestSelectorsOfLabels(t *testing.T) {
	cronJob := func(name, labels string) runtime.Object {
		c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
		c.Spec.JobTemplate.Spec.Template.Labels = set(labels)
		return c
	}
	for _, tt := range []struct{ labels, other, want string }{
		{"app=report", "app=clean", "app=report"},
		{"app=report helm.sh/chart=shop-1.2", "app=clean helm.sh/chart=shop-1.2", "app=report"},
		{"app=report version=1 app.kubernetes.io/version=1", "app=clean", "app=report"},
		{"instance=shop version=1", "instance=shop version=2", "instance=shop version=1"},
		{"helm.sh/chart=shop-1.2", "app=clean", "helm.sh/chart=shop-1.2"},
		{"app=report job-name=report-17 controller-uid=x", "app=clean", "app=report"},
	} {
		inv := New([]runtime.Object{cronJob("report", tt.labels), cronJob("clean", tt.other)})
		got := inv.Workload(edge.Endpoint{Kind: "CronJob", Namespace: "shop", Name: "report"}).Selector
		if got == nil || !maps.Equal(got.MatchLabels, set(tt.want)) {
			t.Errorf("%s beside %s: %v, want %s", tt.labels, tt.other, got, tt.want)
		}
	}
}

// TestOverlap: a workload whose selector selects another's pods, too, is told apart by what its own pods have, or else by
// what the others have.
func TestOverlap(t *testing.T) {
	deployment := func(name, selector, template string) *appsv1.Deployment {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: set(selector)}
		d.Spec.Template.Labels = set(template)
		return d
	}
	pod := func(name, labels string) runtime.Object {
		controller := true
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, Labels: set(labels),
			OwnerReferences: []metav1.OwnerReference{{Kind: "Deployment", Name: "web", Controller: &controller}},
		}}
	}
	bare := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "debug", Labels: set("app=web track=debug")}}
	for _, tt := range []struct {
		why      string
		template string // of Deployment web, which selects app=web
		others   []runtime.Object
		want     string
		also     int
	}{
		{"nobody else is selected", "app=web tier=a", []runtime.Object{deployment("api", "app=api", "app=api")}, "app=web", 0},
		{"a canary", "app=web track=stable", []runtime.Object{deployment("canary", "app=web track=canary", "app=web track=canary")}, "app=web,track=stable", 0},
		{"a canary of what has no track", "app=web", []runtime.Object{deployment("canary", "app=web", "app=web track=canary")}, "app=web,track notin (canary)", 0},
		{"one label tells two apart", "app=web part=ui tier=front", []runtime.Object{
			deployment("a", "app=web", "app=web part=a tier=back"), deployment("b", "app=web", "app=web part=b tier=front"),
		}, "app=web,part=ui", 0},
		{"two labels are needed", "app=web part=ui tier=front", []runtime.Object{
			deployment("a", "app=web", "app=web part=ui tier=back"), deployment("b", "app=web", "app=web part=b tier=front"),
		}, "app=web,part=ui,tier=front", 0},
		{"several canaries", "app=web", []runtime.Object{
			deployment("a", "app=web", "app=web track=b"), deployment("b", "app=web", "app=web track=a"), deployment("c", "app=web", "app=web test=c"),
		}, "app=web,test notin (c),track notin (a,b)", 0},
		{"a version is not required, but excluded", "app=web version=1", []runtime.Object{deployment("next", "app=web", "app=web version=2")}, "app=web,version notin (2)", 0},
		{"a rollout to another label is under way", "app=web track=stable", []runtime.Object{
			pod("web-1", "app=web"), deployment("canary", "app=web", "app=web track=canary"),
		}, "app=web,track notin (canary)", 0},
		{"their labels do not differ", "app=web", []runtime.Object{deployment("twin", "app=web", "app=web"), deployment("canary", "app=web", "app=web track=canary")}, "app=web,track notin (canary)", 1},
		{"bare pods come and go", "app=web", []runtime.Object{bare}, "app=web", 1},
	} {
		web := deployment("web", "app=web", tt.template)
		given := web.Spec.Selector.DeepCopy()
		for _, objects := range [][]runtime.Object{append([]runtime.Object{web}, tt.others...), append(slices.Clone(tt.others), web)} {
			w := New(objects).Workload(edge.Endpoint{Kind: "Deployment", Namespace: "shop", Name: "web"})
			if got := metav1.FormatLabelSelector(w.Selector); got != tt.want || len(w.Also) != tt.also {
				t.Errorf("%s: %s, and %v; want %s, and %d others", tt.why, got, w.Also, tt.want, tt.also)
			}
		}
		if !reflect.DeepEqual(given, web.Spec.Selector) {
			t.Errorf("%s: the object's own selector became %v", tt.why, web.Spec.Selector)
		}
	}
}
