// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// refreshEvery is the least time between two inventories. Reading one that takes long is followed by a pause of five
// times as long.
const refreshEvery = 30 * time.Second

// refresh reads the inventory again and again until the context ends, because it tells whose addresses were seen.
func (s *server) refresh(ctx context.Context) {
	for wait := refreshEvery; ctx.Err() == nil; {
		pause(ctx, wait, nil)
		bounded, cancel := context.WithTimeout(ctx, roundTimeout)
		began := time.Now()
		inv, err := inventory.FromCluster(bounded, s.client)
		cancel()
		wait = max(refreshEvery, 5*time.Since(began))
		if ctx.Err() != nil {
			return
		}
		s.meter.round("inventory", err)
		if err != nil {
			s.cfg.Log.Error("round failed", "round", "inventory", "error", err)
			continue
		}
		s.seen.use(inv)
	}
}
