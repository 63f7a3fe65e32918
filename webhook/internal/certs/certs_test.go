// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

func newCA(t *testing.T, serial int64, until time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: until.Add(-time.Hour), NotAfter: until, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestBundleKeepsThePreviousAuthority(t *testing.T) {
	now := time.Now()
	current, previous, older := newCA(t, 3, now.Add(time.Hour)), newCA(t, 2, now.Add(time.Hour)), newCA(t, 1, now.Add(time.Hour))
	expired := newCA(t, 4, now.Add(-time.Minute))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, test := range map[string]struct{ existing, want []byte }{
		"none before":        {nil, current},
		"rotated":            {previous, join(current, previous)},
		"twice":              {join(previous, older), join(current, previous)},
		"again the same":     {join(current, previous), join(current, previous)},
		"expired is dropped": {join(expired, previous), join(current, previous)},
		"not a certificate":  {[]byte("\n"), current},
	} {
		if got := Bundle(test.existing, current, now); !bytes.Equal(got, test.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, test.want)
		}
	}
}

func TestSplitHosts(t *testing.T) {
	names, addresses := split([]string{"bulkhead-webhook.bulkhead-system.svc", "127.0.0.1", "::1"})
	if len(names) != 1 || names[0] != "bulkhead-webhook.bulkhead-system.svc" || len(addresses) != 2 {
		t.Errorf("%v %v", names, addresses)
	}
}
