// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

const name = "bulkhead-webhook.bulkhead-system.svc"

// world is a Secret, a caBundle and a clock that replicas share.
type world struct {
	t      *testing.T
	api    client.Client
	clock  *clocktesting.FakeClock
	bundle []byte
}

func newWorld(t *testing.T) *world {
	return &world{t: t, api: fake.NewFakeClient(), clock: clocktesting.NewFakeClock(time.Now())}
}

func (w *world) replica() *Certificates {
	w.t.Helper()
	c := New(Config{Client: w.api, Namespace: "bulkhead-system", Hosts: []string{name, "127.0.0.1"}, Log: slog.New(slog.DiscardHandler), Clock: w.clock})
	w.look(c)
	return c
}

// look is what a replica does every few seconds.
func (w *world) look(replicas ...*Certificates) {
	w.t.Helper()
	for _, c := range replicas {
		if err := c.check(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		w.bundle = Bundle(w.bundle, c.CA(), w.clock.Now())
		c.Published(w.bundle)
	}
}

func (w *world) secret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "bulkhead-system", Name: SecretName}}
}

// call shakes hands as an API server does that trusts bundle, and returns the authority of the leaf.
func call(c *Certificates, bundle []byte, now time.Time) (authority string, err error) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	server := tls.Server(ours, &tls.Config{GetCertificate: c.Get})
	go func() { _ = server.Handshake() }()
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(bundle)
	caller := tls.Client(theirs, &tls.Config{RootCAs: trusted, ServerName: name, Time: func() time.Time { return now }})
	defer theirs.Close()
	if err := caller.Handshake(); err != nil {
		return "", err
	}
	return string(caller.ConnectionState().PeerCertificates[0].AuthorityKeyId), nil
}

// answers fails the test unless all replicas can be called, and returns the authority of the last.
func (w *world) answers(when string, bundle []byte, replicas ...*Certificates) (authority string) {
	w.t.Helper()
	for i, c := range replicas {
		by, err := call(c, bundle, w.clock.Now())
		if err != nil {
			w.t.Errorf("%s: replica %d: %v", when, i, err)
		}
		authority = by
	}
	return authority
}

func TestAnAuthorityIsTrustedBeforeItIsUsed(t *testing.T) {
	for why, replace := range map[string]func(*world) error{
		"due":     func(w *world) error { w.clock.Step(AuthorityLifetime.Renew); return nil },
		"deleted": func(w *world) error { return w.api.Delete(t.Context(), w.secret()) },
		"emptied": func(w *world) error { return w.api.Update(t.Context(), w.secret()) },
	} {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		first := w.answers(why+": at first", w.bundle, a, b)
		stale := w.bundle // what an API server knows that hears late
		if err := replace(w); err != nil {
			t.Fatal(err)
		}
		w.look(a)
		w.look(b)
		if by := w.answers(why+": API server heard nothing", stale, a, b); by != first {
			t.Errorf("%s: another authority signs before it is known", why)
		}
		late := w.replica() // has nothing but the new one
		if late.Ready(nil) == nil {
			t.Errorf("%s: a replica is ready that API servers do not trust yet", why)
		}
		w.clock.Step(DefaultSettle)
		w.look(a, b, late)
		if by := w.answers(why+": settled", w.bundle, a, b, late); by == first {
			t.Errorf("%s: the old authority still signs", why)
		}
		for i, c := range []*Certificates{a, b, late} {
			if err := c.Ready(nil); err != nil {
				t.Errorf("%s: replica %d: %v", why, i, err)
			}
		}
	}
}

