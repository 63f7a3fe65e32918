// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"time"
)

// silence is how long after an event it is looked whether bytes pass.
const silence = 500 * time.Millisecond

// meter measures how long after the event of a change packets are judged by it. It sends a datagram each millisecond.
type meter struct {
	*extra
	told             <-chan time.Time
	arrived          chan time.Time // the first since it was emptied
	applied, revoked []time.Duration
	end              func()
}

func newMeter(ctx context.Context, x *extra, told <-chan time.Time) *meter {
	m := &meter{extra: x, told: told, arrived: make(chan time.Time, 1)}
	ctx, m.end = context.WithCancel(ctx)
	e := x.edges[1]
	e.notify(func(at time.Time) {
		select {
		case m.arrived <- at:
		default:
		}
	})
	go func() {
		_ = x.from.Do(func() error {
			for tick := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-tick.C {
				e.shoot()
			}
			return nil
		})
	}()
	return m
}

// round begins and ends with everything denied.
func (m *meter) round(ctx context.Context) error {
	pause(ctx, silence)
	select {
	case <-m.arrived:
	default:
	}
	if err := m.l.createPolicy(ctx, "back", m.policy()); err != nil {
		return err
	}
	event, err := m.next(ctx, m.told)
	if err != nil {
		return err
	}
	first, err := m.next(ctx, m.arrived)
	if err != nil {
		return err
	}
	m.applied = append(m.applied, max(first.Sub(event), 0))
	conn, err := m.from.dial(ctx, "tcp", m.edges[0].addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	go stammer(conn)
	pause(ctx, silence/2)
	if err := m.l.deletePolicy(ctx, "back", m.name()); err != nil {
		return err
	}
	if event, err = m.next(ctx, m.told); err != nil {
		return err
	}
	pause(ctx, silence)
	m.revoked = append(m.revoked, max(time.Unix(0, m.pod.heard.Load()).Sub(event), 0))
	return nil
}

func (m *meter) next(ctx context.Context, c <-chan time.Time) (time.Time, error) {
	select {
	case at := <-c:
		return at, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	case <-time.After(readyWithin):
		return time.Time{}, errors.New("a change had no effect, or no watch told of it")
	}
}

// stammer sends a byte each millisecond until the connection is closed.
func stammer(conn net.Conn) {
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		if _, err := conn.Write([]byte("E")); err != nil {
			return
		}
	}
}
