// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"text/template"
	"time"
)

// files are the templates of the configurations of what runs on a node.
//
//go:embed files
var files embed.FS

func render(name string, values any) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(files, "files/"+name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, values)
	return out.Bytes(), err
}

// startDaemons starts containerd, kubelet and kube-proxy on a node. Containerd answers when it returns.
func (c *Cluster) startDaemons(ctx context.Context, n *Node, cni CNI) error {
	if err := c.writeConfiguration(n, cni); err != nil {
		return fmt.Errorf("configure %s: %w", n.Name, err)
	}
	if err := n.daemon(c.tools.path("containerd"), "--config=/var/lib/containerd.toml"); err != nil {
		return err
	}
	err := await(ctx, "containerd on "+n.Name, n.daemons["containerd"], func(ctx context.Context) error {
		_, err := n.Run(ctx, c.tools.path("ctr"), "--address="+runtimeSocket, "--timeout=1s", "version")
		return err
	})
	if err != nil {
		return err
	}
	err = n.daemon(c.tools.path("kubelet"), "--config=/var/lib/kubelet/config.yaml", "--kubeconfig=/var/lib/kubelet/kubeconfig",
		"--node-ip="+listOf(n.families, func(f family) netip.Addr { return f.node(n.number) }))
	if err != nil {
		return err
	}
	return n.daemon(c.tools.path("kube-proxy"), "--kubeconfig=/var/lib/kube-proxy.kubeconfig", "--proxy-mode=iptables",
		"--cluster-cidr="+listOf(n.families, func(f family) netip.Prefix { return f.pods }),
		// The limit is the whole machine's, and stays what it is.
		"--conntrack-max-per-core=0", "--oom-score-adj=0")
}

// runtimeSocket is where containerd answers on each node.
const runtimeSocket = "/run/containerd/containerd.sock"

// writeConfiguration writes what containerd, kubelet and kube-proxy read.
func (c *Cluster) writeConfiguration(n *Node, cni CNI) error {
	for _, f := range []struct {
		template, path string
		values         any
	}{
		{"containerd.toml", "containerd.toml", map[string]string{"Pause": pauseImage, "Tools": c.tools.dir}},
		{"kubelet.yaml", "kubelet/config.yaml", map[string]any{"Cgroup": n.cgroup, "DNS": n.families[0].dns(), "PKI": c.path("pki")}},
		{string(cni) + ".conflist", "cni/net.d/10-" + string(cni) + ".conflist", map[string]any{"Pods": n.Pods, "Everything": n.everything()}},
	} {
		content, err := render(f.template, f.values)
		if err != nil {
			return err
		}
		if err := writeBelow(n.path("lib", f.path), content); err != nil {
			return err
		}
	}
	if err := c.writeServerCertificate(n); err != nil {
		return err
	}
	err := c.writeKubeconfig(n.path("lib", "kubelet", "kubeconfig"), c.inside, "system:node:"+n.Name, "system:nodes")
	return errors.Join(err, c.writeKubeconfig(n.path("lib", "kube-proxy.kubeconfig"), c.inside, "system:kube-proxy"))
}

func (c *Cluster) writeServerCertificate(n *Node) error {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "system:node:" + n.Name, Organization: []string{"system:nodes"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{n.Name},
	}
	for _, a := range n.Addrs {
		template.IPAddresses = append(template.IPAddresses, a.AsSlice())
	}
	pair, err := c.ca.issue(template)
	if err != nil {
		return err
	}
	err = writeBelow(n.path("lib", "kubelet", "server.crt"), pair.cert)
	return errors.Join(err, writeBelow(n.path("lib", "kubelet", "server.key"), pair.key))
}

func writeBelow(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

// await calls check until it returns nil, the process has ended or startTimeout has passed. A check may take
// as long as its context lasts.
func await(ctx context.Context, what string, p *Process, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return p.EndedByItself()
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; the last answer: %w\n%s", what, ctx.Err(), err, p.LogTail())
		case <-poll.C:
		}
	}
}

// awaitLine returns when a line was written to r, or r has ended, which is an error.
func awaitLine(ctx context.Context, r io.Reader) error {
	read := make(chan error, 1)
	go func() {
		_, err := r.Read(make([]byte, 64))
		read <- err
	}()
	select {
	case err := <-read:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
