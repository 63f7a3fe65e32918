// SPDX-License-Identifier: Apache-2.0

package profiles

import (
	"context"
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

func TestSetFollowsTheCache(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := profile.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	unfilled := errors.New("the cache is not filled")
	var failing error
	cached := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).Build(), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, _ ...client.ListOption) error {
			if failing != nil {
				return failing
			}
			return c.List(ctx, list)
		},
	})
	store := New(cached, baseline.Audit)
	failing = unfilled
	if _, err := store.Set(t.Context()); !errors.Is(err, unfilled) {
		t.Errorf("got %v", err)
	}
	failing = nil
	first, err := store.Set(t.Context())
	if err != nil || first.Get("standard") == nil || first.Get("standard").Starting() != baseline.Audit || first.Get("prod") != nil {
		t.Fatalf("%v, %v", first, err)
	}
	if again, _ := store.Set(t.Context()); again != first {
		t.Error("another set, though nothing changed")
	}
	prod := &profile.Profile{ObjectMeta: metav1.ObjectMeta{Name: "prod", UID: types.UID("1"), Generation: 1}, Spec: profile.Spec{StartingMode: "enforce"}}
	if err := cached.Create(t.Context(), prod); err != nil {
		t.Fatal(err)
	}
	second, err := store.Set(t.Context())
	if err != nil || second.Get("prod") == nil {
		t.Fatalf("%v, %v", second, err)
	}
	prod.Generation, prod.Spec.StartingMode = 2, "observe"
	if err := cached.Update(t.Context(), prod); err != nil {
		t.Fatal(err)
	}
	if third, err := store.Set(t.Context()); err != nil || third.Get("prod").Starting() != baseline.Observe {
		t.Errorf("%v, %v", third, err)
	}
}
