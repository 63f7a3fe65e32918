// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"sync"
	"time"
)

// window is how long changes are gathered after the first one: a controller that writes ten objects
// causes one update, not ten.
const window = 5 * time.Millisecond

// trigger folds any number of changes into one wake-up.
type trigger struct {
	wake  chan struct{}
	hurry chan struct{} // ends the window

	mu      sync.Mutex
	pending pending
}

// pending is what changed since it was last taken.
type pending struct {
	objects bool      // the API server's
	network bool      // the node's
	since   time.Time // the first change
}

func newTrigger() *trigger {
	return &trigger{wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
}

// objectsChanged never blocks.
func (t *trigger) objectsChanged() { t.fire(pending{objects: true}) }

// networkChanged never blocks.
func (t *trigger) networkChanged() { t.fire(pending{network: true}) }

// sandboxesChanged never blocks. The container runtime waits for an answer.
func (t *trigger) sandboxesChanged() {
	t.networkChanged()
	wake(t.hurry)
}

func (t *trigger) fire(what pending) {
	t.mu.Lock()
	if t.pending.since.IsZero() {
		t.pending.since = time.Now()
	}
	t.pending.objects = t.pending.objects || what.objects
	t.pending.network = t.pending.network || what.network
	t.mu.Unlock()
	wake(t.wake)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it will be woken already
	}
}

// next waits for a change and the window after it, or for the time-out (0: none), and returns what
// changed since. It errs only when ctx ends.
func (t *trigger) next(ctx context.Context, timeout time.Duration) (pending, error) {
	var expired <-chan time.Time
	if timeout > 0 {
		expired = time.After(timeout)
	}
	select {
	case <-ctx.Done():
		return pending{}, ctx.Err()
	case <-expired:
	case <-t.wake:
		select {
		case <-ctx.Done():
			return pending{}, ctx.Err()
		case <-t.hurry:
		case <-time.After(window):
		}
	}
	return t.take(), nil
}

func (t *trigger) take() pending {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.pending
	t.pending = pending{}
	if taken.since.IsZero() {
		taken.since = time.Now()
	}
	return taken
}
