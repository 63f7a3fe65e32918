// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"
)

// drain lets a replica go without a call that fails. A pod gets SIGTERM at the moment at which the Service begins
// to forget it, so API servers go on calling it for a while: it is not ready any more, but answers, and
// asks whoever holds a connection to open the next one elsewhere.
type drain struct {
	lasts time.Duration // zero: it ends at once
	begun atomic.Bool
}

// wait returns when nobody calls any more, or ctx ends.
func (d *drain) wait(ctx context.Context) {
	if !d.begun.Load() {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d.lasts):
	}
}

// beginWith the end of ctx. The returned function takes that back.
func (d *drain) beginWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { d.begun.Store(true) })
}

// ready is a readiness check.
func (d *drain) ready(*http.Request) error {
	if d.begun.Load() {
		return errors.New("it is about to end")
	}
	return nil
}

// around returns a handler that closes connections while draining. Over HTTP/2 that is a GOAWAY: requests under
// way are answered, and what the client sent too late it sends again elsewhere.
func (d *drain) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.begun.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
