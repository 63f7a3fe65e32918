// SPDX-License-Identifier: Apache-2.0

// Package reject answers denied packets of the endpoints that want it, so that whoever sent them does not wait for
// what never comes. The datapath drops the packets and says what they were; without this package they are dropped
// silently.
package reject

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// stale is when a denied packet is not answered any more: who sent it has tried again since.
const stale = time.Second

// Responder answers the denied packets of one network namespace. It needs CAP_NET_RAW.
type Responder struct {
	denials *dataplane.Denials
	sockets sockets
	log     *slog.Logger
	counts  struct{ answered, unanswerable, late, failed atomic.Uint64 }
}

// Counts are denied packets by what became of their answer. What the datapath did not tell is in its own Counters.
type Counts struct {
	Answered     uint64
	Unanswerable uint64 // no answer is due, or it is not known where to send it
	Late         uint64 // nobody was there to read of them in time
	Failed       uint64 // the node's network did not take the answer
}

// New takes over the denials of the datapath. It works on the network namespace of the calling thread.
func New(d *dataplane.Dataplane, log *slog.Logger) (*Responder, error) {
	sockets, err := openSockets()
	if err != nil {
		return nil, err
	}
	denials, err := d.Denials()
	if err != nil {
		return nil, errors.Join(err, sockets.close())
	}
	return &Responder{denials: denials, sockets: sockets, log: log}, nil
}

// Run answers until ctx ends (nil) or the denials cannot be read, and closes the Responder.
func (r *Responder) Run(ctx context.Context) (err error) {
	stop := context.AfterFunc(ctx, func() { r.denials.Close() })
	defer func() {
		stop()
		err = errors.Join(err, r.denials.Close(), r.sockets.close())
	}()
	for {
		d, err := r.denials.Next()
		switch {
		case errors.Is(err, dataplane.ErrClosed):
			return nil
		case errors.Is(err, dataplane.ErrDenial):
			r.counts.unanswerable.Add(1)
			r.log.Error("a denied packet is not answered", "error", err)
		case err != nil:
			return err
		default:
			r.answer(&d)
		}
	}
}

func (r *Responder) answer(d *dataplane.Denial) {
	if d.Age > stale {
		r.counts.late.Add(1)
		return
	}
	to, packet, ok := Answer(d)
	if !ok || d.Direction == netpol.Egress && d.Sender == [6]byte{} {
		r.counts.unanswerable.Add(1)
		return
	}
	var err error
	if d.Direction == netpol.Egress {
		err = r.sockets.sendToPod(d, packet)
	} else {
		err = r.sockets.send(to, packet)
	}
	if err != nil {
		r.counts.failed.Add(1)
		r.log.Debug("a denied packet is not answered", "error", fmt.Errorf("send to %s: %w", to, err))
		return
	}
	r.counts.answered.Add(1)
}

// Counts since New.
func (r *Responder) Counts() Counts {
	return Counts{
		Answered: r.counts.answered.Load(), Unanswerable: r.counts.unanswerable.Load(),
		Late: r.counts.late.Load(), Failed: r.counts.failed.Load(),
	}
}
