// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// TestServerEndsWhenNobodyHoldsAConnection: what an API server does with the connections that it has while a
// replica ends.
func TestServerEndsWhenNobodyHoldsAConnection(t *testing.T) {
	certificate := newServing(t)
	key, err := tls.X509KeyPair(certificate.crt, certificate.key)
	if err != nil {
		t.Fatal(err)
	}
	s := newReviewServer(time.Millisecond, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &key, nil })
	allow := admission.HandlerFunc(func(context.Context, admission.Request) admission.Response { return admission.Allowed("") })
	if err := s.answer("/validate", allow); err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", s.http.TLSConfig)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.http.Serve(listener) }()
	t.Cleanup(func() { _ = s.http.Close() })
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	call := func() (last bool) {
		response, err := client.Post("https://"+listener.Addr().String()+"/validate", "application/json", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body)
		return response.Close
	}
	if call() || s.ready(nil) != nil {
		t.Errorf("before the end: a connection is closed, or %v", s.ready(nil))
	}
	s.end()
	if s.ready(nil) == nil {
		t.Error("it is ready while it ends")
	}
	over := make(chan struct{})
	go func() {
		s.unused(t.Context())
		close(over)
	}()
	select {
	case <-over:
		t.Error("it ends while a client holds a connection")
	case <-time.After(100 * time.Millisecond):
	}
	if !call() {
		t.Error("a connection that is used while it ends is kept")
	}
	<-over
	if n := s.open.Load(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
}
