// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"io"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

const (
	progressEvery = 10 * time.Second
	progressLook  = 1 << 14 // flows between two looks at the clock
)

// progress says from time to time how far a long reading is.
type progress struct {
	out   io.Writer
	flows uint64
	next  time.Time // of saying so
}

func (p *progress) flow(r *flows.Record) {
	if p.flows++; p.flows%progressLook != 0 {
		return
	}
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(progressEvery)
		fmt.Fprintf(p.out, "%d flows read, now at %s\n", p.flows, r.Time.Format(time.RFC3339))
	}
}

func (p *progress) retrying(observer string, wait time.Duration, err error) {
	fmt.Fprintf(p.out, "%s failed, trying again in %s: %v\n", printable(observer), wait.Round(time.Second), printable(err.Error()))
}

func (p *progress) stopped(err error) error {
	return fmt.Errorf("stopped after %d flows, and nothing was written; --state keeps what was read to its end: %w", p.flows, err)
}
