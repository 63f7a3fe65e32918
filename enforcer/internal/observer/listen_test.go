// SPDX-License-Identifier: Apache-2.0

package observer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	observerpb "github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/observer"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour),
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	a := &authority{cert: cert, key: key, file: filepath.Join(dir, "ca.crt")}
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// issue writes name.crt and name.key.
func (a *authority) issue(t *testing.T, dir, name string, serial int64) (cert, key string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	private := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	check(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, key, "PRIVATE KEY", pkcs8)
	return cert, key
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	check(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ask calls ServerStatus over a new connection and returns the serial number of the server's certificate.
func ask(t *testing.T, addr string, config *tls.Config) (serial int64, err error) {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	check(t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var server peer.Peer
	if _, err = observerpb.NewObserverClient(conn).ServerStatus(ctx, &observerpb.ServerStatusRequest{}, grpc.Peer(&server)); err != nil {
		return 0, err
	}
	return server.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestMutualTLSAndRotation(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	certFile, keyFile := ca.issue(t, dir, "server", 10)
	clientCert, clientKey := ca.issue(t, dir, "client", 20)
	l, g, err := observer.Transport{Addr: "127.0.0.1:0", CertFile: certFile, KeyFile: keyFile, ClientCAFile: ca.file}.Listen()
	check(t, err)
	observer.NewServer(observer.NewRing(1), "node-1", "test").Register(g)
	go g.Serve(l)
	t.Cleanup(g.Stop)

	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	pair, err := tls.LoadX509KeyPair(clientCert, clientKey)
	check(t, err)
	known := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
	if serial, err := ask(t, l.Addr().String(), known); err != nil || serial != 10 {
		t.Errorf("with a certificate: serial %d, %v; want 10", serial, err)
	}
	if _, err := ask(t, l.Addr().String(), &tls.Config{RootCAs: roots}); err == nil {
		t.Error("a client without a certificate was answered")
	}
	ca.issue(t, dir, "server", 11)
	if serial, err := ask(t, l.Addr().String(), known); err != nil || serial != 11 {
		t.Errorf("after rotation: serial %d, %v; want 11", serial, err)
	}
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := newAuthority(t, dir).issue(t, dir, "server", 1)
	for want, transport := range map[string]observer.Transport{
		"in plain text":           {Addr: "0.0.0.0:0"},
		"go together":             {Addr: "127.0.0.1:0", KeyFile: keyFile},
		"needs --hubble-tls-cert": {Addr: "127.0.0.1:0", ClientCAFile: certFile},
		"no PEM certificate":      {Addr: "127.0.0.1:0", CertFile: certFile, KeyFile: keyFile, ClientCAFile: keyFile},
		"no such file":            {Addr: "127.0.0.1:0", CertFile: certFile, KeyFile: filepath.Join(dir, "none")},
	} {
		if _, _, err := transport.Listen(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want an error with %q", transport, err, want)
		}
	}
	for _, transport := range []observer.Transport{{Addr: "[::1]:0"}, {Addr: "localhost:0"}, {Addr: "0.0.0.0:0", Insecure: true}} {
		l, _, err := transport.Listen()
		if err != nil {
			t.Errorf("%+v: %v", transport, err)
			continue
		}
		l.Close()
	}
}
