// SPDX-License-Identifier: Apache-2.0

package main

import (
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// coldStartWithin is what a cluster may take after an outage of everything, with Bulkhead's admission
// objects in it.
const coldStartWithin = time.Minute

// TestColdStart ends the webhook, the API server and etcd, and starts them at the same time, as after an outage
// of power. Nobody does anything, and the cluster works again.
func TestColdStart(t *testing.T) {
	createFor(t, usualDNS())
	run, health := replicaOf(t)
	replica := run()
	t.Cleanup(func() {
		_ = replica.Stop(0)
		emergencyOff(t)
	})
	eventually(t, "readiness", func() error { return get("http://" + health + "/readyz") })
	gateIsActive(t)
	createNamespace(t, newNamespace("before-the-outage", nil))
	eventually(t, "policies", func() error { return policies(t.Context(), "before-the-outage") })

	if err := replica.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-replica.Done()
	var begin time.Time
	err := plane.Restart(t.Context(), func() { begin, replica = time.Now(), run() })
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "readiness after the outage", func() error {
		select {
		case <-replica.Done(): // it could not reach the API server; a kubelet starts it again
			replica = run()
		default:
		}
		return get("http://" + health + "/readyz")
	})
	for _, object := range []client.Object{newNamespace("after-the-outage", nil), newPod("after-the-outage"), newPod("before-the-outage")} {
		eventually(t, object.GetName()+" of "+object.GetNamespace(), func() error { return client.IgnoreAlreadyExists(admin.Create(t.Context(), object)) })
	}
	took := time.Since(begin)
	if t.Logf("everything works after %s", took.Round(time.Millisecond)); took > coldStartWithin {
		t.Errorf("it took %s, want %s at most", took, coldStartWithin)
	}
}
