// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/observer"
)

// drainer moves the datapath's records to the ring that they are served from.
type drainer struct {
	shared
	ring     *observer.Ring
	interval time.Duration // between two drains
}

// run drains at every interval, and once more when ctx ends.
func (d *drainer) run(ctx context.Context) {
	ticker := time.NewTicker(d.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			d.drain()
			return
		case <-ticker.C:
			d.drain()
		}
	}
}

func (d *drainer) drain() {
	records, lost, err := d.dataplane.DrainFlows()
	if err != nil {
		d.log.Error("records of connections could not be read, trying again", "error", err)
	}
	slices.SortFunc(records, func(a, b dataplane.Flow) int {
		return cmp.Or(a.Last.Compare(b.Last), cmp.Compare(a.Ifindex, b.Ifindex))
	})
	for i := range records {
		verdict := records[i].Verdict.String()
		d.metrics.flows.WithLabelValues(verdict).Inc()
		d.metrics.connections.WithLabelValues(verdict).Add(float64(records[i].Connections))
	}
	flows := make([]observer.Flow, len(records))
	for i, f := range d.book.Flows(records) {
		flows[i] = observer.Flow{Time: records[i].Last, Message: f.Message}
	}
	d.ring.Append(flows)
	d.ring.AppendLost(d.node, lost, time.Now())
}