// An authority that was made for a year only, as versions before did, is replaced in good time.
func TestAuthorityOfAYear(t *testing.T) {
	w := newWorld(t)
	_, data, err := newAuthority(w.clock.Now(), 365*day, nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := w.secret()
	secret.Data = data
	if err := w.api.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	a := w.replica()
	first := w.answers("at first", w.bundle, a)
	for _, test := range []struct {
		after time.Duration
		same  bool
	}{{182 * day, true}, {day, false}} {
		w.clock.Step(test.after)
		w.look(a)
		w.clock.Step(DefaultSettle)
		w.look(a)
		if by := w.answers("later", w.bundle, a); (by == first) != test.same {
			t.Errorf("after %s: the same authority: %t, want %t", test.after, by == first, test.same)
		}
	}
}

// A cluster that slept for years: the first replica that starts finds nothing that is valid.
func TestStartWithAnExpiredAuthority(t *testing.T) {
	w := newWorld(t)
	w.replica()
	w.clock.Step(AuthorityLifetime.Valid + day)
	a := w.replica()
	w.answers("started", w.bundle, a)
	if n := len(parse(w.bundle)); n != 1 {
		t.Errorf("the caBundle has %d authorities, want 1: the other has expired", n)
	}
	w.clock.Step(DefaultSettle)
	w.look(a)
	if err := a.Ready(nil); err != nil {
		t.Error(err)
	}
}

func TestATakenCABundleDelaysTheNewAuthority(t *testing.T) {
	w := newWorld(t)
	a := w.replica()
	first := w.answers("at first", w.bundle, a)
	if err := w.api.Delete(t.Context(), w.secret()); err != nil {
		t.Fatal(err)
	}
	w.look(a)
	a.Published(nil) // somebody has overwritten it
	w.clock.Step(DefaultSettle)
	w.look(a)
	if by := w.answers("the bundle was gone", w.bundle, a); by != first {
		t.Error("signed with an authority that caBundles did not have all the time")
	}
}

func TestClockJumps(t *testing.T) {
	for _, test := range []struct {
		name      string
		authority Lifetime
		by        time.Duration
		again     bool // the replicas look at the Secret once
	}{
		{"400 days ahead", Lifetime{}, 400 * day, false},
		{"400 days ahead, the authority has expired", Lifetime{365 * day, 180 * day}, 400 * day, true},
		{"12 years ahead", Lifetime{}, 12 * 365 * day, true},
		{"half an hour back", Lifetime{}, -30 * time.Minute, false},
		{"400 days back", Lifetime{}, -400 * day, true},
	} {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		for _, c := range []*Certificates{a, b} {
			if test.authority != (Lifetime{}) {
				c.config.Authority = test.authority
			}
		}
		if err := w.api.Delete(t.Context(), w.secret()); err != nil { // the next has the lifetime of the test
			t.Fatal(err)
		}
		w.look(a, b)
		w.clock.Step(DefaultSettle)
		w.look(a, b)
		w.answers(test.name+": before", w.bundle, a, b)
		w.clock.Step(test.by)
		if test.again {
			w.look(a, b)
		}
		w.answers(test.name, w.bundle, a, b)
		started := w.replica()
		w.clock.Step(DefaultSettle)
		w.look(a, b, started)
		w.answers(test.name+": a replica started then", w.bundle, a, b, started)
		if err := started.Ready(nil); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// One node's clock is wrong, and API servers have the right time.
func TestAReplicaWhoseClockIsAheadCanBeCalled(t *testing.T) {
	w := newWorld(t)
	now := w.clock.Now()
	a := w.replica()
	w.clock.Step(400 * day)
	if _, err := call(a, w.bundle, now); err != nil {
		t.Error(err)
	}
}

func TestLeavesAreRenewedBySettledAuthorities(t *testing.T) {
	w := newWorld(t)
	a := w.replica()
	before, err := a.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		after time.Duration
		same  bool
	}{{LeafLifetime.Renew - time.Second, true}, {time.Second, false}} {
		w.clock.Step(test.after)
		got, err := a.Get(nil)
		if err != nil || (got == before) != test.same {
			t.Errorf("after %s: the same leaf: %t (%v), want %t", test.after, got == before, err, test.same)
		}
	}
}

// Two replicas find that there is no authority at the same moment.
func TestOneReplicaWins(t *testing.T) {
	w := newWorld(t)
	a, b := w.replica(), w.replica()
	found := w.secret()
	if err := w.api.Get(t.Context(), client.ObjectKeyFromObject(found), found); err != nil {
		t.Fatal(err)
	}
	w.clock.Step(AuthorityLifetime.Renew)
	w.look(a)
	if _, err := b.replace(t.Context(), found, nil); err == nil {
		t.Error("an authority was overwritten that somebody else had just made")
	}
	w.look(b)
	if string(a.newest.pem) != string(b.newest.pem) {
		t.Error("replicas have different authorities")
	}
}

func TestNothingIsServedWithoutAnAuthority(t *testing.T) {
	c := New(Config{Client: fake.NewFakeClient(), Log: slog.New(slog.DiscardHandler)})
	_, err := c.Get(nil)
	if err == nil || c.Ready(nil) == nil || c.CA() != nil {
		t.Errorf("%v, %v, %q", err, c.Ready(nil), c.CA())
	}
	ended := t.Context()
	if err := c.check(ended); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Wait(ended), c.Ready(nil)); err != nil {
		t.Error(err)
	}
}

func TestSplitHosts(t *testing.T) {
	names, addresses := split([]string{name, "127.0.0.1", "::1"})
	if len(names) != 1 || names[0] != name || len(addresses) != 2 {
		t.Errorf("%v %v", names, addresses)
	}
}
