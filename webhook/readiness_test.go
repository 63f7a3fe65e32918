// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/ready"
)

// A replica that loses the API server answers no review, and says so; not at once, because an API server
// that restarts is not to take all replicas with it.
func TestUnreadyWithoutTheAPIServer(t *testing.T) {
	between, kubeconfig := throughProxy(t)
	p := start(t, "--kubeconfig", kubeconfig)
	between.cut()
	eventually(t, "unreadiness", func() error {
		if err := get("http://" + p.health + "/readyz"); err == nil || !strings.Contains(err.Error(), "[-]answers") {
			return fmt.Errorf("want the check answers to fail: %v", err)
		}
		return nil
	})
	between.join()
	eventually(t, "readiness", func() error { return get("http://" + p.health + "/readyz") })
	if logs := p.logs.String(); strings.Count(logs, "readiness changed") < 2 {
		t.Errorf("not in the log: %s", logs)
	}
}

// A site cannot take the canary's rule away by having one of its name.
func TestReadyWithARuleOfTheCanarysName(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "admission/canary/rule.rego", strings.ReplaceAll(forbidX, "namespace.no_tests", "admission.canary"))
	write(t, dir, "admission/canary/rule_test.rego", strings.ReplaceAll(strings.ReplaceAll(forbidXTest, "namespace.no_tests", "admission.canary"), "no_tests", "canary"))
	p := start(t, "--rules-dir", dir)
	if strings.Contains(p.logs.String(), ready.CanaryNamespace) {
		t.Errorf("the log is filled with canaries: %s", p.logs)
	}
}

// proxy stands between a program and the API server.
type proxy struct {
	listener net.Listener
	to       string

	mu          sync.Mutex
	connections []net.Conn
	down        bool
}

// throughProxy returns the webhook's kubeconfig with a proxy for the API server.
func throughProxy(t *testing.T) (*proxy, string) {
	t.Helper()
	original, err := plane.Kubeconfig(baseline.ServiceAccountUser(baseline.WebhookServiceAccount))
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(original)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener}
	for _, cluster := range config.Clusters {
		server, err := url.Parse(cluster.Server)
		if err != nil {
			t.Fatal(err)
		}
		p.to, cluster.Server = server.Host, "https://"+listener.Addr().String()
	}
	go p.serve()
	t.Cleanup(func() {
		listener.Close()
		p.cut()
	})
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return p, path
}

func (p *proxy) serve() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.to)
		if err != nil || !p.keep(from, to) {
			from.Close()
			continue
		}
		go func() { _, _ = io.Copy(to, from) }()
		go func() { _, _ = io.Copy(from, to) }()
	}
}

func (p *proxy) keep(connections ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connections = append(p.connections, connections...)
	return !p.down
}

// cut ends all connections and lets none through.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for _, connection := range p.connections {
		connection.Close()
	}
	p.connections = nil
}

func (p *proxy) join() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}
