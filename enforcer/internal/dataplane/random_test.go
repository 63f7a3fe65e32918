// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

var datapathSeed = flag.Uint64("datapath.seed", 0, "seed of the random clusters and packets that datapath and evaluator must agree on; 0: another one each time")

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
	seen.addWays(r)
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

// tally counts what was reached: packets that reach nothing prove nothing.
type tally struct {
	mu      sync.Mutex
	packets int
	counts  map[judgement]int
	ways    map[string]int
}

// addRecords counts flows for which staged policies say something else, too.
func (s *tally) addRecords(flows []Flow, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range flows {
		s.ways["recorded"]++
		if f.Staged != nil && (f.Staged.Verdict == Allowed) != (f.Verdict == Allowed) {
			s.ways["staged policies say something else"]++
		}
	}
	if lost == 0 {
		s.ways["worlds with every connection recorded"]++
	}
}

func (s *tally) addWays(r *reference) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, passed := range []bool{true, false} {
		s.ways[fmt.Sprintf("judged again, passed %v", passed)] += r.again[passed]
		s.ways[fmt.Sprintf("not seen to open, passed %v", passed)] += r.adopted[passed]
	}
}

func (s *tally) add(packets int, counts map[judgement]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets += packets
	for j, n := range counts {
		s.counts[j] += n
	}
}

func (s *tally) String() string {
	var lines []string
	for r := range Reason(len(reasonNames)) {
		lines = append(lines, fmt.Sprintf("%-18s %8d passed %8d dropped", r, s.counts[judgement{true, r}], s.counts[judgement{false, r}]))
	}
	return fmt.Sprintf("%s\n%v", strings.Join(lines, "\n"), s.ways)
}

// often is how many packets there may be for one that meets a fate.
var often = map[judgement]int{
	{true, ByRule}: 100, {true, ByDenyRule}: 1000, {true, ByIsolation}: 1000, {true, ByNoIsolation}: 20,
	{false, ByDenyRule}: 50, {false, ByIsolation}: 50, {true, ByOwnNode}: 500, {true, ByItself}: 200,
	{true, byService}: 200, {true, byConnection}: 10, {true, byLinkProtocol}: 500, {true, byRelatedError}: 100,
	{true, byFirstFragment}: 100, {false, byLostFragment}: 200, {false, byMalformation}: 100, {true, byMalformation}: 1000,
	{false, byEthertype}: 5000, {false, ByUnknownEndpoint}: 200, {false, ByForeignSource}: 200, {true, ByForeignSource}: 2000,
}

func (s *tally) check(t *testing.T) {
	t.Helper()
	if s.packets < fewestPackets && !testing.Short() {
		t.Errorf("%d packets, want at least %d", s.packets, fewestPackets)
	}
	for way, n := range s.ways {
		if n < s.packets/2000 {
			t.Errorf("%s: %d of %d packets", way, n, s.packets)
		}
	}
	for j, one := range often {
		if s.counts[j] < s.packets/one {
			t.Errorf("%s, passed %v: %d of %d packets, want one in %d", j.reason, j.passes, s.counts[j], s.packets, one)
		}
	}
}
