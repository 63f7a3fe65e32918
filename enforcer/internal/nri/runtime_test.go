// SPDX-License-Identifier: Apache-2.0

package nri_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	nrilog "github.com/containerd/nri/pkg/log"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/nri"
)

// timeout is how long the runtime of these tests waits for a plugin. It is told when the plugin connects.
const timeout = time.Second

// asRuntime makes this program a runtime that listens on the socket it names.
const asRuntime = "BULKHEAD_TEST_RUNTIME"

func TestMain(m *testing.M) {
	nrilog.Set(silent{})
	adaptation.SetPluginRequestTimeout(timeout)
	if socket := os.Getenv(asRuntime); socket != "" {
		if _, err := newRuntime(socket, os.TempDir(), nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		select {}
	}
	os.Exit(m.Run())
}

// startProcess starts a runtime that can be killed.
func startProcess(t *testing.T, socket string) *os.Process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asRuntime+"="+socket)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process
}

// silent takes what the runtime's side logs.
type silent struct{}

func (silent) Debugf(context.Context, string, ...any) {}
func (silent) Infof(context.Context, string, ...any)  {}
func (silent) Warnf(context.Context, string, ...any)  {}
func (silent) Errorf(context.Context, string, ...any) {}

// startRuntime starts what containerd embeds, with sandboxes that run already.
func startRuntime(t *testing.T, socket string, running ...*api.PodSandbox) *adaptation.Adaptation {
	t.Helper()
	r, err := newRuntime(socket, t.TempDir(), running)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r
}

// newRuntime finds no plugins of its own in the directory.
func newRuntime(socket, dir string, running []*api.PodSandbox) (*adaptation.Adaptation, error) {
	list := func(ctx context.Context, synchronize adaptation.SyncCB) error {
		_, err := synchronize(ctx, running, nil)
		return err
	}
	none := func(context.Context, []*api.ContainerUpdate) ([]*api.ContainerUpdate, error) { return nil, nil }
	nowhere := filepath.Join(dir, "none")
	r, err := adaptation.New("test", "1", list, none, adaptation.WithSocketPath(socket),
		adaptation.WithPluginPath(nowhere), adaptation.WithPluginConfigPath(nowhere))
	if err != nil {
		return nil, err
	}
	return r, r.Start()
}

func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nri") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "nri.sock")
}

// recorder is a plugin's functions; it keeps what they are called with.
type recorder struct {
	plugin *nri.Plugin
	log    lockedBuffer
	added  func(ctx context.Context, s nri.Sandbox) error // nil: succeeds
	hold   chan struct{}                                  // Removed waits for it; nil: does not

	mu           sync.Mutex
	synchronized [][]nri.Sandbox
	calls        []nri.Sandbox
	removed      []string
}

// start runs a plugin until the test ends.
func start(t *testing.T, socket string, added func(context.Context, nri.Sandbox) error) *recorder {
	t.Helper()
	r := &recorder{added: added}
	r.plugin = &nri.Plugin{
		Socket: socket, Synchronized: r.onSynchronized, Added: r.onAdded, Removed: r.onRemoved,
		Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		r.plugin.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

func (r *recorder) onSynchronized(_ context.Context, sandboxes []nri.Sandbox) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synchronized = append(r.synchronized, sandboxes)
	return nil
}

func (r *recorder) onAdded(ctx context.Context, s nri.Sandbox) error {
	r.mu.Lock()
	r.calls = append(r.calls, s)
	r.mu.Unlock()
	if r.added == nil {
		return nil
	}
	return r.added(ctx, s)
}

func (r *recorder) onRemoved(s nri.Sandbox) {
	if r.hold != nil {
		<-r.hold
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removed = append(r.removed, s.ID)
}

// connected waits for the runtime to know the plugin: it is asked about sandboxes from then on.
func (r *recorder) connected(t *testing.T, connections uint64) {
	t.Helper()
	until(t, func() bool { return r.plugin.Stats().Connected && r.plugin.Stats().Connections == connections })
}

func until(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within 10 s")
		}
	}
}

func run(t *testing.T, r *adaptation.Adaptation, pod *api.PodSandbox) time.Duration {
	t.Helper()
	began := time.Now()
	if err := r.RunPodSandbox(t.Context(), &api.RunPodSandboxRequest{Pod: pod}); err != nil {
		t.Errorf("the runtime does not start sandbox %s: %v", pod.Id, err)
	}
	return time.Since(began)
}

func sandbox(id string) *api.PodSandbox {
	return &api.PodSandbox{
		Id: id, Namespace: "shop", Name: "api", Uid: "uid-" + id, Labels: map[string]string{"app": "api"},
		Ips: []string{"10.0.0.2", "fd00::2"},
		Linux: &api.LinuxPodSandbox{Namespaces: []*api.LinuxNamespace{
			{Type: "ipc"}, {Type: "network", Path: "/var/run/netns/cni-" + id},
		}},
	}
}

func onHostNetwork(id string) *api.PodSandbox {
	return &api.PodSandbox{Id: id, Linux: &api.LinuxPodSandbox{Namespaces: []*api.LinuxNamespace{{Type: "ipc"}}}}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
