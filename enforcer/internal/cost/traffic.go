// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

type trafficConfig struct {
	rounds         int
	slice          time.Duration
	families       []string
	only           string
	pods, policies int
	null           bool
}

func (c *trafficConfig) check() error {
	var errs []error
	if c.rounds < 2 || c.rounds > 10_000 || c.rounds%2 != 0 {
		errs = append(errs, fmt.Errorf("--rounds: %d is no even number between 2 and 10000", c.rounds))
	}
	if c.slice < 10*time.Millisecond || c.slice > time.Minute {
		errs = append(errs, fmt.Errorf("--slice: %s is not between 10ms and 1m", c.slice))
	}
	for _, f := range c.families {
		if outside[f].Addr().BitLen() == 0 {
			errs = append(errs, fmt.Errorf("--families: %q is neither IPv4 nor IPv6", f))
		}
	}
	return errors.Join(append(errs, checkCluster(c.pods, c.policies))...)
}

func checkCluster(pods, policies int) error {
	if pods < 10 || pods > 200_000 || policies < 1 || policies > 1024 {
		return fmt.Errorf("--pods and --policies: %d and %d are not between 10 and 200000, and 1 and 1024", pods, policies)
	}
	return nil
}

// setting is how client and server are placed, and how large packets are.
type setting struct {
	name       string
	serverCore int
	segments   int // in a packet, at most
	workloads  []workload
}

var settings = []setting{
	{"one core", clientCore, 64, append(append([]workload{}, transactions...), datagrams)},
	{"one core, 64 KiB", clientCore, 64, streams},
	{"one core, MTU", clientCore, 1, streams},
	{"two cores", 0, 64, transactions},
	{"two cores, 64 KiB", 0, 64, streams},
	{"two cores, MTU", 0, 1, streams},
}

func measureTraffic(ctx context.Context, c trafficConfig, out, progress io.Writer) error {
	runtime.GOMAXPROCS(64) // a thread that comes back from the kernel is never kept waiting for its turn in Go
	snapshot, err := netpol.Compile(newCluster(c.pods, c.policies))
	if err != nil {
		return err
	}
	t := &trial{trafficConfig: c, snapshot: snapshot, progress: progress}
	fmt.Fprintln(out, "| | | without | with | ratio | 95 % | target | |\n| --- | --- | ---: | ---: | ---: | --- | ---: | --- |")
	for _, s := range settings {
		for _, w := range s.workloads {
			for _, family := range c.families {
				name := w.name + ", " + family
				if !strings.Contains(s.name+" "+name, c.only) {
					continue
				}
				say(progress, "%s: %s", s.name, name)
				r, err := t.compare(ctx, s, w, family)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", s.name, name, err)
				}
				fmt.Fprintf(out, "| %s | %s | %s\n", s.name, name, r.row(w))
			}
		}
	}
	return nil
}

// trial is a cluster, and how to measure it.
type trial struct {
	trafficConfig
	snapshot *netpol.Snapshot
	progress io.Writer
}

// compare measures two nodes of which first the one and then the other enforces.
func (t *trial) compare(ctx context.Context, s setting, w workload, family string) (r rounds, err error) {
	var nodes [2]*twoPods
	for i := range nodes {
		if nodes[i], err = newTwoPods(); err != nil {
			return r, err
		}
		defer nodes[i].close()
		if err := errors.Join(nodes[i].segment(s.segments), nodes[i].serve(s.serverCore)); err != nil {
			return r, err
		}
	}
	for i := range nodes {
		if err := t.half(ctx, nodes[i], nodes[1-i], w, family, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// half of the rounds, with the datapath on one of the nodes.
func (t *trial) half(ctx context.Context, with, without *twoPods, w workload, family string, r *rounds) (err error) {
	if !t.null {
		e, err := with.enforce(t.snapshot, t.pods)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, e.end()) }()
	}
	pair := []*twoPods{with, without}
	for _, n := range pair { // once before it counts: routes and neighbours are resolved, caches are warm
		if _, err := w.measure(n, family, t.slice); err != nil {
			return err
		}
	}
	for i := range t.rounds / 2 {
		if err := ctx.Err(); err != nil {
			return err
		}
		var rates [2]float64
		for _, side := range [][2]int{{0, 1}, {1, 0}}[i%2] {
			if rates[side], err = w.measure(pair[side], family, t.slice); err != nil {
				return err
			}
		}
		r.with, r.without = append(r.with, rates[0]), append(r.without, rates[1])
	}
	return nil
}
