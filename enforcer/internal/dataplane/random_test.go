// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

var datapathSeed = flag.Uint64("datapath.seed", 1, "seed of the random clusters and packets that datapath and evaluator must agree on; 0: another one each time")

const (
	randomDevices    = 20 // more than a random cluster ever has pods
	worldsPerCluster = 6
	packetsPerWorld  = 400
	fewestPackets    = 1_000_000
)

// TestAgreesOnRandomPackets puts random clusters into the kernel, sends packets of all kinds through the programs
// and compares what becomes of each with the reference, which asks the evaluator.
func TestAgreesOnRandomPackets(t *testing.T) {
	seed, clusters := *datapathSeed, 450
	if seed == 0 {
		seed = rand.Uint64()
	}
	if testing.Short() {
		clusters = 30
	}
	seen, start := tally{counts: map[judgement]int{}, ways: map[string]int{}}, time.Now()
	var (
		labs errgroup.Group
		next atomic.Int64
	)
	// Loading a world is mostly waiting for the kernel: more labs than CPUs.
	for range 4 * runtime.GOMAXPROCS(0) {
		config := newConfig(t)
		config.Connections = 1 << 14
		labs.Go(func() error {
			l, err := newLab(config, randomDevices)
			if err != nil {
				return err
			}
			defer l.Close()
			for i := next.Add(1); i <= int64(clusters); i = next.Add(1) {
				if err := l.try(seed, uint64(i), &seen); err != nil {
					return fmt.Errorf("-datapath.seed=%d, cluster %d: %w", seed, i, err)
				}
			}
			return nil
		})
	}
	err := labs.Wait()
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d: %d packets in %s\n%v", seed, seen.packets, time.Since(start).Round(time.Millisecond), &seen)
	seen.check(t)
}

// try sends packets through the worlds of one cluster.
func (l *lab) try(seed, cluster uint64, seen *tally) error {
	c, r := newTrial(l.devices, seed, cluster), newReference()
	g := &traffic{Generator: c.Generator, devices: []uint32{c.free[0]}}
	c.free = c.free[1:]
	if err := l.forget(); err != nil {
		return err
	}
	for range worldsPerCluster {
		m, err := c.step(l)
		if err != nil {
			return err
		}
		r.change(&m.moment)
		g.change(&m.moment, m.addrs)
		problem, err := l.exchange(c, g, r, seen)
		if err != nil {
			return err
		}
		if problem != "" {
			return fmt.Errorf("%s\n%w", problem, l.disagreement(c))
		}
	}
	seen.addWays(r, l.added)
	return nil
}

// exchange sends packets in the current world, and says which did not meet its fate; empty: all did, and as many for
// each reason as the reference gives.
func (l *lab) exchange(c *trial, g *traffic, r *reference, seen *tally) (problem string, err error) {
	before, err := l.counted()
	if err != nil {
		return "", err
	}
	clear(r.counts)
	clear(r.records)
	run := 0
	for range packetsPerWorld {
		at, frame := g.next()
		passed, want, err := l.ask(r, at, frame)
		if errors.Is(err, errNotRun) {
			continue
		}
		run++
		c.sent = append(c.sent, sent{len(c.worlds) - 1, at, frame})
		if err != nil || passed != want {
			return fmt.Sprintf("after %d packets: passed %v, want %v", len(c.sent), passed, want), err
		}
	}
	seen.add(run, r.counts)
	if problem, err := l.checkRecords(r, seen); problem != "" || err != nil {
		return fmt.Sprintf("after %d packets: %s", len(c.sent), problem), err
	}
	after, err := l.counted()
	if gained := gained(before, after); !maps.Equal(gained, r.counts) {
		return fmt.Sprintf("after %d packets: counted %v, want %v", len(c.sent), gained, r.counts), err
	}
	return "", err
}

// checkRecords compares the flows of a world with those of the reference. For want of memory at the moment some may be
// lost; then those that are there must not say more.
func (l *lab) checkRecords(r *reference, seen *tally) (problem string, err error) {
	flows, lost, err := l.DrainFlows()
	if err != nil {
		return "", err
	}
	got := recorded(flows)
	seen.addRecords(flows, lost)
	for key, n := range got {
		if want, found := r.records[key]; !found || n > want || lost == 0 && n < want {
			return fmt.Sprintf("%d connections are recorded as %+v, want %d", n, key, want), nil
		}
	}
	if lost == 0 && len(got) < len(r.records) {
		for key := range r.records {
			if _, found := got[key]; !found {
				return fmt.Sprintf("nothing is recorded as %+v", key), nil
			}
		}
	}
	return "", nil
}

// errNotRun: the kernel makes no test run on a packet that does not have all of its IP header, or another version in it
// than the frame says.
var errNotRun = errors.New("no test run on this packet")

// ask sends a packet and says what the reference wants.
func (l *lab) ask(r *reference, at place, frame []byte) (passed, want bool, err error) {
	passed, err = l.send(at, frame)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTO) {
		return false, false, errNotRun
	}
	return passed, r.judge(at, frame), err
}
