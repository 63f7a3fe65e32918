// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/client-go/rest"
)

const (
	// answerWithin is the API server's own limit for Bulkhead's webhooks.
	answerWithin = 2 * time.Second
	// maxUnderWay bounds what piles up when the webhook cannot keep up. More is a failure of its own.
	maxUnderWay = 5000
)

// sender asks one replica.
type sender struct {
	client *http.Client
	base   string // https://host:port

	mu      sync.Mutex
	took    map[string][]time.Duration // by kind of review
	wrong   int
	example error // of what went wrong; nil: nothing did
}

// newSender trusts the authority, PEM. It calls as the API server does, with the same library: HTTP/2, one
// connection.
func newSender(address string, authority []byte) (*sender, error) {
	client, err := rest.HTTPClientFor(&rest.Config{Timeout: answerWithin, TLSClientConfig: rest.TLSClientConfig{CAData: authority}})
	if err != nil {
		return nil, err
	}
	return &sender{client: client, base: "https://" + address, took: map[string][]time.Duration{}}, nil
}

// send sends all reviews, rate of them a second on average, at random moments that do not depend on
// answers: what waits for a slow one is counted as waiting. It returns when all are answered. The first is
// sent before, so that the connection is there.
func (s *sender) send(ctx context.Context, reviews []review, rate int) error {
	if err := s.ask(ctx, reviews[0]); err != nil {
		return err
	}
	var answers sync.WaitGroup
	underWay := make(chan struct{}, maxUnderWay)
	due := time.Now()
	for _, r := range reviews {
		due = due.Add(time.Duration(rand.ExpFloat64() * float64(time.Second) / float64(rate)))
		pause(ctx, time.Until(due))
		select {
		case underWay <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		default:
			return fmt.Errorf("%d reviews wait for an answer: the webhook does not keep up with %d a second", maxUnderWay, rate)
		}
		begin := due
		answers.Go(func() {
			err := s.ask(ctx, r)
			s.note(r.kind, time.Since(begin), err)
			<-underWay
		})
	}
	answers.Wait()
	return ctx.Err()
}

// ask returns an error unless the answer is the right one.
func (s *sender) ask(ctx context.Context, r review) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+r.path+"?timeout=2s", bytes.NewReader(r.body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &answer); err != nil || answer.Response == nil {
		return fmt.Errorf("%s: status %d, no review: %q", r.kind, response.StatusCode, body)
	}
	if answer.Response.Allowed != r.allowed {
		return fmt.Errorf("%s: allowed is %t: %s", r.kind, answer.Response.Allowed, body)
	}
	return nil
}

func (s *sender) note(kind string, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took[kind] = append(s.took[kind], took)
	if err != nil {
		s.wrong++
		s.example = err
	}
}
