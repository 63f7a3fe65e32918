// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// live makes all pods that a workload has from before the simulation until after it, without their addresses.
func (c *cluster) live(w *workload) []*pod {
	l := &life{cluster: c, workload: w, random: c.stream("life", w.String())}
	switch w.kind {
	case cronJob:
		l.runs()
	case statefulSet:
		l.ordinals()
	case daemonSet:
		l.daemons()
	default:
		l.replicaSets()
	}
	return l.pods
}

// life is a workload's pods in the making.
type life struct {
	*cluster
	*workload
	random *rand.Rand
	pods   []*pod
}

func (l *life) add(name, revision string, n *node, start, end time.Time) {
	if !start.Before(end) {
		return // the next rollout came first
	}
	l.pods = append(l.pods, &pod{
		workload: l.workload, name: name, revision: revision, labels: l.workload.labels(name, revision),
		node: n, start: start, end: end,
	})
}

// anyNode is where the scheduler puts a pod.
func (l *life) anyNode() *node { return l.workers()[l.random.IntN(l.Nodes)] }

// generations are the times of rollouts, between the time before the simulation at which the workload was installed
// and a time after it.
func (l *life) generations() []time.Time {
	times := []time.Time{l.Start.Add(-time.Hour - time.Duration(l.random.Int64N(int64(48*time.Hour))))}
	for range l.Rollouts {
		times = append(times, l.moment(l.random))
	}
	slices.SortFunc(times, time.Time.Compare)
	return append(times, l.end.Add(24*time.Hour))
}

// replicaSets roll over pod by pod: the new one runs before the old one ends.
func (l *life) replicaSets() {
	const apart, both = 10 * time.Second, 5 * time.Second
	times := l.generations()
	for g := range times[:len(times)-1] {
		revision := templateHash(suffix(l.random, 10))
		pod := func(start, end time.Time) {
			l.add(fmt.Sprintf("%s-%s-%s", l.name, revision, suffix(l.random, 5)), revision, l.anyNode(), start, end)
		}
		for i := range l.replicas {
			shift := time.Duration(i) * apart
			pod(times[g].Add(shift), times[g+1].Add(shift+both))
		}
		if g > 0 {
			pod(times[g].Add(apart), times[g].Add(time.Hour)) // scaled up, and down again
		}
	}
}

// ordinals keep their names: the new pod starts after the old one ended.
func (l *life) ordinals() {
	times := l.generations()
	nodes := make([]*node, l.replicas)
	for i := range nodes {
		nodes[i] = l.anyNode() // where its volume is
	}
	for g := range times[:len(times)-1] {
		revision := suffix(l.random, 10)
		for i, n := range nodes {
			shift := time.Duration(i) * 10 * time.Second
			l.add(fmt.Sprintf("%s-%d", l.name, i), revision, n, times[g].Add(shift+2*time.Second), times[g+1].Add(shift))
		}
	}
}

func (l *life) daemons() {
	times := l.generations()
	for g := range times[:len(times)-1] {
		revision := suffix(l.random, 10)
		for _, n := range l.workers() {
			l.add(l.name+"-"+suffix(l.random, 5), revision, n, times[g].Add(2*time.Second), times[g+1])
		}
	}
}

// runs are one Job each, named after the minute as the controller does.
func (l *life) runs() {
	for _, t := range l.schedule.between(l.Start, l.end) {
		revision := fmt.Sprint(t.Unix() / 60)
		length := time.Minute + time.Duration(l.random.Int64N(int64(2*time.Minute)))
		l.add(fmt.Sprintf("%s-%s-%s", l.name, revision, suffix(l.random, 5)), revision, l.anyNode(), t.Add(time.Second), t.Add(length))
	}
}
