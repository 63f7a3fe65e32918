// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"errors"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Of everything that happened to an object since the last time, the latest counts.
func TestTakeHasTheLatest(t *testing.T) {
	inv := &Inventory{changed: func() {}}
	m := newMirror(nil, new(corev1.Pod), digest, inv.noteAs("Pod"))
	pod := func(name, label string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"v": label}}}
	}
	err := errors.Join(
		m.Replace([]any{pod("a", "1"), pod("b", "1"), pod("c", "1"), pod("d", "1")}, ""),
		m.Update(pod("a", "2")),
		m.Delete(pod("b", "1")),
		m.Delete(pod("c", "1")),
		m.Add(pod("c", "3")),
		m.Delete(pod("e", "1")),                            // that nobody had heard of
		m.Replace([]any{pod("a", "2"), pod("c", "3")}, ""), // d has gone while nobody listened
	)
	if err != nil {
		t.Fatal(err)
	}
	c := inv.Take()
	latest := map[string]string{}
	for _, p := range c.Set.Pods {
		latest[p.Name] = p.Labels["v"]
	}
	if len(latest) != 2 || latest["a"] != "2" || latest["c"] != "3" {
		t.Errorf("set %v, want a at 2 and c at 3", latest)
	}
	gone := map[netpol.Key]bool{}
	for _, k := range c.Deleted {
		gone[k] = true
	}
	if want := map[netpol.Key]bool{{Kind: "Pod", Namespace: "shop", Name: "b"}: true, {Kind: "Pod", Namespace: "shop", Name: "d"}: true}; !maps.Equal(gone, want) {
		t.Errorf("deleted %v, want %v", gone, want)
	}
	if err := m.Update(pod("a", "2")); err != nil { // a heartbeat
		t.Error(err)
	}
	if c := inv.Take(); len(c.Set.Pods)+len(c.Deleted) != 0 {
		t.Errorf("taken twice: %+v", c)
	}
}
