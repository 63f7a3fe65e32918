// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	admissionreviewv1 "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/balancer"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/certs"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/register"
)

const serviceName = "bulkhead-webhook." + baseline.ProjectNamespace + ".svc"

// TestHourlyRotationFailsNoCall runs a day, with another authority each hour, in which a real API server calls three
// replicas over a new connection each time. API servers read the real clock, so the day is the one that ends
// now, and all its certificates are valid now. The replicas' clock runs faster than the real one: what they
// give API servers to hear of an authority is a quarter of a second here.
func TestHourlyRotationFailsNoCall(t *testing.T) {
	if err := forgetAuthority(t.Context()); err != nil {
		t.Fatal(err)
	}
	clock := clocktesting.NewFakeClock(time.Now().Add(-24 * time.Hour))
	var replicas []*certs.Certificates
	var members []balancer.Replica
	for range 3 {
		r, address := rotating(t, clock)
		replicas, members = append(replicas, r), append(members, balancer.Replica{Address: address})
	}
	service, err := balancer.Start(balancer.Config{Replicas: members, Probe: time.Second, Delay: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Close() })
	callAt(t, service.Addr(), nil)
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	forward := func() { <-pace.C; clock.Step(time.Second) }
	eventually(t, "the API server calls the replicas", func() error { forward(); return createDry(t.Context(), "called") })

	calls := startCalls(t)
	authorities := map[string]bool{authorityOf(t, replicas[0]): true}
	for hour := range 24 {
		before := authorityOf(t, replicas[0])
		clock.Step(time.Hour)
		eventually(t, fmt.Sprintf("all replicas sign with another authority in hour %d", hour), func() error {
			forward()
			for i, r := range replicas {
				if authorityOf(t, r) == before {
					return fmt.Errorf("replica %d does not", i)
				}
			}
			return nil
		})
		authorities[authorityOf(t, replicas[0])] = true
	}
	made, failed := calls()
	if failed != nil || made < 100 {
		t.Errorf("%d calls, of which failed: %v", made, failed)
	}
	if len(authorities) != 25 {
		t.Errorf("%d authorities were in use, want 25", len(authorities))
	}
	t.Logf("%d calls over %d authorities", made, len(authorities))
}

// rotating is a replica with nothing but its certificate. It allows everything, and keeps no connection.
func rotating(t *testing.T, clock *clocktesting.FakeClock) (replica *certs.Certificates, address string) {
	t.Helper()
	replica = certs.New(certs.Config{
		Client: admin, Namespace: baseline.ProjectNamespace, Hosts: []string{serviceName}, Log: slog.New(slog.DiscardHandler), Clock: clock,
		Authority: certs.Lifetime{Valid: 48 * time.Hour, Renew: time.Hour}, Leaf: certs.Lifetime{Valid: 48 * time.Hour, Renew: 20 * time.Minute},
	})
	ctx, cancel := context.WithCancel(context.Background())
	registration := register.New(register.Config{Client: admin, Namespace: baseline.ProjectNamespace, Certs: replica, Log: slog.New(slog.DiscardHandler)})
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: replica.Get})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(allowAll), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	server.SetKeepAlivesEnabled(false)
	var running sync.WaitGroup
	running.Go(func() { _ = replica.Start(ctx) })
	running.Go(func() { _ = server.Serve(listener) })
	if err := replica.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	running.Go(func() { _ = registration.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = server.Close()
		running.Wait()
	})
	return replica, listener.Addr().String()
}

func allowAll(w http.ResponseWriter, r *http.Request) {
	var review admissionreviewv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Response = &admissionreviewv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	_ = json.NewEncoder(w).Encode(review)
}

// callAt makes the chart's webhooks, which all must answer, behind a Service at an address. A caBundle that is nil
// is left to the replicas.
func callAt(t *testing.T, address string, caBundle []byte) {
	t.Helper()
	host, text, _ := net.SplitHostPort(address)
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: baseline.ProjectNamespace, Name: "bulkhead-webhook"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: host},
	}
	t.Cleanup(func() {
		emergencyOff(t)
		if err := errors.Join(admin.Delete(context.Background(), service), forgetAuthority(context.Background())); err != nil {
			t.Error(err)
		}
	})
	if err := admin.Create(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	objects, err := register.Objects(baseline.ProjectNamespace)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		webhooks, found, _ := unstructured.NestedSlice(object.Object, "webhooks")
		if !found {
			continue
		}
		for _, w := range webhooks {
			webhook := w.(map[string]any)
			webhook["failurePolicy"] = string(admissionv1.Fail)
			config := webhook["clientConfig"].(map[string]any)
			config["service"].(map[string]any)["port"] = port
			if caBundle != nil {
				config["caBundle"] = base64.StdEncoding.EncodeToString(caBundle)
			}
		}
		if err := errors.Join(unstructured.SetNestedSlice(object.Object, webhooks, "webhooks"), admin.Create(t.Context(), object)); err != nil {
			t.Fatal(err)
		}
	}
}

// forgetAuthority deletes the Secret, if there is one.
func forgetAuthority(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: baseline.ProjectNamespace, Name: certs.SecretName}}
	return client.IgnoreNotFound(admin.Delete(ctx, secret))
}

func createDry(ctx context.Context, name string) error {
	return admin.Create(ctx, newNamespace(name, nil), client.DryRunAll)
}

// callEvery is the time between two calls of one client.
const callEvery = 20 * time.Millisecond

// startCalls makes the API server call, until the returned function is called, which says how often and what
// failed.
func startCalls(t *testing.T) (stop func() (made int, failed error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var mu sync.Mutex
	made, failures := 0, []error{}
	for i := range 3 {
		clients.Go(func() {
			pace := time.NewTicker(callEvery)
			defer pace.Stop()
			for ctx.Err() == nil {
				<-pace.C
				err := createDry(t.Context(), fmt.Sprintf("rotation-%d", i))
				mu.Lock()
				made++
				if err != nil {
					failures = append(failures, err)
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, error) {
		cancel()
		clients.Wait()
		return made, errors.Join(failures...)
	}
}

// authorityOf is the key of the authority that a replica signs with now.
func authorityOf(t *testing.T, replica *certs.Certificates) string {
	t.Helper()
	leaf, err := replica.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(leaf.Leaf.AuthorityKeyId)
}
