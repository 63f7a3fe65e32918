// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	admissionv1 "k8s.io/api/admission/v1"
)

// send returns what a handler answers to a body, or fails when that is no review.
func send(t testing.TB, handler http.Handler, body io.Reader) *admissionv1.AdmissionResponse {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/validate", body)
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || answer.Response == nil || recorder.Code != http.StatusOK {
		t.Fatalf("status %d, answer %q: %v", recorder.Code, recorder.Body, err)
	}
	return answer.Response
}

// passes is a handler that allows everything.
var passes = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, `{"response":{"allowed":true}}`)
})

func TestBound(t *testing.T) {
	unsized := func(text string) io.Reader { return io.MultiReader(strings.NewReader(text)) } // no Content-Length
	for name, test := range map[string]struct {
		body io.Reader
		want int32 // 0: allowed
	}{
		"small":                  {strings.NewReader(`{}`), 0},
		"as large as allowed":    {strings.NewReader(strings.Repeat(" ", MaxReviewBytes)), 0},
		"too large":              {strings.NewReader(strings.Repeat(" ", MaxReviewBytes+1)), http.StatusRequestEntityTooLarge},
		"too large, not said":    {unsized(strings.Repeat(" ", MaxReviewBytes+1)), http.StatusRequestEntityTooLarge},
		"as deep as allowed":     {strings.NewReader(strings.Repeat(`{"a":[`, maxDepth/2)), 0},
		"too deep":               {strings.NewReader(strings.Repeat(`{"a":[`, maxDepth/2) + "["), http.StatusBadRequest},
		"brackets in a string":   {strings.NewReader(`"\"` + strings.Repeat("[", 2*maxDepth) + `"`), 0},
		"many beside each other": {strings.NewReader("[" + strings.Repeat("[],", 2*maxDepth) + "[]]"), 0},
	} {
		answer := send(t, Bound(passes), test.body)
		if answer.Allowed != (test.want == 0) || !answer.Allowed && answer.Result.Code != test.want {
			t.Errorf("%s: %+v, want %d", name, answer, test.want)
		}
	}
}

// Of the largest reviews only as many are read at a time as the bound says; one more waits, and is refused
// when nobody makes room.
func TestBoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		inside := 0
		handler := Bound(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inside++
			<-release
			passes(w, r)
		}))
		answers := make(chan *admissionv1.AdmissionResponse)
		for range maxUnderWay / MaxReviewBytes {
			go func() { answers <- send(t, handler, strings.NewReader(strings.Repeat(" ", MaxReviewBytes))) }()
			synctest.Wait()
		}
		if answer := send(t, handler, strings.NewReader("{}")); answer.Allowed || answer.Result.Code != http.StatusServiceUnavailable {
			t.Errorf("one more: %+v", answer)
		}
		if inside != maxUnderWay/MaxReviewBytes {
			t.Errorf("%d reviews were read", inside)
		}
		close(release)
		for range inside {
			if answer := <-answers; !answer.Allowed {
				t.Errorf("%+v", answer)
			}
		}
		if answer := send(t, handler, strings.NewReader("{}")); !answer.Allowed {
			t.Errorf("after the others: %+v", answer)
		}
	})
}
