// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/selftest"
)

// A self-test that failed is made again after firstTestRetry, then ever later up to lastTestRetry.
const (
	firstTestRetry = time.Second
	lastTestRetry  = 5 * time.Minute
)

// testItself waits for the first policies of this agent, with which its programs replaced those of an earlier
// run, and makes self-tests until one passes or ctx ends.
func (s *shared) testItself(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-s.state.loaded:
	}
	for retry := firstTestRetry; ; retry = min(2*retry, lastTestRetry) {
		err := selftest.Run(s.dataplane)
		s.state.setSelfTest(err)
		if err == nil {
			s.log.Info("the self-test passed: every hook drops what it must")
			return
		}
		s.log.Error("the self-test failed, trying again", "in", retry, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
	}
}
