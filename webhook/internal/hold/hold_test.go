// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

func TestWait(t *testing.T) {
	deny, dns := baseline.DefaultDenyName, baseline.AllowDNSName
	for _, c := range []struct {
		name  string
		there []string                 // policies in the cache at the start
		come  map[time.Duration]string // and later
		want  string
		after time.Duration
	}{
		{"both there", []string{deny, dns}, nil, complete, 0},
		{"one comes", []string{deny}, map[time.Duration]string{40 * time.Millisecond: dns}, complete, 40*time.Millisecond + behind},
		{"both come", nil, map[time.Duration]string{5 * time.Millisecond: deny, 90 * time.Millisecond: dns}, complete, 90*time.Millisecond + behind},
		{"one is missing", nil, map[time.Duration]string{5 * time.Millisecond: dns}, timeout, longest},
		{"none comes", nil, nil, timeout, longest},
		{"too late", []string{dns}, map[time.Duration]string{longest + time.Millisecond: deny}, timeout, longest},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHold()
				for _, name := range c.there {
					add(t, h, name)
				}
				for after, name := range c.come {
					time.AfterFunc(after, func() { add(t, h, name); h.came("shop") })
				}
				begin := time.Now()
				if got := h.wait(t.Context(), "shop"); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
				if took := time.Since(begin); took != c.after {
					t.Errorf("after %s, want %s", took, c.after)
				}
				time.Sleep(time.Second) // all policies have come
				if len(h.waiting)+len(h.fresh)+h.count > 0 {
					t.Errorf("left behind: %v, %v, %d", h.waiting, h.fresh, h.count)
				}
			})
		})
	}
}

// A policy of another namespace is nobody's reason to go on.
func TestOtherNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHold()
		time.AfterFunc(time.Millisecond, func() { add(t, h, baseline.DefaultDenyName); add(t, h, baseline.AllowDNSName); h.came("shop") })
		if got := h.wait(t.Context(), "other"); got != timeout {
			t.Errorf("got %s, want %s", got, timeout)
		}
	})
}

func TestNotMoreThanSoManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHold()
		for range maxWaiting {
			go h.wait(t.Context(), "shop")
		}
		synctest.Wait()
		begin := time.Now()
		if got := h.wait(t.Context(), "shop"); got != full || time.Since(begin) > 0 {
			t.Errorf("the next: %s after %s, want %s at once", got, time.Since(begin), full)
		}
		time.Sleep(longest)
		synctest.Wait()
		if len(h.waiting) > 0 || h.count != 0 {
			t.Errorf("%d still wait, in %d namespaces", h.count, len(h.waiting))
		}
	})
}

// The API server gives up on a request: nobody waits on.
func TestRequestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		begin := time.Now()
		if got := newHold().wait(ctx, "shop"); got != timeout || time.Since(begin) != time.Millisecond {
			t.Errorf("%s after %s", got, time.Since(begin))
		}
	})
}

func newHold() *Hold {
	return newWaiting(fake.NewClientBuilder().WithScheme(scheme.Scheme).Build())
}

func add(t *testing.T, h *Hold, name string) {
	t.Helper()
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	if err := h.policies.(client.Client).Create(t.Context(), policy); err != nil {
		t.Error(err)
	}
}
