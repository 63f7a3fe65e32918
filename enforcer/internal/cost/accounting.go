// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// leastRate is how many new connections a second all must be accounted for.
const leastRate = 100_000

// runOnce is one run of a program: only of a single one is it known how often it ran when a signal comes.
func runOnce(frame []byte) *ebpf.RunOptions { return &ebpf.RunOptions{Data: frame, Repeat: 1} }

func measureAccounting(ctx context.Context, d time.Duration, out io.Writer) error {
	fmt.Fprintln(out, "| peers | connections a second | opened | recorded | counted as lost | unaccounted |\n| ---: | ---: | ---: | ---: | ---: | ---: |")
	var errs []error
	for _, peers := range []int{1, 10_000, 65_536} {
		a, err := account(ctx, dataplane.Config{}, peers, d)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "| %d | %.0f | %d | %d | %d | %d |\n", peers, a.rate(), a.opened, a.recorded, a.lost, a.missing())
		errs = append(errs, a.check())
	}
	return errors.Join(errs...)
}

// sums of connections.
type sums struct {
	opened, recorded, lost uint64
	seconds                float64
}

func (s sums) rate() float64  { return float64(s.opened) / s.seconds }
func (s sums) missing() int64 { return int64(s.opened) - int64(s.recorded) - int64(s.lost) }

func (s sums) check() error {
	if s.missing() != 0 {
		return fmt.Errorf("%d of %d connections were neither recorded nor counted as lost", s.missing(), s.opened)
	}
	if s.rate() < leastRate {
		return fmt.Errorf("%.0f connections a second are too few to tell: is the machine busy?", s.rate())
	}
	return nil
}

// account opens connections to so many peers on all cores for d, and drains flows every second.
func account(ctx context.Context, config dataplane.Config, peers int, d time.Duration) (s sums, err error) {
	dp, err := newDatapath(config)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, dp.close()) }()
	if err := dp.loadCluster(1000, 100); err != nil {
		return s, err
	}
	begin := time.Now()
	ctx, stop := context.WithDeadline(ctx, begin.Add(d))
	defer stop()
	opened := make([]uint64, runtime.NumCPU())
	var results []<-chan error
	for core := range opened {
		results = append(results, onCore(core, func() error { return dp.openConnections(ctx, core, peers, &opened[core]) }))
	}
	err = s.drain(ctx, dp)
	for core, result := range results {
		err = errors.Join(err, <-result)
		s.opened += opened[core]
	}
	s.seconds = time.Since(begin).Seconds()
	return s, errors.Join(err, s.take(dp)) // what came since the last drain
}

func (d *datapath) loadCluster(pods, policies int) error {
	snapshot, err := netpol.Compile(newCluster(pods, policies))
	if err != nil {
		return err
	}
	world, err := plan.Build(snapshot, input(pods, [2]uint32{loopback, 2}))
	if err != nil {
		return err
	}
	_, err = d.Load(world)
	return err
}

// openConnections of both families in turn until ctx ends: each from another port, to one peer after the other.
func (d *datapath) openConnections(ctx context.Context, core, peers int, opened *uint64) error {
	var frames [2][]byte
	ports := [2]int{sourcePortAt["IPv4"], sourcePortAt["IPv6"]}
	for i, family := range []string{"IPv4", "IPv6"} {
		frames[i] = segment(netip.AddrPortFrom(addr(client, family), 0), netip.AddrPortFrom(outside[family].Addr(), firstPort), syn|fin)
	}
	for i := core; ctx.Err() == nil; i += runtime.NumCPU() {
		f := *opened % 2
		binary.BigEndian.PutUint16(frames[f][ports[f]-2:], uint16(i%peers)) // the end of the peer's address
		binary.BigEndian.PutUint16(frames[f][ports[f]:], uint16(i))
		ret, err := d.out.Run(runOnce(frames[f]))
		if err != nil {
			return err
		}
		if ret != next {
			return fmt.Errorf("a connection was not let through: %#x", ret)
		}
		*opened++
	}
	return nil
}

// drain takes the flows every second until ctx ends.
func (s *sums) drain(ctx context.Context, d *datapath) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.take(d); err != nil {
				return err
			}
		}
	}
}

func (s *sums) take(d *datapath) error {
	flows, lost, err := d.DrainFlows()
	s.lost += lost
	for _, f := range flows {
		if f.Verdict != dataplane.Allowed || f.Adopted > 0 {
			return fmt.Errorf("an unexpected record: %+v", f)
		}
		s.recorded += f.Connections
	}
	return err
}
