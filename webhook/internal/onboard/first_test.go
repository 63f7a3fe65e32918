// SPDX-License-Identifier: Apache-2.0

package onboard

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

func request(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

// What lacks its policies comes before what concerns everything, whatever was enqueued first.
func TestUnprotectedFirst(t *testing.T) {
	everything := func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{request("complete"), request("half"), request("new")}
	}
	queue := priorityqueue.New[reconcile.Request]("test")
	defer queue.ShutDown()
	h := behind(handler.EnqueueRequestsFromMapFunc(everything))
	h.Create(t.Context(), event.CreateEvent{Object: &corev1.Service{}}, queue)
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: &corev1.Service{}, ObjectNew: &corev1.Service{}}, queue)
	h.Delete(t.Context(), event.DeleteEvent{Object: &corev1.Service{}}, queue)

	objects := []client.Object{baseline.DefaultDeny("complete"), baseline.DNS("complete", baseline.DefaultDNS()), baseline.DefaultDeny("half")}
	for name, mode := range map[string]string{"complete": "enforce", "half": "audit", "calm": "observe", "odd": "x"} {
		objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{baseline.LabelMode: mode}}})
	}
	r := &Reconciler{client: fake.NewClientBuilder().WithObjects(objects...).Build(), arrivals: newArrivals()}
	if err := r.unprotectedFirst(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	queue.Add(request("new")) // as an event of a single namespace does

	var got []string
	for range 3 {
		next, priority, _ := queue.GetWithPriority()
		if (priority < 0) != (next.Name == "complete") {
			t.Errorf("%s has priority %d", next.Name, priority)
		}
		got = append(got, next.Name)
		queue.Done(next)
	}
	if want := []string{"half", "new", "complete"}; !slices.Equal(got, want) || queue.Len() > 0 {
		t.Errorf("got %v, and %d more, want %v", got, queue.Len(), want)
	}
}
