// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Without the hold about every fourth first pod is refused once.
func TestFirstPodsAreAdmittedAtTheFirstTry(t *testing.T) {
	p := start(t)
	gateIsActive(t)
	const namespaces, mayBeRefused = 64, 4
	var refusals atomic.Int32
	var group errgroup.Group
	group.SetLimit(16)
	for i := range namespaces {
		group.Go(func() error {
			name := fmt.Sprintf("held-%d", i)
			if err := admin.Create(t.Context(), newNamespace(name, nil)); err != nil {
				return err
			}
			err := admin.Create(t.Context(), newPod(name))
			if isRefusal(err) {
				refusals.Add(1)
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if n := refusals.Load(); n > mayBeRefused {
		t.Errorf("%d of %d first pods were refused, want at most %d", n, namespaces, mayBeRefused)
	}
	if metrics := fetch(t, "http://"+p.metrics+"/metrics"); !strings.Contains(metrics, `bulkhead_pod_hold_seconds_count{result="complete"}`) {
		t.Error("no wait was counted")
	}
}

// A pod whose policies do not come is let go, as it was, for the gate to judge.
func TestHoldEnds(t *testing.T) {
	p := start(t)
	begin := time.Now()
	answer := post(t, "https://"+p.listen+"/hold", review(`"kind":{"kind":"Pod"},"operation":"CREATE","namespace":"nowhere","object":{}`))
	if took := time.Since(begin); took < 400*time.Millisecond || took > 5*time.Second {
		t.Errorf("held for %s, want half a second", took)
	}
	if !answer.Allowed || len(answer.Patch) > 0 {
		t.Errorf("got %+v, want the pod allowed and unchanged", answer)
	}
	if metrics := fetch(t, "http://"+p.metrics+"/metrics"); !strings.Contains(metrics, `bulkhead_pod_hold_seconds_count{result="timeout"}`) {
		t.Error("no time-out was counted")
	}
}

func TestHoldBlocksNobodyWhenTheWebhookIsDead(t *testing.T) {
	p := start(t)
	gateIsActive(t)
	createNamespace(t, newNamespace("unheld", nil))
	eventually(t, "policies", func() error { return policies(t.Context(), "unheld") })
	// Ending in order takes the objects away, being killed does not: so keep a copy.
	hold := &admissionv1.MutatingWebhookConfiguration{}
	if err := admin.Get(t.Context(), client.ObjectKey{Name: "bulkhead-webhook"}, hold); err != nil {
		t.Fatal(err)
	}
	hold.ResourceVersion, hold.UID, hold.ManagedFields = "", "", nil
	kept := append(gateObjects(t), hold)
	p.stop(t)
	for _, object := range kept {
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { emergencyOff(t) })

	before := failedOpen(t)
	eventually(t, "the API server calls the hold in vain", func() error {
		begin := time.Now()
		if err := admin.Create(t.Context(), newPod("unheld")); err != nil {
			t.Fatalf("pod in a namespace with policies: %v", err)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("a pod took %s", took)
		}
		if failedOpen(t) == before {
			return errors.New("not called")
		}
		return nil
	})
	createNamespace(t, newNamespace("unheld-early", stampedAudit))
	eventually(t, "the gate's refusal", func() error {
		if err := admin.Create(t.Context(), newPod("unheld-early"), client.DryRunAll); !isRefusal(err) || !strings.Contains(err.Error(), "retry-when-bulkhead-") {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
}

// failedOpen is the API server's own count of calls to the hold that failed and were ignored.
func failedOpen(t *testing.T) string {
	t.Helper()
	clients, err := kubernetes.NewForConfig(plane.Admin())
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := clients.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(metrics)) {
		if strings.HasPrefix(line, `apiserver_admission_webhook_fail_open_count{name="hold.bulkhead.dev"`) {
			return line
		}
	}
	return ""
}
