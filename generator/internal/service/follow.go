// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// Bounds of the wait before an observer is asked again. A name server is asked no more often either.
const (
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// errEnded is a stream that its observer ended: one that follows has no end of its own.
var errEnded = errors.New("the observer ended the stream")

// follow reads an observer at each address that its name has, until the context ends. The name is
// looked up again when a stream fails, and every maxBackoff.
func (s *server) follow(ctx context.Context, observer string) {
	var streams sync.WaitGroup
	defer streams.Wait()
	followed := map[flows.Address]context.CancelFunc{}
	failed := make(chan struct{}, 1)
	backoff := minBackoff
	for ctx.Err() == nil {
		addresses, err := s.lookUp(ctx, observer)
		next := maxBackoff
		if err != nil { // the addresses stay as they are
			next, backoff = backoff, min(2*backoff, maxBackoff)
		} else {
			backoff = minBackoff
			s.dropOthers(followed, addresses)
		}
		for _, a := range addresses {
			if followed[a] == nil {
				streaming, cancel := context.WithCancel(ctx)
				followed[a] = cancel
				s.meter.roster.add(a)
				streams.Go(func() {
					s.followAddress(streaming, a, failed)
					if ctx.Err() == nil { // the address is gone
						s.seen.leave(a.String())
					}
				})
			}
		}
		pause(ctx, minBackoff, nil)
		pause(ctx, next, failed)
	}
}

func (s *server) lookUp(ctx context.Context, observer string) ([]flows.Address, error) {
	addresses, err := s.cfg.Dialer.Resolve(ctx, observer)
	if err != nil && ctx.Err() == nil {
		s.meter.failures.WithLabelValues(observer, "lookup").Inc()
		s.cfg.Log.Warn("observer's name failed; trying again", "observer", observer, "error", err)
	}
	return addresses, err
}

// dropOthers ends the streams of addresses that are gone.
func (s *server) dropOthers(followed map[flows.Address]context.CancelFunc, addresses []flows.Address) {
	kept := map[flows.Address]bool{}
	for _, a := range addresses {
		kept[a] = true
	}
	for a, cancel := range followed {
		if !kept[a] {
			cancel()
			delete(followed, a)
			s.meter.roster.remove(a)
			s.cfg.Log.Info("observer has this address no more", "observer", a.Observer, "address", a.IP.String())
		}
	}
}

// followAddress reads one address until the context ends, and comes back to it when it fails, which it
// tells failed. Asking again from shortly before the last flow reads some twice, which folding does not mind.
func (s *server) followAddress(ctx context.Context, a flows.Address, failed chan<- struct{}) {
	backoff := minBackoff
	for {
		answered, err := s.read(ctx, a)
		if ctx.Err() != nil {
			return
		}
		if answered {
			backoff = minBackoff
		}
		s.meter.roster.set(a, false)
		s.meter.failures.WithLabelValues(a.Observer, "stream").Inc()
		s.cfg.Log.Warn("observer failed; trying again", "observer", a.Observer, "address", a.IP.String(), "wait", backoff.String(), "error", err)
		select {
		case failed <- struct{}{}:
		default: // it is known already
		}
		pause(ctx, backoff, nil)
		backoff = min(2*backoff, maxBackoff)
	}
}

// read folds the flows of one stream until it fails; the error is never nil. answered says
// whether there was a stream at all.
func (s *server) read(ctx context.Context, a flows.Address) (answered bool, err error) {
	observer := a.String()
	stream, err := s.cfg.Dialer.Open(ctx, a, flows.Query{Since: s.seen.since(observer), Follow: true})
	if err != nil {
		return false, err
	}
	s.meter.roster.set(a, true)
	s.cfg.Log.Info("following observer", "observer", a.Observer, "address", a.IP.String())
	var stats flows.Stats
	err = stream.Receive(ctx, &stats, func(r *flows.Record) error {
		s.meter.flows.Inc()
		s.seen.add(observer, r, time.Now())
		s.seen.missed(&stats)
		return nil
	})
	s.seen.missed(&stats)
	if err == nil {
		err = errEnded
	}
	return true, errors.Join(err, stream.Close())
}

// pause waits until d has passed, wake receives (nil: never) or the context ends.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}
