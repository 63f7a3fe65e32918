// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/observer"
)

// follower asks a server with these time limits for all flows from now on.
func follower(t *testing.T, ring *observer.Ring, limit time.Duration) (ask func() (*http.Response, error), shutDown func()) {
	t.Helper()
	w := &website{observer: observer.NewServer(ring, "node", "")}
	server := httptest.NewUnstartedServer(nil)
	server.Config.ReadTimeout, server.Config.WriteTimeout = limit, limit
	server.Config.Handler = w.flows(server.Config)
	server.Start()
	t.Cleanup(server.Close)
	return func() (*http.Response, error) {
		return http.Post(server.URL, "application/json", strings.NewReader(`{"follow":true}`))
	}, func() { _ = server.Config.Shutdown(t.Context()) }
}

// The server's limits are for short answers: who follows a quiet node is not cut off by them.
func TestFollowersAreNotCutOff(t *testing.T) {
	ring := observer.NewRing(10)
	const limit = 500 * time.Millisecond
	ask, shutDown := follower(t, ring, limit)
	resp, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	late := observer.Flow{Time: time.Now(), Message: func() *flowpb.Flow { return &flowpb.Flow{Uuid: "late"} }}
	time.AfterFunc(2*limit, func() { ring.Append([]observer.Flow{late}) })
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || !strings.Contains(lines.Text(), "late") {
		t.Fatalf("got %q, %v", lines.Text(), lines.Err())
	}
	shutDown()
	if lines.Scan() {
		t.Errorf("after the shutdown: %s", lines.Text())
	}
}

func TestFollowersAreBounded(t *testing.T) {
	ask, _ := follower(t, observer.NewRing(10), time.Minute)
	for range maxFollowers {
		resp, err := ask()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", resp, err)
		}
		defer resp.Body.Close()
	}
	resp, err := ask()
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("one more than fit: %v, %v", resp, err)
	}
	resp.Body.Close()
}
