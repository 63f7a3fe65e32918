// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// existingAtATime is how many namespaces are created at a time before the measurement.
const existingAtATime = 32

// bringExisting measures from the first start of the webhook to the last policy of n namespaces that
// were in mode enforce before it.
func (l *lab) bringExisting(ctx context.Context, n int) (*existing, error) {
	ctx, cancel := context.WithTimeout(ctx, raceWithin)
	defer cancel()
	seen, err := watchPolicies(ctx, l.apis[0])
	if err != nil {
		return nil, fmt.Errorf("watch NetworkPolicies: %w", err)
	}
	creators, creating := errgroup.WithContext(ctx)
	creators.SetLimit(existingAtATime)
	for i := range n {
		creators.Go(func() error {
			ns := namespace(fmt.Sprintf("shop-%d", i))
			ns.Labels[baseline.LabelMode] = baseline.Enforce.String()
			_, err := l.apis[0].CoreV1().Namespaces().Create(creating, ns, metav1.CreateOptions{})
			return err
		})
	}
	if err := creators.Wait(); err != nil {
		return nil, fmt.Errorf("create namespaces: %w", err)
	}
	webhook, err := l.replica("")
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := webhook.start(ctx); err != nil {
		return nil, err
	}
	if err := seen.until(ctx, n); err != nil {
		return nil, err
	}
	return &existing{Namespaces: n, Seconds: time.Since(begin).Seconds()}, nil
}
