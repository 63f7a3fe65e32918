// SPDX-License-Identifier: Apache-2.0

package nri_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/net/multiplex"
	"github.com/containerd/ttrpc"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/nri"
)

// asked waits until the runtime asks about a sandbox: it does so a moment after it synchronised.
func asked(t *testing.T, runtime *adaptation.Adaptation, r *recorder) {
	t.Helper()
	until(t, func() bool {
		run(t, runtime, sandbox("probe"))
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.calls) > 0
	})
}

func TestSandboxIsToldInFull(t *testing.T) {
	socket := socketPath(t)
	runtime := startRuntime(t, socket)
	r := start(t, socket, nil)
	r.connected(t, 1)
	asked(t, runtime, r)
	run(t, runtime, onHostNetwork("host"))
	if err := runtime.StopPodSandbox(t.Context(), &api.StopPodSandboxRequest{Pod: sandbox("1")}); err != nil {
		t.Error(err)
	}
	if err := runtime.RemovePodSandbox(t.Context(), &api.RemovePodSandboxRequest{Pod: sandbox("1")}); err != nil {
		t.Error(err)
	}
	want := nri.Sandbox{
		ID: "probe", Namespace: "shop", Name: "api", UID: "uid-probe", Labels: map[string]string{"app": "api"},
		NetNS: "/var/run/netns/cni-probe", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")},
	}
	if len(r.calls) != 1 || !reflect.DeepEqual(r.calls[0], want) {
		t.Errorf("added: %+v\nwant one: %+v", r.calls, want)
	}
	if fmt.Sprint(r.removed) != "[1 1]" {
		t.Errorf("removed %s, want sandbox 1 when it stops and when it is removed", r.removed)
	}
	if got, want := r.plugin.Stats(), (nri.Stats{Connected: true, Connections: 1, Answered: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestSandboxWaitsUntilItIsReady(t *testing.T) {
	socket := socketPath(t)
	runtime := startRuntime(t, socket)
	entered, ready := make(chan struct{}), make(chan struct{})
	r := start(t, socket, func(_ context.Context, s nri.Sandbox) error {
		if s.ID == "1" {
			close(entered)
			<-ready
		}
		return nil
	})
	r.connected(t, 1)
	asked(t, runtime, r)
	started := make(chan struct{})
	go func() {
		run(t, runtime, sandbox("1"))
		close(started)
	}()
	<-entered
	select {
	case <-started:
		t.Error("the runtime goes on before the sandbox is ready")
	case <-time.After(100 * time.Millisecond):
	}
	close(ready)
	<-started
}

// Whatever goes wrong, the pod starts, soon, and the runtime keeps the plugin.
func TestSandboxStartsWhateverGoesWrong(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	for name, c := range map[string]struct {
		added func(context.Context, nri.Sandbox) error
		want  nri.Stats
	}{
		"error":      {func(context.Context, nri.Sandbox) error { return errors.New("no interface") }, nri.Stats{Failed: 2}},
		"late":       {func(ctx context.Context, _ nri.Sandbox) error { <-ctx.Done(); return ctx.Err() }, nri.Stats{Late: 2}},
		"stuck":      {func(context.Context, nri.Sandbox) error { <-never; return nil }, nri.Stats{Late: 2}},
		"in no time": {nil, nri.Stats{Answered: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			socket := socketPath(t)
			runtime := startRuntime(t, socket)
			r := start(t, socket, c.added)
			r.connected(t, 1)
			asked(t, runtime, r)
			if took := run(t, runtime, sandbox("1")); took >= timeout {
				t.Errorf("the runtime waited %s, want less than its time-out of %s", took, timeout)
			}
			c.want.Connected, c.want.Connections = true, 1
			if got := r.plugin.Stats(); got != c.want {
				t.Errorf("stats %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestSynchronizedNamesAllSandboxes(t *testing.T) {
	adaptation.SetPluginRequestTimeout(20 * time.Second) // for the messages, on a busy machine
	t.Cleanup(func() { adaptation.SetPluginRequestTimeout(timeout) })
	socket := socketPath(t)
	running := []*api.PodSandbox{onHostNetwork("host")}
	for i := range 3000 { // more than one message of 4 MiB holds
		s := sandbox(fmt.Sprint(i))
		s.Labels["long"] = strings.Repeat("x", 2000)
		running = append(running, s)
	}
	startRuntime(t, socket, running...)
	r := start(t, socket, nil)
	r.connected(t, 1)
	if len(r.synchronized) != 1 || len(r.synchronized[0]) != 3000 {
		t.Fatalf("synchronized %d times", len(r.synchronized))
	}
	for i, s := range r.synchronized[0] {
		if s.ID != fmt.Sprint(i) {
			t.Fatalf("sandbox %d is called %s", i, s.ID)
		}
	}
}

func TestConnectsAgainAfterTheRuntimeDroppedIt(t *testing.T) {
	socket := socketPath(t)
	runtime := startRuntime(t, socket, sandbox("1"))
	r := start(t, socket, nil)
	r.connected(t, 1)
	asked(t, runtime, r)
	r.hold = make(chan struct{})
	if err := runtime.StopPodSandbox(t.Context(), &api.StopPodSandboxRequest{Pod: sandbox("2")}); err != nil {
		t.Error(err)
	}
	close(r.hold)
	r.connected(t, 2)
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := r.synchronized[len(r.synchronized)-1]; len(last) != 1 || last[0].ID != "1" {
		t.Errorf("synchronized with %+v", last)
	}
}

func TestConnectsWhenTheRuntimeComesAndComesAgain(t *testing.T) {
	socket := socketPath(t)
	r := start(t, socket, nil)
	until(t, func() bool { return strings.Contains(r.log.String(), "has no NRI socket") })
	process := startProcess(t, socket)
	r.connected(t, 1)
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return !r.plugin.Stats().Connected })
	runtime := startRuntime(t, socket)
	r.connected(t, 2)
	asked(t, runtime, r)
	if n := strings.Count(r.log.String(), "has no NRI socket"); n != 1 {
		t.Errorf("it is said %d times that there is no socket, want once:\n%s", n, r.log.String())
	}
}

// rawRuntime accepts one plugin and lets it register.
func rawRuntime(t *testing.T, socket string) (api.PluginService, multiplex.Mux) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	trunk, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	mux := multiplex.Multiplex(trunk, multiplex.WithBlockedRead()) // what comes before somebody listens is lost
	t.Cleanup(func() { mux.Close() })
	listener, err := mux.Listen(multiplex.RuntimeServiceConn)
	if err != nil {
		t.Fatal(err)
	}
	toPlugin, err := mux.Open(multiplex.PluginServiceConn)
	if err != nil {
		t.Fatal(err)
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	registered := make(registrations, 1)
	api.RegisterRuntimeService(server, registered)
	go func() { _ = server.Serve(context.Background(), listener) }()
	t.Cleanup(func() { server.Close() })
	mux.Unblock()
	if got := <-registered; got != "90-bulkhead-enforcer" {
		t.Errorf("the plugin registers as %s", got)
	}
	return api.NewPluginClient(ttrpc.NewClient(toPlugin)), mux
}

type registrations chan string

func (r registrations) RegisterPlugin(_ context.Context, request *api.RegisterPluginRequest) (*api.Empty, error) {
	r <- request.PluginIdx + "-" + request.PluginName
	return &api.Empty{}, nil
}

func (r registrations) UpdateContainers(context.Context, *api.UpdateContainersRequest) (*api.UpdateContainersResponse, error) {
	return &api.UpdateContainersResponse{}, nil
}

// NRI before 0.12 tells of sandboxes by StateChange.
func TestOlderRuntime(t *testing.T) {
	socket := socketPath(t)
	r := start(t, socket, nil)
	runtime, _ := rawRuntime(t, socket)
	if _, err := runtime.Configure(t.Context(), &api.ConfigureRequest{RuntimeName: "old"}); err != nil {
		t.Fatal(err)
	}
	for _, e := range []api.Event{
		api.Event_RUN_POD_SANDBOX, api.Event_STOP_POD_SANDBOX, api.Event_REMOVE_POD_SANDBOX, api.Event_START_CONTAINER,
	} {
		if _, err := runtime.StateChange(t.Context(), &api.StateChangeEvent{Event: e, Pod: sandbox("1")}); err != nil {
			t.Errorf("%s: %v", e, err)
		}
	}
	if len(r.calls) != 1 || len(r.removed) != 2 {
		t.Errorf("added %+v, removed %s", r.calls, r.removed)
	}
}

func TestRuntimeThatEndsBeforeItConfigures(t *testing.T) {
	socket := socketPath(t)
	r := start(t, socket, nil)
	_, mux := rawRuntime(t, socket)
	mux.Close()
	startRuntime(t, socket)
	r.connected(t, 1)
}
