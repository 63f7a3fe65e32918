// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Transport says where and how the Observer API is served.
type Transport struct {
	// Addr is host:port. Empty: port 4244 on all addresses with TLS, on loopback without.
	Addr string
	// CertFile and KeyFile are PEM files; both empty: no TLS. They are read for every handshake, so a
	// rotated certificate needs no restart.
	CertFile, KeyFile string
	// ClientCAFile is the PEM bundle that clients' certificates are checked against; empty: clients
	// need none.
	ClientCAFile string
	// Insecure allows plain text beyond loopback.
	Insecure bool
}

// Listen opens the socket and returns a gRPC server for it that has no service yet.
func (t Transport) Listen() (net.Listener, *grpc.Server, error) {
	creds, err := t.credentials()
	if err != nil {
		return nil, nil, err
	}
	addr := t.Addr
	if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
		return nil, nil, fmt.Errorf("--hubble-addr %s is not host:port: %w", addr, err)
	}
	switch {
	case addr == "" && t.CertFile != "":
		addr = ":4244"
	case addr == "":
		addr = "127.0.0.1:4244"
	case t.CertFile == "" && !t.Insecure && !isLoopback(addr):
		return nil, nil, fmt.Errorf("--hubble-addr %s would serve flows in plain text beyond this node: "+
			"give --hubble-tls-cert and --hubble-tls-key, a loopback address, or --hubble-insecure", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("serve the Observer API on --hubble-addr %s: %w", addr, err)
	}
	return l, grpc.NewServer(grpc.Creds(creds)), nil
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func (t Transport) credentials() (credentials.TransportCredentials, error) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("--hubble-tls-cert and --hubble-tls-key go together: give both or neither")
	}
	if t.CertFile == "" {
		if t.ClientCAFile != "" {
			return nil, errors.New("--hubble-tls-client-ca needs --hubble-tls-cert and --hubble-tls-key")
		}
		return insecure.NewCredentials(), nil
	}
	if _, err := t.serverConfig(); err != nil {
		return nil, err
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.serverConfig() },
	}), nil
}

func (t Transport) serverConfig() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the Observer API's certificate (--hubble-tls-cert, --hubble-tls-key): %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}
	if t.ClientCAFile == "" {
		return config, nil
	}
	bundle, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("read --hubble-tls-client-ca: %w", err)
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("read --hubble-tls-client-ca: %s holds no PEM certificate", t.ClientCAFile)
	}
	return config, nil
}
