// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// writeCertificates makes everything the API server reads from pki/, and the
// administrator's certificate.
func (c *ControlPlane) writeCertificates() error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	c.ca = ca
	server, err := ca.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		},
		IPAddresses: []net.IP{
			net.IPv4(127, 0, 0, 1),
			ipv4.node(1).AsSlice(), ipv4.api().AsSlice(), ipv6.node(1).AsSlice(), ipv6.api().AsSlice(),
		},
	})
	if err != nil {
		return err
	}
	if c.admin, err = ca.client("admin", "system:masters"); err != nil {
		return err
	}
	tokens, err := newKey()
	if err != nil {
		return err
	}
	kubelets, err := ca.client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"kubelet-client.crt": kubelets.cert, "kubelet-client.key": kubelets.key,
		"ca.crt": ca.pem, "apiserver.crt": server.cert, "apiserver.key": server.key, "serviceaccount.key": tokens.pem,
	} {
		if err := os.WriteFile(c.path("pki", name), content, 0o600); err != nil {
			return fmt.Errorf("write the control plane's certificates: %w", err)
		}
	}
	return nil
}

// Kubeconfig writes a kubeconfig with a client certificate for the user and
// the groups, and returns its path; the same user and groups get the same
// file. It is removed with the control plane's directory. Any user can be had,
// also a service account (system:serviceaccount:NAMESPACE:NAME, which gets its
// two groups as a token would give them) or a member of system:masters.
func (c *ControlPlane) Kubeconfig(user string, groups ...string) (string, error) {
	if user == "" {
		return "", fmt.Errorf("kubeconfig: the user's name is empty")
	}
	groups = append(serviceAccountGroups(user), groups...)
	path := c.path(kubeconfigName(user, groups))
	c.writing.Lock()
	defer c.writing.Unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, c.writeKubeconfig(path, c.urls[0], user, groups...)
}

// writeKubeconfig replaces the file, with a new certificate.
func (c *ControlPlane) writeKubeconfig(path, url, user string, groups ...string) error {
	pair, err := c.ca.client(user, groups...)
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["bulkhead-test"] = &clientcmdapi.Cluster{Server: url, CertificateAuthorityData: c.ca.pem}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: pair.cert, ClientKeyData: pair.key}
	config.Contexts["bulkhead-test"] = &clientcmdapi.Context{Cluster: "bulkhead-test", AuthInfo: user}
	config.CurrentContext = "bulkhead-test"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write the kubeconfig of user %s: %w", user, err)
	}
	return nil
}

// serviceAccountGroups are the groups that authentication by token adds.
func serviceAccountGroups(user string) []string {
	rest, found := strings.CutPrefix(user, "system:serviceaccount:")
	if !found {
		return nil
	}
	namespace, _, _ := strings.Cut(rest, ":")
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace}
}

// kubeconfigName keeps one user with different groups apart.
func kubeconfigName(user string, groups []string) string {
	sum := sha256.Sum256([]byte(strings.Join(groups, "\x00")))
	return url.PathEscape(user) + "-" + hex.EncodeToString(sum[:4]) + ".kubeconfig"
}

func (c *ControlPlane) config(url string, pair keyPair) *rest.Config {
	return &rest.Config{
		Host:            url,
		QPS:             -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.ca.pem, CertData: pair.cert, KeyData: pair.key},
	}
}
