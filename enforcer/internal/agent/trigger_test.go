// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestTriggerFoldsChanges(t *testing.T) {
	tr := newTrigger()
	begin := time.Now()
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			if i == 50 {
				tr.objectsChanged()
			} else {
				tr.networkChanged()
			}
		})
	}
	group.Wait()
	got, err := tr.next(t.Context(), 0)
	if err != nil || !got.objects || !got.network || got.since.Before(begin) {
		t.Fatalf("next() = %+v, %v; want a change of objects since %s", got, err, begin)
	}
	// All 100 are taken: what comes next is the time-out, not a change.
	before := time.Now()
	if got, err = tr.next(t.Context(), 30*time.Millisecond); err != nil || got.objects || got.network || time.Since(before) < 30*time.Millisecond {
		t.Errorf("next() = %+v, %v after %s; want the time-out", got, err, time.Since(before))
	}
	tr.networkChanged()
	if got, err = tr.next(t.Context(), 0); err != nil || got.objects || !got.network {
		t.Errorf("next() = %+v, %v; want a change of the network only", got, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = tr.next(ended, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("next() with an ended context: %v", err)
	}
}
