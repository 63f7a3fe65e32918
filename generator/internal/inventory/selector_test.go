// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"maps"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
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
