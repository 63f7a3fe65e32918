// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Overlap is how far before the last flow an observer is read again: flows are not quite in the order of time. What is
// read twice changes nothing when it is folded.
const Overlap = time.Minute

// backoff is between the tries of one read: half a minute in all.
var backoff = wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.1, Steps: 5}

// patience is the number of waits for an address that never answered: most often the address or a certificate is wrong.
const patience = 2

// Observe reads what an observer (host:port) has, from each of its addresses in turn, and gives each flow to each. stats,
// which may be read only after Observe returned, counts them; those that are read twice, too.
//
// A read that fails goes on a minute before the last flow that it gave, after a while. An address that keeps failing
// does not keep the others from being read, but it is an error that names it: what only that node saw is missing. An
// error of each is returned as it is, and at once. When ctx ends, the error is nil.
func (d *Dialer) Observe(ctx context.Context, observer string, q Query, stats *Stats, each func(*Record) error) error {
	var addresses []Address
	var stop *stopError
	err := d.retry(ctx, observer, func() (answered bool, err error) {
		addresses, err = d.Resolve(ctx, observer)
		return false, err
	})
	if err != nil && ctx.Err() == nil {
		return err
	}
	failed := 0
	for _, a := range addresses {
		r := reading{dialer: d, address: a, query: q, stats: stats, each: each}
		e := d.retry(ctx, a.String(), func() (bool, error) { return r.more(ctx) })
		switch {
		case errors.As(e, &stop):
			return stop.cause
		case e == nil:
			continue
		case err == nil:
			err = e
		default:
			err = fmt.Errorf("%w; %w", err, e)
		}
		failed++
	}
	if failed == 0 || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%d of %d addresses of observer %s could not be read, and what only they saw is missing: %w", failed, len(addresses), observer, err)
}

// retry tries until it succeeds, the consumer stops it, or it has failed too often.
func (d *Dialer) retry(ctx context.Context, name string, try func() (answered bool, err error)) error {
	waits := backoff
	if d.Backoff.Steps > 0 {
		waits = d.Backoff
	}
	known := false
	for tries := 1; ; tries++ {
		answered, err := try()
		known = known || answered
		if err == nil || errors.As(err, new(*stopError)) || ctx.Err() != nil {
			return err
		}
		if waits.Steps == 0 || !known && tries > patience {
			return err
		}
		pause := waits.Step()
		if d.Retrying != nil {
			d.Retrying(name, pause, err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// reading is one address being read, in as many streams as it takes.
type reading struct {
	dialer  *Dialer
	address Address
	query   Query
	stats   *Stats
	each    func(*Record) error
	last    time.Time // of the newest flow, at most now; zero: there was none
}

// more reads on where the last stream failed. answered says whether there was a stream at all.
func (r *reading) more(ctx context.Context) (answered bool, err error) {
	q := r.query
	if since := r.last.Add(-Overlap); !r.last.IsZero() && since.After(q.Since) {
		q.Since, q.Last = since, 0
	}
	stream, err := r.dialer.Open(ctx, r.address, q)
	if err != nil {
		return false, err
	}
	now := time.Now()
	err = stream.Receive(ctx, r.stats, func(rec *Record) error {
		if rec.Time.After(r.last) && !rec.Time.After(now) { // else those that come before it would not be asked for
			r.last = rec.Time
		}
		if err := r.each(rec); err != nil {
			return &stopError{err}
		}
		return nil
	})
	return true, errors.Join(err, stream.Close())
}
