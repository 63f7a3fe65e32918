// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// caKey is the Secret's entry with the authority's certificate and, after a replacement, those before
	// it, PEM. It tells replicas that start of the replacement.
	caKey = "ca.crt"
	// backdate of a new authority, for API servers whose clock is behind ours.
	backdate = time.Hour
)

// Lifetime of a certificate: how long it is valid, and at what age it is replaced.
type Lifetime struct{ Valid, Renew time.Duration }

const day = 24 * time.Hour

var (
	// AuthorityLifetime leaves five years in which both authorities are valid. It is replaced so
	// rarely because each time depends on all API servers hearing of the new one.
	AuthorityLifetime = Lifetime{Valid: 10 * 365 * day, Renew: 5 * 365 * day}
	// LeafLifetime bounds what a leaf key is worth that somebody read out of a process. A new leaf
	// costs nothing and needs nobody else.
	LeafLifetime = Lifetime{Valid: 30 * day, Renew: 10 * day}
)

// authority signs leaf certificates. It is immutable.
type authority struct {
	certificate *x509.Certificate
	key         any    // a crypto.Signer
	pem         []byte // the certificate
	previous    []byte // certificates of those that it replaces, PEM; nil: it is the first
}

// newAuthority returns the Secret's data, too.
func newAuthority(now time.Time, valid time.Duration, previous []byte) (*authority, map[string][]byte, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "bulkhead-webhook-ca"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(valid),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	public := encode(der)
	data := map[string][]byte{
		corev1.TLSCertKey:       public,
		corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		caKey:                   bytes.Join([][]byte{public, previous}, nil),
	}
	read, err := readAuthority(data)
	return read, data, err
}

// readAuthority reads the data of the Secret.
func readAuthority(data map[string][]byte) (*authority, error) {
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, err
	}
	if !pair.Leaf.IsCA {
		return nil, errors.New("its certificate is not one of an authority")
	}
	a := &authority{certificate: pair.Leaf, key: pair.PrivateKey, pem: encode(pair.Leaf.Raw)}
	for _, other := range parse(data[caKey]) {
		if !other.Equal(a.certificate) {
			a.previous = append(a.previous, encode(other.Raw)...)
		}
	}
	return a, nil
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// made is when the authority was made.
func (a *authority) made() time.Time { return a.certificate.NotBefore.Add(backdate) }

// due reports whether the authority is to be replaced: it is old, half of its life is over, or it was made by
// a clock far ahead of ours.
func (a *authority) due(now time.Time, renew time.Duration) bool {
	life := a.certificate.NotAfter.Sub(a.certificate.NotBefore)
	return !a.valid(now) || now.Sub(a.made()) >= min(renew, life/2)
}

func (a *authority) valid(now time.Time) bool {
	return !now.Before(a.certificate.NotBefore) && now.Before(a.certificate.NotAfter)
}

// leaf is a serving certificate.
type leaf struct {
	tls.Certificate
	by   *authority
	made time.Time // by the wall clock, which goes on while a machine is suspended
}

// sign makes a leaf with a key of its own. It is valid from the authority's beginning, so that a replica
// whose clock is ahead serves a certificate that API servers accept.
func (a *authority) sign(hosts []string, now time.Time, valid time.Duration) (*leaf, error) {
	template := &x509.Certificate{
		NotBefore:             a.certificate.NotBefore,
		NotAfter:              now.Add(valid),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if a.certificate.NotAfter.Before(template.NotAfter) {
		template.NotAfter = a.certificate.NotAfter
	}
	template.DNSNames, template.IPAddresses = split(hosts)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a serving certificate: %w", err)
	}
	read, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &leaf{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: read}, a, now.Round(0)}, nil
}

// due reports whether the leaf is to be replaced: it is old, or was made by a clock ahead of ours.
func (l *leaf) due(now time.Time, renew time.Duration) bool {
	return now.Before(l.made) || now.Sub(l.made) >= renew || !now.Before(l.Leaf.NotAfter)
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
