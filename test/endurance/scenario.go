// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// scenario is something that happens to the enforcer. Its function returns an error only where the experiment failed;
// what the enforcer does wrong is in the result.
type scenario struct {
	name, about string
	control     bool // it breaks enforcement
	do          func(context.Context, *lab, *result) error
}

// scenarios are in the order in which all of them are gone through.
func scenarios() []*scenario {
	return []*scenario{
		{"calm", "nothing happens", false, calm},
		{"control-detach", "the enforcer is killed and its programs are detached", true, controlDetach},
		{"control-deny", "all of front is denied, and the laboratory is not told", true, controlDeny},
		{"kill", "the enforcer is killed (SIGKILL) and started at once, again and again, while policies change", false, kill},
		{"kill-late", "the enforcer is killed and started after 5 s", false, killLate},
		{"restart", "the enforcer ends and is started, again and again", false, restart},
		{"upgrade", "a build with other maps takes over, and the first one again", false, upgrade},
		{"apiserver", "the API server is away", false, apiserver},
		{"cut", "the enforcer's watches are cut, and it cannot connect for a moment", false, cut},
		{"table", "the table of connections is full", false, table},
		{"large", "a pod gets more rules than fit", false, large},
		{"newpods", "pods come and go, and send from the first moment", false, newPods},
		{"reuse", "an address gets another pod within a second", false, reuse},
		{"churn", "1,000 policies are changed in a minute", false, churn},
		{"latency", "rules come and go, in a cluster of --pods and --policies", false, latency},
		{"size", "memory and processor time in that cluster, when nothing happens", false, size},
	}
}

func names() (all []string) {
	for _, s := range scenarios() {
		all = append(all, s.name)
	}
	return all
}

func byName() map[string]*scenario {
	all := make(map[string]*scenario)
	for _, s := range scenarios() {
		all[s.name] = s
	}
	return all
}

func scenarioHelp() string {
	var b strings.Builder
	b.WriteString("Scenarios; without any, all of them:\n")
	for _, s := range scenarios() {
		fmt.Fprintf(&b, "\n  %-15s %s", s.name, s.about)
	}
	return b.String()
}

// settling is how long traffic goes on before a scenario and after it.
const settling = 500 * time.Millisecond

// goThrough begins and ends with an enforcer that is ready and traffic as it must be.
func (l *lab) goThrough(ctx context.Context, s *scenario) (*result, error) {
	if err := l.enforcer.ready(ctx); err != nil {
		return nil, err
	}
	pause(ctx, settling)
	lostBefore, err := backlogDrops()
	if err != nil {
		return nil, err
	}
	l.tally.reset()
	begun := time.Now()
	r := &result{Scenario: s.name, control: s.control}
	if err := s.do(ctx, l, r); err != nil {
		return nil, err
	}
	if err := l.enforcer.ready(ctx); err != nil {
		return nil, err
	}
	r.Seconds = time.Since(begun).Seconds()
	if err := l.settle(ctx); err != nil {
		return nil, err
	}
	counts, examples := l.tally.reset()
	r.Allowed, r.Denied, r.Leaked, r.Dropped, r.Broken = counts.Allowed, counts.Denied, counts.Faults[leaked], counts.Faults[dropped], counts.Faults[broken]
	if !s.control {
		r.Examples = examples
	}
	lost, err := backlogDrops()
	if n := lost - lostBefore; n > 0 {
		r.note("the machine was too busy: the kernel lost %d packets before any program saw them, which count as dropped", n)
	}
	return r, err
}
