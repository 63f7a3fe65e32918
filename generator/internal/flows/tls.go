// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// TLS says how an observer is known, and how we make ourselves known to it. The zero value is plain
// text. Files are PEM and read anew for each connection, so a rotated certificate needs no restart.
type TLS struct {
	// CAFile has the authorities of observers' certificates; it is what turns TLS on.
	CAFile string
	// CertFile and KeyFile are our certificate; both empty: we have none.
	CertFile, KeyFile string
	// ServerName is the name in the observer's certificate; empty: the host that it is called by.
	ServerName string
}

// Check reads the files once and returns what is wrong with them, by the flag that names them.
func (t TLS) Check() error {
	_, err := t.credentials("")
	return err
}

// Words are the flags that say the same on a command line.
func (t TLS) Words() []string {
	var words []string
	for _, flag := range [][2]string{
		{"--hubble-ca", t.CAFile},
		{"--hubble-cert", t.CertFile},
		{"--hubble-key", t.KeyFile},
		{"--hubble-server-name", t.ServerName},
	} {
		if flag[1] != "" {
			words = append(words, flag[0], flag[1])
		}
	}
	return words
}

func (t TLS) credentials(host string) (credentials.TransportCredentials, error) {
	switch {
	case t == TLS{}:
		return insecure.NewCredentials(), nil
	case t.CAFile == "":
		return nil, errors.New("--hubble-cert, --hubble-key and --hubble-server-name need --hubble-ca: the authority that signed the observer's certificate")
	case (t.CertFile == "") != (t.KeyFile == ""):
		return nil, errors.New("--hubble-cert and --hubble-key go together: give both or neither")
	}
	if t.ServerName != "" {
		host = t.ServerName
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: host, RootCAs: x509.NewCertPool()}
	bundle, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("--hubble-ca: %w", err)
	}
	if !config.RootCAs.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("--hubble-ca: %s holds no PEM certificate", t.CAFile)
	}
	if t.CertFile == "" {
		return credentials.NewTLS(config), nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("--hubble-cert %s, --hubble-key %s: %w", t.CertFile, t.KeyFile, err)
	}
	config.Certificates = []tls.Certificate{pair}
	return credentials.NewTLS(config), nil
}
