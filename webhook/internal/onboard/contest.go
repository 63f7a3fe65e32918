// SPDX-License-Identifier: Apache-2.0

package onboard

import (
	"sync"
	"time"
)

const (
	// atOnce is how many restorations in a row are done without waiting: people try more than once.
	atOnce = 3
	// Then each waits twice as long as the one before it.
	firstWait, lastWait = time.Second, 30 * time.Second
	// quiet is how long nothing has to be restored until a row is over.
	quiet = time.Minute
)

// contests slow down restorations that somebody undoes again and again: another controller, or a replica of
// another version or with other flags, which takes our policies for drift as we do its. Without it the two
// would write as fast as they can.
type contests struct {
	mu   sync.Mutex
	rows map[string]row // by namespace; those that are over go when the namespace goes, or begin anew
}

type row struct {
	restorations int
	last         time.Time
}

func newContests() *contests { return &contests{rows: map[string]row{}} }

// restored notes that the policies of a namespace were restored.
func (c *contests) restored(namespace string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rows[namespace]
	if now.Sub(r.last) > quiet {
		r.restorations = 0
	}
	c.rows[namespace] = row{r.restorations + 1, now}
}

// wait returns how long the next restoration has to wait; 0: it may be done.
func (c *contests) wait(namespace string, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rows[namespace]
	if r.restorations < atOnce {
		return 0
	}
	pause := lastWait
	if doublings := r.restorations - atOnce; doublings < 5 {
		pause = min(firstWait<<doublings, lastWait)
	}
	return max(0, pause-now.Sub(r.last))
}

func (c *contests) forget(namespace string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.rows, namespace)
}

// contested is the error of a restoration that has to wait.
type contested struct{ wait time.Duration }

func (c *contested) Error() string {
	return "somebody changes the policies as often as they are restored, so the next time is later. " +
		"Does another controller write them, or a Bulkhead of another version or with other flags?"
}
