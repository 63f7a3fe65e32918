// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// endWithin is terminationGracePeriodSeconds of the chart.
const endWithin = 110 * time.Second

// replica is a pod of the webhook.
type replica struct {
	binary, log string
	args        []string
	ready       string           // URL
	process     *cluster.Process // nil: not running
}

// start runs it and returns when it says that it is ready.
func (r *replica) start(ctx context.Context) (took time.Duration, err error) {
	begin := time.Now()
	if r.process, err = cluster.StartProcess(r.binary, r.log, r.args); err != nil {
		return 0, err
	}
	err = wait.PollUntilContextTimeout(ctx, pollEvery, readyWithin, true, func(ctx context.Context) (bool, error) {
		select {
		case <-r.process.Done():
			return false, r.process.EndedByItself()
		default:
			return r.isReady(ctx), nil
		}
	})
	if err != nil {
		return 0, fmt.Errorf("wait until bulkhead-webhook is ready: %w\n%s", err, r.process.LogTail())
	}
	return time.Since(begin), nil
}

func (r *replica) isReady(ctx context.Context) bool {
	return cluster.Answers(ctx, http.DefaultClient, r.ready)
}

// end asks it to end and waits for that; a grace of 0 kills it.
func (r *replica) end(grace time.Duration) error {
	if r.process == nil {
		return nil
	}
	err := r.process.Stop(grace)
	r.process = nil
	return err
}
