// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// TestMain is the server when up starts this binary as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveCommand {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestUpAndDown(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a node is made of namespaces: run this as root")
	}
	dir := filepath.Join(t.TempDir(), "cluster")
	defer func() { _ = down(dir, t.Output()) }() // unless the test has come so far
	first := command(t, "up", "--dir", dir)
	path := filepath.Join(dir, kubeconfigFile)
	if !strings.HasSuffix(first, "export KUBECONFIG="+path+"\n") {
		t.Errorf("up says %q, want the kubeconfig last", first)
	}
	if _, err := ask(path); err != nil {
		t.Errorf("ask the cluster by its kubeconfig: %v", err)
	}
	if again := command(t, "up", "--dir", dir); again != first {
		t.Errorf("up again says %q, want what it said before: %q", again, first)
	}
	err := run(t.Context(), []string{"up", "--dir", dir, "--nodes", "2"}, t.Output())
	if err == nil || !strings.Contains(err.Error(), "another shape") {
		t.Errorf("up with other nodes: got %v, want a refusal", err)
	}
	server, err := find(dir)
	if err != nil || server == nil {
		t.Fatalf("find the server: got %v, %v", server, err)
	}
	if err := syscall.Kill(server.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for server.alive() {
		time.Sleep(10 * time.Millisecond)
	}
	command(t, "up", "--dir", dir) // in place of the one that was killed
	if after, err := find(dir); err != nil || after == nil || *after == *server {
		t.Errorf("the server after one was killed: got %v, %v, want another than %v", after, err, server)
	}
	command(t, "down", "--dir", dir)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory after down: got %v, want none", err)
	}
	if said := command(t, "down", "--dir", dir); !strings.Contains(said, "there is no cluster") {
		t.Errorf("down again says %q", said)
	}
}

func TestUpShowsWhyItFailed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	err := run(t.Context(), []string{"up", "--dir", dir, "--cni", "telepathy"}, t.Output())
	if err == nil || !strings.Contains(err.Error(), "telepathy") {
		t.Errorf("got %v, want an error that names the CNI", err)
	}
}

// A process id that was given to another process must not be taken for the server's.
func TestFindKnowsTheServerByItsStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, serverFile), []byte("1 1 1-ptp\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if server, err := find(dir); err != nil || server != nil {
		t.Errorf("got %+v, %v for a process 1 that began at another time, want none", server, err)
	}
}

func command(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), args, &out); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out.String()
}

func ask(kubeconfig string) (*version.Info, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return client.Discovery().ServerVersion()
}
