// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// newPods come and go, four at a time. What they may not do, they may not do before anybody knows of them either.
func newPods(ctx context.Context, l *lab, r *result) error {
	group, ctx := errgroup.WithContext(ctx)
	for range 4 {
		group.Go(func() error {
			for range max(l.config.rounds/4, 1) {
				if err := l.newPod(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func (l *lab) newPod(ctx context.Context) error {
	p, err := l.openPod("front", fmt.Sprintf("new%d", l.next()), map[string]string{"team": "a"}, l.hostIf(), l.nextAddrs()...)
	if err != nil {
		return err
	}
	defer p.close()
	guest, own, other := l.pods["open/guest0"], l.pods["back/api0"], l.pods["back/api1"]
	edges := []*edge{
		l.add(p, other, udp, false, openPort, denied), l.add(p, other, tcp, true, openPort, denied),
		l.add(p, guest, udp, true, openPort, denied), l.add(guest, p, udp, false, openPort, denied), l.add(guest, p, tcp, true, openPort, denied),
	}
	good := []*edge{l.add(p, own, udp, false, openPort, either), l.add(p, own, tcp, true, openPort, either)}
	pause(ctx, settling/10)
	if err := l.announce(ctx, p); err != nil {
		return err
	}
	pause(ctx, within)
	for _, e := range good {
		e.expect(allowed)
	}
	pause(ctx, settling)
	l.forget(append(edges, good...))
	p.close()
	return l.withdraw(ctx, p)
}

// reuse gives an address to a pod that may not what the pod before it might, and back.
func reuse(ctx context.Context, l *lab, r *result) error {
	addrs := l.nextAddrs()
	api := l.pods["back/api0"]
	var longest time.Duration
	for range max(l.config.rounds/6, 2) {
		friend, err := l.openPod("front", fmt.Sprintf("reuse%d", l.next()), map[string]string{"team": "a"}, l.hostIf(), addrs...)
		if err != nil {
			return err
		}
		good := []*edge{l.add(friend, api, udp, false, openPort, either), l.add(friend, api, tcp, true, openPort, either)}
		if err := l.announce(ctx, friend); err != nil {
			return err
		}
		pause(ctx, within)
		for _, e := range good {
			e.expect(allowed)
		}
		pause(ctx, settling)
		l.forget(good)
		gone := time.Now()
		err = l.withdraw(ctx, friend)
		friend.close()
		if err != nil {
			return err
		}
		stranger, err := l.openPod("open", fmt.Sprintf("reuse%d", l.next()), map[string]string{"app": "guest"}, l.hostIf(), addrs...)
		if err != nil {
			return err
		}
		longest = max(longest, time.Since(gone))
		bad := []*edge{l.add(stranger, api, udp, false, openPort, denied), l.add(stranger, api, udp, true, openPort, denied), l.add(stranger, api, tcp, false, openPort, denied)}
		if err := l.announce(ctx, stranger); err != nil {
			return err
		}
		pause(ctx, within)
		guest := l.add(stranger, l.pods["open/guest0"], udp, false, openPort, allowed)
		pause(ctx, settling)
		l.forget(append(bad, guest))
		stranger.close()
		if err := l.withdraw(ctx, stranger); err != nil {
			return err
		}
	}
	r.note("the address had another pod at most %.0f ms after the one before", milliseconds(longest))
	return nil
}

// table fills the table of connections with others than those that are looked at.
func table(ctx context.Context, l *lab, r *result) error {
	const ports = 60_000
	from, to := l.pods["open/guest2"], l.pods["open/guest3"]
	stopped, stop := context.WithTimeout(ctx, l.config.duration)
	defer stop()
	packets := 0
	err := from.Do(func() error {
		for round := 0; stopped.Err() == nil; round++ {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			for port := range ports {
				target := &unix.SockaddrInet4{Port: port%ports + 1024, Addr: to.Addrs[0].As4()}
				if err := unix.Sendto(fd, []byte("x"), 0, target); err == nil {
					packets++
				}
				if port%64 == 0 {
					pause(stopped, 200*time.Microsecond) // the processor has others to serve
				}
			}
			if err := unix.Close(fd); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s, err := l.enforcer.status(ctx)
	if err != nil {
		return err
	}
	for _, m := range s.Maps {
		if m.Name == "connections" {
			r.note("%d connections were opened beside; %d of %d entries are in use", packets, m.Entries, m.Capacity)
			if 2*uint64(packets) < m.Capacity {
				return errors.New("the table was not full: give --duration more time")
			}
		}
	}
	return l.tryToggle(ctx, r)
}
