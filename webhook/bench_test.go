// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// BenchmarkOnboarding measures from the moment the API server has answered the creation of a namespace
// to the moment a watch shows the second of its policies, with some namespaces created at a time.
func BenchmarkOnboarding(b *testing.B) {
	for _, atATime := range []int{1, 16} {
		b.Run(fmt.Sprintf("%d-at-a-time", atATime), func(b *testing.B) {
			start(b)
			seen := watchPolicies(b)
			var mu sync.Mutex
			var took []time.Duration
			for round := 0; b.Loop(); round++ {
				var group sync.WaitGroup
				for i := range atATime {
					group.Go(func() {
						latency, err := onboardOne(b.Context(), seen, fmt.Sprintf("bench-%d-%d-%d-%d", atATime, b.N, round, i))
						if err != nil {
							b.Error(err)
						}
						mu.Lock()
						defer mu.Unlock()
						took = append(took, latency)
					})
				}
				group.Wait()
			}
			slices.Sort(took)
			b.ReportMetric(milliseconds(took[len(took)/2]), "p50-ms")
			b.ReportMetric(milliseconds(took[len(took)*99/100]), "p99-ms")
		})
	}
}

func onboardOne(ctx context.Context, seen *sightings, name string) (time.Duration, error) {
	complete := seen.expect(name)
	if err := admin.Create(ctx, newNamespace(name, nil)); err != nil {
		return 0, err
	}
	began := time.Now()
	select {
	case at := <-complete:
		return at.Sub(began), nil
	case <-time.After(within):
		return 0, fmt.Errorf("namespace %s has no policies after %s", name, within)
	}
}

// sightings tells when the second policy of a namespace was seen.
type sightings struct {
	mu       sync.Mutex
	count    map[string]int
	expected map[string]chan time.Time
}

func (s *sightings) expect(namespace string) <-chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	complete := make(chan time.Time, 1)
	s.expected[namespace] = complete
	return complete
}

func (s *sightings) add(namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count[namespace]++; s.count[namespace] == 2 && s.expected[namespace] != nil {
		s.expected[namespace] <- time.Now()
	}
}

func watchPolicies(b *testing.B) *sightings {
	b.Helper()
	watching, err := client.NewWithWatch(plane.Admin(), client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	watcher, err := watching.Watch(b.Context(), &networkingv1.NetworkPolicyList{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(watcher.Stop)
	seen := &sightings{count: map[string]int{}, expected: map[string]chan time.Time{}}
	go func() {
		for event := range watcher.ResultChan() {
			if policy, ok := event.Object.(*networkingv1.NetworkPolicy); ok {
				seen.add(policy.Namespace)
			}
		}
	}()
	return seen
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
