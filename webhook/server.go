// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/bulkhead-dev/bulkhead/webhook/internal/admit"
)

const (
	// clientIdle is when API servers close a connection that they do not use. It is for them to do: one that the
	// server closes may have a request on its way, and that would fail.
	clientIdle = 90 * time.Second
	// idleTimeout leaves closing to clients that do it.
	idleTimeout = clientIdle + 30*time.Second
	// letGoWithin bounds the wait for API servers to close their connections.
	letGoWithin = clientIdle + 5*time.Second
	// headerWithin and maxHeaderBytes bound what is read before anything is known of a client.
	headerWithin, maxHeaderBytes = 10 * time.Second, 1 << 16
)

// reviewServer answers admission reviews, and ends without a call that fails.
//
// A pod gets SIGTERM at the moment at which the Service begins to forget it, so API servers go on opening
// connections for a while: drain. And those that they have stay with the pod: webhooks are called over
// HTTP/1.1, where a server can ask for the end of a connection only in an answer, and API servers keep several,
// some of which are used again after a minute. So the server goes on until they have closed the last one.
type reviewServer struct {
	http   http.Server
	mux    *http.ServeMux
	drain  time.Duration // zero: it ends at once
	ending atomic.Bool
	open   atomic.Int64 // connections
}

func newReviewServer(drain time.Duration, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *reviewServer {
	s := &reviewServer{drain: drain, mux: http.NewServeMux()}
	s.http = http.Server{
		Handler: http.HandlerFunc(s.serve), ConnState: s.count,
		TLSConfig:   &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, GetCertificate: certificate},
		IdleTimeout: idleTimeout, ReadHeaderTimeout: headerWithin, MaxHeaderBytes: maxHeaderBytes,
	}
	return s
}

// answer reviews that are sent to a path.
func (s *reviewServer) answer(path string, handler admission.Handler) error {
	review, err := admission.StandaloneWebhook(&admission.Webhook{Handler: handler}, admission.StandaloneOptions{MetricsPath: path})
	if err != nil {
		return fmt.Errorf("serve %s: %w", path, err)
	}
	s.mux.Handle(path, admit.Bound(review))
	return nil
}

// addTo has the manager run the server, and end it after all that it needs.
func (s *reviewServer) addTo(mgr manager.Manager, host string, port int) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	return mgr.Add(&manager.Server{
		Name: "webhook", Server: &s.http, Listener: tls.NewListener(listener, s.http.TLSConfig), ShutdownTimeout: ptr.To(answeredWithin),
	})
}

func (s *reviewServer) serve(w http.ResponseWriter, r *http.Request) {
	if s.ending.Load() {
		w.Header().Set("Connection", "close")
	}
	s.mux.ServeHTTP(w, r)
}

func (s *reviewServer) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.open.Add(-1)
	}
}

// ready is a readiness check.
func (s *reviewServer) ready(*http.Request) error {
	if s.ending.Load() {
		return errors.New("it is about to end")
	}
	return nil
}

// end makes the server not ready, and ask for the end of each connection that is used.
func (s *reviewServer) end() { s.ending.Store(true) }

// unused returns when no API server calls any more, or ctx ends; at once unless end was called.
func (s *reviewServer) unused(ctx context.Context) {
	if !s.ending.Load() || s.drain == 0 {
		return
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(s.drain):
	}
	// What is still there when the time is over is no API server.
	_ = wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, letGoWithin, true, func(context.Context) (bool, error) {
		return s.open.Load() == 0, nil
	})
}
