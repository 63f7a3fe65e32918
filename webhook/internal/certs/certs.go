// SPDX-License-Identifier: Apache-2.0

// Package certs keeps the webhook's serving certificate.
//
// Each replica signs its own leaf certificate and holds the key in memory only; the certificate
// authority is in a Secret of Bulkhead's namespace that the replicas share. Both are renewed long
// before they expire, without a restart and without a mounted volume, so the same code serves
// inside a cluster and outside it.
//
// A new authority is trusted before it is used. Whoever replaces it writes the Secret; every replica sees to it
// that the caBundles contain the new one beside the old one, and goes on signing with the old one until
// they have done so for Config.Settle. So it does not matter which replica is first, and when an
// authority is deleted or expires nothing else has to happen.
//
// The libraries for this do not do that. cert-manager's server/tls, which its own webhook is built on,
// signs with a new authority the moment that it exists; open-policy-agent/cert-controller needs a mounted volume.
package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// SecretName is the Secret that holds the certificate authority, in Config.Namespace.
const SecretName = "bulkhead-webhook-ca"

const (
	// DefaultSettle is ample for API servers to hear of a caBundle, which takes milliseconds.
	DefaultSettle = 5 * time.Second
	// settledAfter so long every API server has heard of an authority that any replica has made.
	settledAfter = time.Minute
	// checkEvery is the time between two looks at the Secret, and firstEvery until there is an authority.
	checkEvery, firstEvery = 3 * time.Second, 100 * time.Millisecond
	// checkWithin bounds one look.
	checkWithin = 10 * time.Second
)

// Config of the certificates. All fields but those with a zero meaning are required.
type Config struct {
	Client    client.Client // reads from the API server, not from a cache
	Namespace string
	Hosts     []string // DNS names and IP addresses that the webhook is called by
	Log       *slog.Logger
	Authority Lifetime      // zero: AuthorityLifetime
	Leaf      Lifetime      // zero: LeafLifetime
	Settle    time.Duration // zero: DefaultSettle
	Clock     clock.Clock   // nil: the machine's
}

// Certificates serves a certificate that is always valid. Start it, then use it. It is safe for
// concurrent use.
type Certificates struct {
	config  Config
	changed chan struct{}

	mu        sync.Mutex
	newest    *authority // nil: none yet
	published time.Time  // since when every caBundle has had newest; zero: not yet
	leaf      *leaf      // nil: none yet
	failure   error      // of the last look at the Secret
}

// New prepares the certificates of a server. Nothing is read or written before Start.
func New(config Config) *Certificates {
	if config.Authority == (Lifetime{}) {
		config.Authority = AuthorityLifetime
	}
	if config.Leaf == (Lifetime{}) {
		config.Leaf = LeafLifetime
	}
	if config.Settle == 0 {
		config.Settle = DefaultSettle
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	return &Certificates{config: config, changed: make(chan struct{}, 1), failure: errors.New("not read yet")}
}

// Start creates the authority when there is none, and keeps it current until ctx ends. What goes wrong is
// logged and tried again.
func (c *Certificates) Start(ctx context.Context) error {
	last := ""
	for {
		last = c.attempt(ctx, last)
		pause := checkEvery
		if c.CA() == nil {
			pause = firstEvery
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.config.Clock.After(pause):
		}
	}
}

// attempt looks once and returns what went wrong; it is logged when it is another failure than last. What goes
// wrong before there is an authority is told by Wait.
func (c *Certificates) attempt(ctx context.Context, last string) string {
	err := c.check(ctx)
	if err == nil || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) { // another replica was faster
		return ""
	}
	if err.Error() != last && ctx.Err() == nil && c.CA() != nil {
		c.config.Log.Error("certificate authority not looked after, trying again until it is", "error", err)
	}
	return err.Error()
}

// check reads the Secret and replaces the authority if that is due.
func (c *Certificates) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	found, err := c.ensure(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = err
	if err != nil {
		return err
	}
	if c.newest != nil && bytes.Equal(c.newest.pem, found.pem) {
		return nil
	}
	c.newest, c.published = found, time.Time{}
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return nil
}

