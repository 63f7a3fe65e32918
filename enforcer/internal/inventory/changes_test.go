// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Of everything that happened to an object since the last time, the latest counts.
func TestTakeHasTheLatest(t *testing.T) {
	inv := &Inventory{changed: func() {}}
	pod := func(name, label string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"v": label}}}
	}
	inv.set(pod("a", "1"))
	inv.updated(pod("a", "1"), pod("a", "2"))
	inv.updated(pod("a", "2"), pod("a", "2")) // a heartbeat
	inv.set(pod("b", "1"))
	inv.deleted(cache.DeletedFinalStateUnknown{Key: "shop/b", Obj: pod("b", "1")})
	inv.deleted(pod("c", "1"))
	inv.set(pod("c", "3"))
	c := inv.Take()
	latest := map[string]string{}
	for _, p := range c.Set.Pods {
		latest[p.Name] = p.Labels["v"]
	}
	if len(latest) != 2 || latest["a"] != "2" || latest["c"] != "3" {
		t.Errorf("set %v, want a at 2 and c at 3", latest)
	}
	if want := (netpol.Key{Kind: "Pod", Namespace: "shop", Name: "b"}); len(c.Deleted) != 1 || c.Deleted[0] != want {
		t.Errorf("deleted %v, want %v", c.Deleted, want)
	}
	if c := inv.Take(); len(c.Set.Pods)+len(c.Deleted) != 0 {
		t.Errorf("taken twice: %+v", c)
	}
}
