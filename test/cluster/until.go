// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Until calls check until it returns nil. The error after patience is the last of check's.
func Until(ctx context.Context, patience time.Duration, what string, check func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	last := errors.New("never looked")
	for {
		err := check(bounded)
		if err == nil {
			return nil
		}
		if bounded.Err() == nil {
			last = err // else it only says that time is up
		}
		select {
		case <-bounded.Done():
			return fmt.Errorf("wait for %s: %w: %w", what, bounded.Err(), last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
