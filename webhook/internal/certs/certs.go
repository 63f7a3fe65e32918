// SPDX-License-Identifier: Apache-2.0

// Package certs keeps the webhook's serving certificate.
//
// Each replica signs its own leaf certificate and holds the key in memory only; the certificate
// authority is in a Secret of Bulkhead's namespace that the replicas share. Both are renewed long
// before they expire, without a restart and without a mounted volume, so the same code serves
// inside a cluster and outside it.
//
// The work is done by cert-manager's server/tls packages, which its own webhook is built on. The other
// well-kept candidate, open-policy-agent/cert-controller, keeps leaf keys in a Secret and waits for
// the kubelet to mount them as files: that does not exist outside a cluster.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	servertls "github.com/cert-manager/cert-manager/pkg/server/tls"
	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// SecretName is the Secret that holds the certificate authority, in Config.Namespace.
const SecretName = "bulkhead-webhook-ca"

// caKey is the Secret's entry with the authority's certificate, PEM.
const caKey = "ca.crt"

// Config of the certificates. All fields are required.
type Config struct {
	REST      *rest.Config
	Namespace string
	Hosts     []string // DNS names and IP addresses that the webhook is called by
	// Log should show warnings and errors only: the library reports each of its first attempts.
	Log *slog.Logger
}

// Certificates serves a certificate that is always valid. Start it, then use it.
type Certificates struct {
	config    Config
	authority *signer
	source    *servertls.DynamicSource
	client    kubernetes.Interface
}

// New prepares the certificates of a server. Nothing is read or written before Start.
func New(config Config) (*Certificates, error) {
	client, err := kubernetes.NewForConfig(config.REST)
	if err != nil {
		return nil, fmt.Errorf("client for the certificate Secret: %w", err)
	}
	names, addresses := split(config.Hosts)
	signer := &signer{
		DynamicAuthority: &authority.DynamicAuthority{
			SecretNamespace: config.Namespace,
			SecretName:      SecretName,
			SecretLabels:    map[string]string{"app.kubernetes.io/part-of": "bulkhead"},
			CommonName:      "bulkhead-webhook-ca",
			RESTConfig:      config.REST,
		},
		addresses: addresses,
	}
	source := &servertls.DynamicSource{DNSNames: names, Authority: signer, RetryInterval: 50 * time.Millisecond}
	return &Certificates{config: config, authority: signer, source: source, client: client}, nil
}

// Start creates the authority when there is none, and keeps it and the leaf renewed until ctx ends.
func (c *Certificates) Start(ctx context.Context) error {
	err := c.source.Start(logr.NewContext(ctx, logr.FromSlogHandler(c.config.Log.Handler())))
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("keep certificate authority in Secret %s/%s: %w", c.config.Namespace, SecretName, err)
	}
	return nil
}

// Get is for tls.Config.GetCertificate. It fails until the first certificate is there.
func (c *Certificates) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.source.GetCertificate(hello)
}

// Ready is a readiness check: nil once a certificate is served.
func (c *Certificates) Ready(*http.Request) error {
	if !c.source.Healthy() {
		return errors.New("no certificate yet")
	}
	return nil
}

// Wait returns when a certificate is served, or with an error that says what to look at when
// ctx ends before.
func (c *Certificates) Wait(ctx context.Context) error {
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(context.Context) (bool, error) {
		return c.source.Healthy(), nil
	})
	if err != nil {
		return fmt.Errorf("no certificate: Secret %s/%s could not be made; is there a namespace %s, and may this user create Secrets in it? %w",
			c.config.Namespace, SecretName, c.config.Namespace, err)
	}
	return nil
}

// CA returns the authority's current certificate, PEM.
func (c *Certificates) CA(ctx context.Context) ([]byte, error) {
	secret, err := c.client.CoreV1().Secrets(c.config.Namespace).Get(ctx, SecretName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Secret %s/%s: %w", c.config.Namespace, SecretName, err)
	}
	return secret.Data[caKey], nil
}

// Rotated returns a channel that receives when the authority was replaced. Call it before Start.
func (c *Certificates) Rotated() <-chan struct{} {
	rotated := make(chan struct{}, 1)
	c.authority.WatchRotation(rotated)
	return rotated
}

// signer adds IP addresses to the certificates, which the library does for DNS names only: a webhook
// that is registered by URL is often called by address.
type signer struct {
	*authority.DynamicAuthority
	addresses []net.IP
}

// Sign implements the library's Authority.
func (s *signer) Sign(template *x509.Certificate) (*x509.Certificate, error) {
	template.IPAddresses = s.addresses
	return s.DynamicAuthority.Sign(template)
}

func split(hosts []string) (names []string, addresses []net.IP) {
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			addresses = append(addresses, ip)
			continue
		}
		names = append(names, host)
	}
	return names, addresses
}
