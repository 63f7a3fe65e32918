// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// errPortTaken is the one failure to start that is worth another attempt.
var errPortTaken = errors.New("a port was taken by another process")

// run starts etcd and n API servers on new ports and waits for them. On error none of
// them is left.
func (c *ControlPlane) run(ctx context.Context, etcd, apiserver string, n int, extra []string) error {
	ports, err := FreeAddresses(2 + n)
	if err != nil {
		return err
	}
	// The data of an attempt that failed would name the old ports.
	if err := os.RemoveAll(c.path("etcd")); err != nil {
		return fmt.Errorf("clear etcd's data: %w", err)
	}
	c.launches = nil
	clients, peers := "http://"+ports[0], "http://"+ports[1]
	err = c.launch(etcd, "etcd", etcdArgs(c.path("etcd"), clients, peers))
	if err == nil {
		err = c.runAPIServers(ctx, apiserver, clients, ports[2:], extra)
	}
	if err != nil {
		_ = c.endServers() // its error repeats the one we return
	}
	return err
}

// runAPIServers starts them one after the other: the second finds what the first has
// made of roles and system namespaces.
func (c *ControlPlane) runAPIServers(ctx context.Context, binary, etcd string, addresses, extra []string) error {
	c.urls = nil
	for i, address := range addresses {
		name := "kube-apiserver"
		if i > 0 {
			name = fmt.Sprintf("kube-apiserver-%d", i+1)
		}
		c.urls = append(c.urls, "https://"+address)
		if err := c.launch(binary, name, append(c.apiserverArgs(etcd, address), extra...)); err != nil {
			return err
		}
		if err := c.waitReady(ctx, c.urls[i]); err != nil {
			return err
		}
	}
	return nil
}

// launch starts a server; the last one launched is the first to be stopped.
func (c *ControlPlane) launch(binary, name string, args []string) error {
	run := StartProcess
	if c.node != nil {
		run = c.node.StartProcess
	}
	p, err := run(binary, c.path(name+".log"), args)
	if err == nil {
		c.servers = append([]*Process{p}, c.servers...)
		c.launches = append(c.launches, launch{binary, name, args})
	}
	return err
}

func etcdArgs(dir, clients, peers string) []string {
	return []string{
		"--name=etcd", "--data-dir=" + dir,
		"--listen-client-urls=" + clients, "--advertise-client-urls=" + clients,
		"--listen-peer-urls=" + peers, "--initial-advertise-peer-urls=" + peers,
		"--initial-cluster=etcd=" + peers,
		"--unsafe-no-fsync", // the data need not outlive the machine
		"--log-level=warn",
	}
}

// apiserverArgs are the flags of a plain cluster but for what has no meaning
// without controllers and nodes. No flag is needed for admission policies:
// ValidatingAdmissionPolicy is on by default.
func (c *ControlPlane) apiserverArgs(etcd, address string) []string {
	host, port, _ := strings.Cut(address, ":")
	return append(c.sharedArgs(etcd),
		"--bind-address="+host, "--secure-port="+port,
		// Without it the server looks for a default route, and a network
		// namespace of a test has none.
		"--advertise-address="+host,
		// Endpoints may not name a loopback address.
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112",
		// Nobody makes the ServiceAccounts that this plugin insists on.
		"--disable-admission-plugins=ServiceAccount",
	)
}

// nodeArgs are the flags of an API server that runs on a node of its own cluster.
func (c *ControlPlane) nodeArgs(etcd string, home *Node) []string {
	return append(c.sharedArgs(etcd),
		"--bind-address=::", "--secure-port="+apiPort,
		"--advertise-address="+home.Addrs[0].String(),
		"--service-cluster-ip-range="+listOf(home.families, func(f family) netip.Prefix { return f.services }),
		"--enable-admission-plugins=NodeRestriction",
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate="+c.path("pki", "kubelet-client.crt"),
		"--kubelet-client-key="+c.path("pki", "kubelet-client.key"),
		"--kubelet-certificate-authority="+c.path("pki", "ca.crt"),
	)
}

func (c *ControlPlane) sharedArgs(etcd string) []string {
	return []string{
		"--etcd-servers=" + etcd,
		"--authorization-mode=Node,RBAC",
		"--anonymous-auth=false",
		"--allow-privileged=true",
		"--client-ca-file=" + c.path("pki", "ca.crt"),
		"--tls-cert-file=" + c.path("pki", "apiserver.crt"),
		"--tls-private-key-file=" + c.path("pki", "apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("pki", "serviceaccount.key"),
		"--service-account-signing-key-file=" + c.path("pki", "serviceaccount.key"),
	}
}

// waitReady polls /readyz of the API server launched last, which covers the bootstrap of
// RBAC roles and of the system namespaces, until it says ok or it or etcd ends.
func (c *ControlPlane) waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client, err := rest.HTTPClientFor(c.Admin())
	if err != nil {
		return fmt.Errorf("client for the API server: %w", err)
	}
	defer client.CloseIdleConnections()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	apiserver, etcd := c.servers[0], c.servers[len(c.servers)-1]
	for {
		if Answers(ctx, client, url+"/readyz") {
			return nil
		}
		select {
		case <-etcd.done:
			return etcd.EndedByItself()
		case <-apiserver.done:
			return apiserver.EndedByItself()
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server at %s to be ready: %w\n%s", url, ctx.Err(), apiserver.LogTail())
		case <-poll.C:
		}
	}
}

// Answers reports whether a GET of the URL is answered with 200.
func Answers(ctx context.Context, client *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// FreeAddresses returns n loopback addresses (host:port) that nothing listens on.
// All are held before one is let go, so they differ.
func FreeAddresses(n int) ([]string, error) {
	addresses := make([]string, 0, n)
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free loopback port (is the interface lo up?): %w", err)
		}
		defer func() { _ = l.Close() }()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}
