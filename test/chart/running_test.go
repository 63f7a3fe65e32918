// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// run starts a workload's program outside the cluster, as its service account, until the test ends.
// extra arguments come last and win. It returns where its volumes are, by mount path.
func (r *release) run(t *testing.T, name string, extra ...string) (mounts map[string]string) {
	t.Helper()
	kubeconfig, err := r.plane.Kubeconfig(baseline.ServiceAccountUser(name))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range workloads(t, render(t, r.values)) {
		if w.name == name {
			mounts := w.mounts(t, r.secrets(t))
			args := append(arguments(w.container(t), mounts), "--kubeconfig="+kubeconfig)
			start(t, program(w.container(t)), append(args, extra...))
			return mounts
		}
	}
	t.Fatalf("the chart renders no workload %s", name)
	return nil
}

// secrets are those that the release has in the cluster.
func (r *release) secrets(t *testing.T) []corev1.Secret {
	t.Helper()
	list := &corev1.SecretList{}
	if err := r.admin.List(t.Context(), list, client.InNamespace(baseline.ProjectNamespace)); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func start(t *testing.T, program string, args []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, program), args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s after SIGTERM: %v, want an orderly end", program, err)
		}
		if strings.Contains(said.String(), "forbidden") {
			t.Errorf("%s lacks a right that the chart should give it", program)
		}
		t.Logf("%s said:\n%s", program, &said)
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// eventually waits for status 200 and an answer that contains want.
func eventually(t *testing.T, url, want string) {
	t.Helper()
	poll(t, url, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			return fmt.Errorf("%s, want 200 with %q: %w", response.Status, want, errors.Join(err, errors.New(string(body))))
		}
		return nil
	})
}

// poll calls try until it returns nil, which must happen within 30 s.
func poll(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		last = try(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v: %v", what, err, last)
	}
}
