// SPDX-License-Identifier: Apache-2.0

// Package ready finds out whether a replica can do its work, instead of believing so: it sends
// admission reviews to the address that the replica serves on, over TLS with the authority that the API
// server is given, and compares what the caches say with what the API server says.
package ready

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	// DefaultEvery is the time between two checks, and DefaultBound how long a replica that cannot be
	// checked still counts as ready: an API server that restarts is not to take all replicas with it.
	DefaultEvery, DefaultBound = 3 * time.Second, 15 * time.Second
	// firstEvery is the time between two checks until one has passed.
	firstEvery = 100 * time.Millisecond
	// roundWithin bounds one check.
	roundWithin = 5 * time.Second
)

// errUnfit is the cause of an error that says that the replica does harm now. Other errors only say
// that it could not be found out.
var errUnfit = errors.New("not fit to serve")

// Config of a Check. All fields but those with a zero meaning are required.
type Config struct {
	Address string // host:port that the replica serves on; an empty host is this machine
	Name    string // DNS name or address that the API server calls the replica by
	// CA returns the authorities that the API server is given, PEM; empty: those of the machine.
	CA      func(context.Context) ([]byte, error)
	Watches []*Watch // nil: none
	Log     *slog.Logger
	Every   time.Duration // zero: DefaultEvery
	Bound   time.Duration // zero: DefaultBound
}

// Check is the last that is known of a replica. It is safe for concurrent use.
type Check struct {
	config Config
	caller *caller

	mu     sync.Mutex
	passed time.Time // of the last check that passed; zero: none has
	last   error     // of the last check; nil: it passed
}

// New prepares a check. Nothing is sent before Run.
func New(config Config) *Check {
	if config.Every == 0 {
		config.Every = DefaultEvery
	}
	if config.Bound == 0 {
		config.Bound = DefaultBound
	}
	return &Check{config: config, caller: &caller{address: config.Address, name: config.Name, ca: config.CA}, last: errors.New("not checked yet")}
}

// Ready is a readiness check that only reads the last result. An error that says that answers are wrong
// or a watch is silent counts at once, any other after Config.Bound without a check that passed.
func (c *Check) Ready(*http.Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(c.last, errUnfit) || c.passed.IsZero() {
		return c.last
	}
	if since := time.Since(c.passed); since > c.config.Bound {
		return fmt.Errorf("no check has passed for %s: %w", since.Round(time.Second), c.last)
	}
	return nil
}

// Run checks until ctx ends.
func (c *Check) Run(ctx context.Context) error {
	for {
		pause := c.config.Every
		if !c.round(ctx) {
			pause = firstEvery
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// round reports whether a check has ever passed.
func (c *Check) round(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, roundWithin)
	defer cancel()
	err := c.caller.check(ctx)
	for _, watch := range c.config.Watches {
		err = errors.Join(err, watch.check(ctx, time.Now(), c.config.Bound))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.passed.IsZero() && (err == nil) != (c.last == nil) && !errors.Is(ctx.Err(), context.Canceled) {
		c.config.Log.Warn("readiness changed", "ready", err == nil, "error", err)
	}
	c.last = err
	if err == nil {
		c.passed = time.Now()
	}
	return !c.passed.IsZero()
}
