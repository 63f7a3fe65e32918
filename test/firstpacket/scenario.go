// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
	"github.com/bulkhead-dev/bulkhead/test/firstpacket/record"
)

// scenario is what the agent does while pods start.
type scenario struct {
	name, description string
	absent            bool     // there is no enforcer at all: everything must arrive
	args              []string // of the enforcer
	// before and after are called around the start of each wave; nil: nothing is done. After after, what may arrive must.
	before, after func(context.Context, *enforcer) error
	// late says that pods may start before the agent knows them: cut off at first, then as any other.
	late bool
}

var scenarios = []scenario{
	{name: "none", description: "no enforcer: that everything arrives shows that the rest means something", absent: true},
	{name: "nri", description: "the runtime asks the agent about each new pod"},
	{name: "without-nri", description: "the agent does not use NRI", args: []string{"--nri-socket="}, late: true},
	{
		name: "stopped", description: "the agent is stopped (SIGSTOP), so that NRI times out", late: true,
		before: func(_ context.Context, e *enforcer) error { return e.pause() },
		after:  func(_ context.Context, e *enforcer) error { return e.resume() },
	},
	{
		name: "killed", description: "the agent is killed (SIGKILL), and started again when the pods run", late: true,
		before: func(_ context.Context, e *enforcer) error { return e.kill() },
		after:  func(ctx context.Context, e *enforcer) error { return e.start(ctx) },
	},
}

// started is how many datagrams a container has sent to each address when it is taken to have started, and seen is
// how many have arrived when it is taken to be reached.
const (
	started = 700
	seen    = 300
)

// newWave is what starts at the same time: so many pods in the namespace where nothing is allowed, and some that may
// send. One in ten is of each kind that is not plain, unless only plain ones are wanted.
func newWave(atOnce int, onlyPlain bool) wave {
	few := atOnce / 10
	if onlyPlain {
		few = 0
	}
	half := (few + 1) / 2
	return wave{
		{denied, plain, atOnce - 3*few},
		{denied, initial, few},
		{denied, crash, few},
		{denied, sandbox, few},
		{allowed, plain, max(1, few)},
		{allowed, initial, few},
		{allowed, crash, half},
		{allowed, sandbox, half},
		{audited, plain, max(1, half)},
		{watched, plain, max(1, half)},
	}
}

// play starts the pods in waves and returns what came of them.
func (l *lab) play(ctx context.Context, s scenario) (*outcome, error) {
	if err := l.reset(); err != nil {
		return nil, err
	}
	if err := l.enforcer.kill(); err != nil {
		return nil, err
	}
	if !s.absent {
		l.enforcer.args = s.args
		if err := l.enforcer.start(ctx); err != nil {
			return nil, err
		}
	}
	p := startProber(l.node.Pods[0], l.onNode("/var/lib/cni/networks/*/last_reserved_ip.0"), l.inPod)
	o := &outcome{scenario: s}
	err := l.playWaves(ctx, s, o)
	probes, proberErr := p.stop()
	o.probes = probes
	if err = errors.Join(err, proberErr); err != nil {
		return nil, errors.Join(err, l.enforcer.evidence(context.WithoutCancel(ctx), s.name))
	}
	if err := l.enforcer.evidence(ctx, s.name); err != nil {
		return nil, err
	}
	return o, l.count(ctx, o)
}

// reset forgets what came of earlier pods.
func (l *lab) reset() error {
	for _, s := range l.sinks {
		s.reset()
	}
	if err := os.RemoveAll(l.records()); err != nil {
		return err
	}
	return os.MkdirAll(l.records(), 0o777)
}

func (l *lab) playWaves(ctx context.Context, s scenario, o *outcome) error {
	for i := 0; i < l.pods; i += l.atOnce {
		w := newWave(min(l.atOnce, l.pods-i), l.plain)
		begin := time.Now()
		if err := l.playWave(ctx, s, w, o); err != nil {
			return fmt.Errorf("scenario %s, wave %d: %w", s.name, i/l.atOnce+1, err)
		}
		l.say("  %s: %d pods in %.1f s", s.name, w.pods(), time.Since(begin).Seconds())
	}
	return nil
}

func (l *lab) playWave(ctx context.Context, s scenario, w wave, o *outcome) error {
	if s.before != nil {
		if err := s.before(ctx, l.enforcer); err != nil {
			return err
		}
	}
	members, err := l.create(ctx, w)
	if err != nil {
		return err
	}
	if err := l.awaitStarts(ctx, members); err != nil {
		return err
	}
	resumed := time.Now()
	if s.after != nil {
		if err := s.after(ctx, l.enforcer); err != nil {
			return err
		}
		o.resumed = append(o.resumed, resumed)
	}
	if err := l.awaitArrivals(ctx); err != nil {
		return err
	}
	return l.clear(ctx, w)
}

// awaitStarts returns when every pod has started as often as it is to, and sends. Sandboxes that are to be made anew are
// killed meanwhile.
func (l *lab) awaitStarts(ctx context.Context, members []member) error {
	killed := map[string]bool{}
	return cluster.Until(ctx, patience, "pods to send", func(ctx context.Context) error {
		pods, err := l.byPod()
		if err != nil {
			return err
		}
		for _, m := range members {
			records := pods[m.String()]
			if m.kind == sandbox && !killed[m.String()] && len(records) > 0 && sends(records[0]) {
				killed[m.String()] = true
				if err := l.killSandbox(ctx, m); err != nil {
					return err
				}
			}
		}
		for _, m := range members {
			if err := m.kind.hasStarted(pods[m.String()]); err != nil {
				return fmt.Errorf("pod %s: %w (%s)", m, err, l.state(ctx, m))
			}
		}
		return nil
	})
}

func (k kind) hasStarted(records []record.Record) error {
	n := 0
	for _, r := range records {
		if sends(r) {
			n++
		}
	}
	if n < k.starts() {
		return fmt.Errorf("%d containers of %d have sent %d datagrams", n, k.starts(), started)
	}
	return nil
}

func sends(r record.Record) bool { return r.Targets[0].Datagrams >= started }

// byPod are the records of each pod, by namespace and name.
func (l *lab) byPod() (map[string][]record.Record, error) {
	records, err := record.ReadAll(l.records())
	pods := map[string][]record.Record{}
	for _, r := range records {
		name := r.Namespace + "/" + r.Pod
		pods[name] = append(pods[name], r)
	}
	return pods, err
}

// awaitArrivals returns when datagrams of every container that still sends, and may, have arrived everywhere.
func (l *lab) awaitArrivals(ctx context.Context) error {
	last := map[uint64]uint64{} // datagrams that an instance had sent at the look before
	return cluster.Until(ctx, patience, "datagrams of all pods that may send", func(context.Context) error {
		records, err := record.ReadAll(l.records())
		if err != nil {
			return err
		}
		var missing error
		for _, r := range records {
			sent := r.Targets[0].Datagrams
			before, looked := last[r.Instance]
			last[r.Instance] = sent
			if !looked {
				missing = errors.New("looked only once")
			} else if r.Namespace != denied && sent > before {
				missing = errors.Join(missing, l.arrives(r))
			}
		}
		return missing
	})
}

func (l *lab) arrives(r record.Record) error {
	for _, s := range l.sinks {
		if n := s.of(r.Instance).datagrams; n < seen {
			return fmt.Errorf("%d datagrams of %s/%s (%s) arrived %s", n, r.Namespace, r.Pod, r.Container, s.name)
		}
	}
	return nil
}
