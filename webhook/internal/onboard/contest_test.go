// SPDX-License-Identifier: Apache-2.0

package onboard

import (
	"testing"
	"time"
)

func TestContestsSlowDown(t *testing.T) {
	c, now := newContests(), time.Now()
	for i, want := range []time.Duration{0, 0, 0, 1 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second} {
		if got := c.wait("shop", now); got != want {
			t.Errorf("restoration %d waits %s, want %s", i+1, got, want)
		}
		now = now.Add(want)
		if got := c.wait("shop", now); got != 0 {
			t.Errorf("restoration %d waits %s more", i+1, got)
		}
		c.restored("shop", now)
	}
	if got := c.wait("bank", now); got != 0 {
		t.Errorf("another namespace waits %s", got)
	}
	now = now.Add(quiet + time.Second)
	c.restored("shop", now)
	if got := c.wait("shop", now); got != 0 {
		t.Errorf("after a quiet time it waits %s", got)
	}
	c.forget("shop")
	if len(c.rows) != 0 {
		t.Errorf("%v is left", c.rows)
	}
}
