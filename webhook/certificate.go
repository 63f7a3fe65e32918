// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/webhook/internal/certs"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/register"
)

// certificate is what the webhook serves: one of Bulkhead's own authority, or the user's.
type certificate struct {
	own   *certs.Certificates      // nil: the user's
	files *certwatcher.CertWatcher // nil: own
	live  client.Client
}

func newCertificate(c *Config, live client.Client, log *slog.Logger) (*certificate, error) {
	if c.CertDir == "" {
		own := certs.New(certs.Config{Client: live, Namespace: c.Namespace, Hosts: c.names, Log: log})
		return &certificate{own: own, live: live}, nil
	}
	files, err := certwatcher.New(certFiles(c.CertDir))
	if err != nil {
		return nil, fmt.Errorf("--cert-dir: %w", err)
	}
	return &certificate{files: files, live: live}, nil
}

// certFiles are named as the entries of a Secret of type kubernetes.io/tls.
func certFiles(dir string) (crt, key string) {
	return filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
}

// start keeps the certificate current until ctx ends.
func (s *certificate) start(ctx context.Context) error {
	if s.own != nil {
		return s.own.Start(ctx)
	}
	return s.files.Start(ctx)
}

// get is for tls.Config.GetCertificate.
func (s *certificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.own != nil {
		return s.own.Get(hello)
	}
	return s.files.GetCertificate(hello)
}

// trusted returns what API servers are to trust, PEM. Of a user's certificate that is what the webhook
// configuration says; empty: the authorities of the machine.
func (s *certificate) trusted(ctx context.Context) ([]byte, error) {
	if s.own != nil {
		return s.own.CA(), nil
	}
	return register.CABundle(ctx, s.live)
}