func (c *Certificates) ensure(ctx context.Context) (*authority, error) {
	secret := &corev1.Secret{}
	err := c.config.Client.Get(ctx, client.ObjectKey{Namespace: c.config.Namespace, Name: SecretName}, secret)
	if apierrors.IsNotFound(err) {
		return c.replace(ctx, nil, c.CA())
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %s/%s: %w", c.config.Namespace, SecretName, err)
	}
	found, err := readAuthority(secret.Data)
	if err != nil {
		c.config.Log.Warn("certificate authority replaced, because the Secret holds none", "reason", err)
		return c.replace(ctx, secret, c.CA())
	}
	if found.due(c.config.Clock.Now(), c.config.Authority.Renew) {
		return c.replace(ctx, secret, found.pem)
	}
	return found, nil
}

// replace makes another authority, in a new Secret where existing is nil. When another replica was
// faster, the next look finds its one.
func (c *Certificates) replace(ctx context.Context, existing *corev1.Secret, previous []byte) (*authority, error) {
	made, data, err := newAuthority(c.config.Clock.Now(), c.config.Authority.Valid, previous)
	if err != nil {
		return nil, fmt.Errorf("make a certificate authority: %w", err)
	}
	if existing == nil {
		err = c.config.Client.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: c.config.Namespace, Name: SecretName,
				Labels: map[string]string{"app.kubernetes.io/part-of": "bulkhead"},
			},
			Data: data,
		})
	} else {
		existing.Data = data // its resourceVersion lets one replica win
		err = c.config.Client.Update(ctx, existing)
	}
	if err != nil {
		return nil, fmt.Errorf("write Secret %s/%s: %w", c.config.Namespace, SecretName, err)
	}
	c.config.Log.Info("certificate authority made", "secret", c.config.Namespace+"/"+SecretName, "until", made.certificate.NotAfter)
	return made, nil
}

// Get is for tls.Config.GetCertificate. It makes a leaf when one is due; so a leaf is never too old, however
// far the clock has jumped. It fails until there is an authority.
func (c *Certificates) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.config.Clock.Now()
	by := c.signer(now)
	if by == nil {
		return nil, fmt.Errorf("no certificate authority yet: %w", c.failure)
	}
	if c.leaf == nil || c.leaf.by != by || c.leaf.due(now, c.config.Leaf.Renew) {
		made, err := by.sign(c.config.Hosts, now, c.config.Leaf.Valid)
		if err != nil {
			return nil, err
		}
		c.leaf = made
	}
	return &c.leaf.Certificate, nil
}

// signer is the authority to sign with: the newest as soon as it is trusted, and until then the one that
// signed the last leaf.
func (c *Certificates) signer(now time.Time) *authority {
	if c.leaf == nil || !c.leaf.by.valid(now) || c.settled(now) {
		return c.newest
	}
	return c.leaf.by
}

func (c *Certificates) settled(now time.Time) bool {
	return !c.published.IsZero() && now.Sub(c.published) >= c.config.Settle
}

// CA returns what API servers must trust, PEM: the newest authority, and the one that signs until that is
// known. Nil: there is none yet.
func (c *Certificates) CA() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest == nil {
		return nil
	}
	if c.leaf == nil {
		return c.newest.pem
	}
	return Bundle(c.leaf.by.pem, c.newest.pem, c.config.Clock.Now())
}

// Published says what every caBundle contains now, PEM; nil: that is not known. It is to be called
// again and again.
func (c *Certificates) Published(ca []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest == nil {
		return
	}
	if !contains(parse(ca), c.newest.certificate) {
		c.published = time.Time{}
	} else if c.published.IsZero() {
		c.published = c.config.Clock.Now()
	}
}

// Changed receives after the authority was replaced.
func (c *Certificates) Changed() <-chan struct{} { return c.changed }

// Ready is a readiness check: nil once a certificate can be served that API servers trust. A replica that starts
// right after a replacement has only the new authority, and waits for it to be known.
func (c *Certificates) Ready(*http.Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest == nil {
		return fmt.Errorf("no certificate authority yet: %w", c.failure)
	}
	now := c.config.Clock.Now()
	replaced := c.newest.previous != nil && now.Sub(c.newest.made()) < settledAfter
	if replaced && c.signer(now) == c.newest && !c.settled(now) {
		return errors.New("the certificate authority was replaced a moment ago; waiting until API servers know the new one")
	}
	return nil
}

// Wait returns when there is an authority, or with an error that says what to look at when ctx
// ends before.
func (c *Certificates) Wait(ctx context.Context) error {
	select {
	case <-c.changed:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Errorf("no certificate: Secret %s/%s could not be made; is there a namespace %s, and may this user create Secrets in it? %w",
		c.config.Namespace, SecretName, c.config.Namespace, errors.Join(ctx.Err(), c.failure))
}
