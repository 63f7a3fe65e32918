// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sync"
	"time"
)

// fault is what must not happen.
type fault int

const (
	leaked  fault = iota // denied, and arrived
	dropped              // allowed, and did not arrive
	broken               // a connection that was open
)

func (f fault) String() string { return [...]string{"leaked", "wrongly dropped", "broken"}[f] }

// maxExamples of each kind are kept.
const maxExamples = 5

// counts are those of a stretch of time.
type counts struct {
	Allowed int    `json:"allowed"` // packets and connections that were expected to arrive
	Denied  int    `json:"denied"`
	Faults  [3]int `json:"-"`
}

// tally counts.
type tally struct {
	begun time.Time

	mu       sync.Mutex
	counts   counts
	examples []string
	shown    [3]int
}

func (t *tally) sent(want verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch want {
	case allowed:
		t.counts.Allowed++
	case denied:
		t.counts.Denied++
	}
}

// add counts a fault. at is when it was sent.
func (t *tally) add(f fault, what fmt.Stringer, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Faults[f]++
	if t.shown[f]++; t.shown[f] <= maxExamples {
		t.examples = append(t.examples, fmt.Sprintf("%s: %s, sent %.3f s after the beginning (%s)",
			f, what, at.Sub(t.begun).Seconds(), at.UTC().Format("15:04:05.000")))
	}
}

// reset returns what was counted since the last one.
func (t *tally) reset() (counts, []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, examples := t.counts, t.examples
	t.counts, t.examples, t.shown, t.begun = counts{}, nil, [3]int{}, time.Now()
	return c, examples
}
