// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	// MaxReviewBytes is far more than the API server sends: an object that etcd takes has 1.5 MB at most,
	// and a review of an update has two.
	MaxReviewBytes = 4 << 20
	// maxDepth of JSON is far more than a Namespace, a NetworkPolicy or a Pod has with its managedFields.
	maxDepth = 100
	// maxUnderWay bounds the bytes of all reviews under way. Reading one takes some ten times its size.
	maxUnderWay = 4 * MaxReviewBytes
	// readWithin is the longest that a review may take to arrive or to wait for others: nobody waits longer for
	// the answer.
	readWithin = 2 * time.Second
)

// Bound refuses reviews that are too large or too deep before anything reads them, and lets only as many in
// at a time as memory is meant for. What it refuses is answered as a review is.
func Bound(next http.Handler) http.Handler {
	return &bound{next: next, underWay: semaphore.NewWeighted(maxUnderWay)}
}

type bound struct {
	next     http.Handler
	underWay *semaphore.Weighted
}

// ServeHTTP implements http.Handler.
func (b *bound) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	defer func() { seconds.WithLabelValues(r.URL.Path).Observe(time.Since(begin).Seconds()) }()
	size := r.ContentLength
	if size > MaxReviewBytes {
		refuse(w, http.StatusRequestEntityTooLarge, errTooLarge)
		return
	}
	if size < 0 { // not said
		size = MaxReviewBytes
	}
	ctx, cancel := context.WithTimeout(r.Context(), readWithin)
	defer cancel()
	if err := b.underWay.Acquire(ctx, size); err != nil {
		refuse(w, http.StatusServiceUnavailable, errors.New("too many admission reviews are under way: retry"))
		return
	}
	defer b.underWay.Release(size)
	body, err := readBody(w, r)
	if errors.Is(err, errTooLarge) {
		refuse(w, http.StatusRequestEntityTooLarge, err)
		return
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	b.next.ServeHTTP(w, r)
}

var errTooLarge = fmt.Errorf("the admission review is larger than %d bytes", MaxReviewBytes)

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// Whoever sends slowly would keep others out. Not every writer, and no test's, has deadlines.
	deadline := time.Now().Add(readWithin)
	if err := http.NewResponseController(w).SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, fmt.Errorf("bound the time to read the admission review: %w", err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxReviewBytes))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("read the admission review: %w", err)
	}
	if depth(body) > maxDepth {
		return nil, fmt.Errorf("the admission review is nested deeper than %d", maxDepth)
	}
	return body, nil
}

// depth of the JSON text, without a regard to whether it is JSON.
func depth(text []byte) (deepest int) {
	now, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

func refuse(w http.ResponseWriter, code int32, err error) {
	response := admission.Errored(code, err)
	review := admissionv1.AdmissionReview{Response: &response.AdmissionResponse}
	review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review) // whoever asked is gone
}
