// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
	"github.com/bulkhead-dev/bulkhead/test/firstpacket/record"
)

// outcome is what came of the pods of a scenario.
type outcome struct {
	scenario scenario
	probes   uint64        // packets sent to guessed addresses
	resumed  []time.Time   // when the agent was there again, by wave
	tallies  []*tally      // by namespace
	back     time.Duration // from then until datagrams of all containers arrived, the longest
	findings []string      // what must not be
}

// tally sums up the containers of a namespace.
type tally struct {
	namespace string
	pods      map[string]bool
	starts    int
	sinks     []sums // by sink
	incoming  record.Target
	addrs     map[netip.Addr]bool
	examples  []string // of starts that lost something
}

// sums are of all that was sent to one sink.
type sums struct {
	name          string
	sent, arrived uint64
	// early were sent before the first that arrived, and late after it, and both are missing.
	early, late uint64
	worst       uint64 // early of one start: about as many milliseconds
	dials       uint64
	failed      uint64 // of dials
	repeated    uint64 // of the others: not opened by their first packet
	connections uint64 // as the sink says
	openings    int    // TCP packets that open a connection, at the sink
}

// count waits until nothing is under way and adds up.
func (l *lab) count(ctx context.Context, o *outcome) error {
	err := cluster.Until(ctx, patience, "sinks to be quiet", func(context.Context) error {
		for _, s := range l.sinks {
			if !s.quiet() {
				return fmt.Errorf("packets arrive %s", s.name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	records, err := record.ReadAll(l.records())
	if err != nil {
		return err
	}
	byNamespace := map[string]*tally{}
	for _, r := range records {
		t := byNamespace[r.Namespace]
		if t == nil {
			t = &tally{namespace: r.Namespace, pods: map[string]bool{}, addrs: map[netip.Addr]bool{}, sinks: make([]sums, len(l.sinks))}
			byNamespace[r.Namespace] = t
			o.tallies = append(o.tallies, t)
		}
		t.add(r, l.sinks)
		if r.Namespace != denied {
			o.reached(l.sinks, r.Instance)
		}
	}
	for _, t := range o.tallies {
		for i, s := range l.sinks {
			t.sinks[i].name, t.sinks[i].openings = s.name, s.openingsFrom(t.addrs)
		}
	}
	slices.SortFunc(o.tallies, func(a, b *tally) int { return cmp.Compare(a.namespace, b.namespace) })
	o.judge()
	return l.checkSinks()
}

// reached takes down when datagrams of a container that ran without the agent first arrived.
func (o *outcome) reached(sinks []*sink, instance uint64) {
	for _, s := range sinks {
		a := s.of(instance)
		if a.first <= 1 { // it was never cut off, or nothing arrived
			continue
		}
		at := a.firstAt
		i := slices.IndexFunc(o.resumed, func(t time.Time) bool { return t.After(at) })
		if i < 0 {
			i = len(o.resumed)
		}
		if i > 0 {
			o.back = max(o.back, at.Sub(o.resumed[i-1]))
		}
	}
}

func (t *tally) add(r record.Record, sinks []*sink) {
	t.pods[r.Pod] = true
	t.starts++
	t.addrs[netip.AddrFrom4(r.Address)] = true
	t.incoming.Datagrams += r.Datagrams
	t.incoming.Connections += r.Connections
	for i, s := range sinks {
		sum, sent, a := &t.sinks[i], r.Targets[i], s.of(r.Instance)
		missing := sent.Datagrams - min(a.datagrams, sent.Datagrams)
		early := missing
		if a.datagrams > 0 {
			early = min(a.first-1, missing)
		}
		sum.sent += sent.Datagrams
		sum.arrived += a.datagrams
		sum.early += early
		sum.late += missing - early
		sum.worst = max(sum.worst, early)
		sum.dials += sent.Dials
		sum.failed += sent.Failed
		sum.repeated += sent.Repeated
		sum.connections += a.connections
		if missing > early || missing > 0 && a.datagrams > 0 {
			t.examples = append(t.examples, fmt.Sprintf("%s/%s (%s) to %s: sent %d, arrived %d, first %d, missing %s", r.Namespace, r.Pod, r.Container,
				s.name, sent.Datagrams, a.datagrams, a.first, a.missing(sent.Datagrams)))
		}
		if a.connections > 0 && sent.Failed+sent.Repeated > 0 {
			t.examples = append(t.examples, fmt.Sprintf("%s/%s (%s) to %s: of %d dials %d failed, %d were repeated", r.Namespace, r.Pod, r.Container,
				s.name, sent.Dials, sent.Failed, sent.Repeated))
		}
	}
}

// checkSinks errs if the measurement itself lost something.
func (l *lab) checkSinks() error {
	var errs []error
	for _, s := range l.sinks {
		lost, err := s.lost()
		if err == nil && lost > 0 {
			err = fmt.Errorf("the socket of sink %s had no room for %d datagrams: what arrived is not known", s.name, lost)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (o *outcome) find(format string, args ...any) {
	o.findings = append(o.findings, o.scenario.name+": "+fmt.Sprintf(format, args...))
}

// judge says what must not be.
func (o *outcome) judge() {
	for _, t := range o.tallies {
		if t.namespace == denied && !o.scenario.absent {
			o.judgeDenied(t)
		} else {
			o.judgeAllowed(t)
		}
	}
	if len(o.tallies) == 0 {
		o.find("no pod has sent anything")
	}
}

func (o *outcome) judgeDenied(t *tally) {
	for _, s := range t.sinks {
		if s.arrived > 0 || s.connections > 0 || s.openings > 0 {
			o.find("of pods that may send nothing %d datagrams, %d connections and %d TCP openings arrived %s", s.arrived, s.connections, s.openings, s.name)
		}
		if s.sent == 0 || s.dials == 0 {
			o.find("pods that may send nothing did not try: %d datagrams, %d dials to %s", s.sent, s.dials, s.name)
		}
	}
	if t.incoming.Datagrams > 0 || t.incoming.Connections > 0 {
		o.find("%d datagrams and %d connections got in to pods that may receive nothing", t.incoming.Datagrams, t.incoming.Connections)
	}
}

func (o *outcome) judgeAllowed(t *tally) {
	for _, s := range t.sinks {
		if s.late > 0 {
			o.find("%d datagrams of namespace %s to %s were lost after the first had arrived", s.late, t.namespace, s.name)
		}
		if !o.scenario.late && (s.early > 0 || s.failed > 0 || s.repeated > 0) {
			o.find("of namespace %s to %s the first %d datagrams were lost; of %d dials %d failed, and %d succeeded, but not at once",
				t.namespace, s.name, s.early, s.dials, s.failed, s.repeated)
		}
		if s.arrived == 0 || s.connections == 0 {
			o.find("nothing of namespace %s arrived %s, or no connection", t.namespace, s.name)
		}
	}
	if t.incoming.Datagrams == 0 || t.incoming.Connections == 0 {
		o.find("%d datagrams and %d connections got in to pods of namespace %s, want some: the probes show nothing",
			t.incoming.Datagrams, t.incoming.Connections, t.namespace)
	}
}
