// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/ttrpc"
)

// maxSandboxes is how many sandboxes of a runtime are looked at; a node has at most some hundreds.
const maxSandboxes = 8192

// session answers the runtime over one connection.
type session struct {
	plugin *Plugin

	mu        sync.Mutex
	within    time.Duration // for an answer
	sandboxes []Sandbox     // of the messages of a synchronisation that is not complete
	ended     bool          // the connection is closed
}

// service is the part of NRI's plugin service that is needed. A runtime that is older than the calls for
// single events gets that they are not implemented where it asks for others, and uses StateChange.
func (s *session) service() *ttrpc.ServiceDesc {
	return &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
		"Configure":        method(s.configure),
		"Synchronize":      method(s.synchronize),
		"Shutdown":         method(s.shutdown),
		"RunPodSandbox":    method(s.runPodSandbox),
		"StopPodSandbox":   method(s.stopPodSandbox),
		"RemovePodSandbox": method(s.removePodSandbox),
		"StateChange":      method(s.stateChange),
	}}
}

func method[Request, Response any](handle func(context.Context, *Request) (*Response, error)) ttrpc.Method {
	return func(ctx context.Context, unmarshal func(any) error) (any, error) {
		request := new(Request)
		if err := unmarshal(request); err != nil {
			return nil, err
		}
		return handle(ctx, request)
	}
}

// configure asks for the events of sandboxes.
func (s *session) configure(_ context.Context, r *api.ConfigureRequest) (*api.ConfigureResponse, error) {
	s.mu.Lock()
	s.within = answerWithin(time.Duration(r.GetRequestTimeout()) * time.Millisecond)
	s.mu.Unlock()
	s.plugin.Log.Debug("the container runtime configures", "runtime", r.GetRuntimeName(), "version", r.GetRuntimeVersion())
	var events api.EventMask
	events.Set(api.Event_RUN_POD_SANDBOX, api.Event_STOP_POD_SANDBOX, api.Event_REMOVE_POD_SANDBOX)
	return &api.ConfigureResponse{Events: int32(events)}, nil
}

func (s *session) synchronize(ctx context.Context, r *api.SynchronizeRequest) (*api.SynchronizeResponse, error) {
	sandboxes, within := s.gather(r)
	if r.GetMore() {
		return &api.SynchronizeResponse{More: true}, nil
	}
	p := s.plugin
	late, err := bounded(ctx, within, func(ctx context.Context) error { return p.Synchronized(ctx, sandboxes) })
	if late || err != nil {
		p.Log.Warn("the sandboxes that run are not all taken over yet", "sandboxes", len(sandboxes), "late", late, "error", err)
	}
	s.begin(len(sandboxes))
	return &api.SynchronizeResponse{}, nil
}

// begin is when the runtime counts on the plugin.
func (s *session) begin(sandboxes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.plugin.connections.Add(1)
	s.plugin.connected.Store(true)
	s.plugin.Log.Info("connected to the container runtime: new pods wait until their policies are loaded", "sandboxes", sandboxes)
}

func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.plugin.connected.Store(false)
}

// gather adds a message to those before it: a long list comes in several, all but the last with More.
func (s *session) gather(r *api.SynchronizeRequest) (all []Sandbox, within time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pod := range r.GetPods() {
		if sandbox := newSandbox(pod); sandbox.hasNetwork() && len(s.sandboxes) < maxSandboxes {
			s.sandboxes = append(s.sandboxes, sandbox)
		}
	}
	all = s.sandboxes
	if !r.GetMore() {
		s.sandboxes = nil
	}
	return all, s.within
}

func (s *session) shutdown(context.Context, *api.Empty) (*api.Empty, error) {
	return &api.Empty{}, nil // the connection ends next
}

func (s *session) runPodSandbox(ctx context.Context, r *api.RunPodSandboxRequest) (*api.RunPodSandboxResponse, error) {
	s.added(ctx, r.GetPod())
	return &api.RunPodSandboxResponse{}, nil
}

func (s *session) stopPodSandbox(_ context.Context, r *api.StopPodSandboxRequest) (*api.StopPodSandboxResponse, error) {
	s.plugin.Removed(newSandbox(r.GetPod()))
	return &api.StopPodSandboxResponse{}, nil
}

func (s *session) removePodSandbox(_ context.Context, r *api.RemovePodSandboxRequest) (*api.RemovePodSandboxResponse, error) {
	s.plugin.Removed(newSandbox(r.GetPod()))
	return &api.RemovePodSandboxResponse{}, nil
}

// stateChange is how older runtimes tell of events.
func (s *session) stateChange(ctx context.Context, e *api.StateChangeEvent) (*api.Empty, error) {
	switch e.GetEvent() {
	case api.Event_RUN_POD_SANDBOX:
		s.added(ctx, e.GetPod())
	case api.Event_STOP_POD_SANDBOX, api.Event_REMOVE_POD_SANDBOX:
		s.plugin.Removed(newSandbox(e.GetPod()))
	}
	return &api.Empty{}, nil
}

// added holds the sandbox back until it is ready, but not for longer than the runtime waits.
func (s *session) added(ctx context.Context, pod *api.PodSandbox) {
	p, sandbox := s.plugin, newSandbox(pod)
	if !sandbox.hasNetwork() {
		return
	}
	s.mu.Lock()
	within := s.within
	s.mu.Unlock()
	began := time.Now()
	late, err := bounded(ctx, within, func(ctx context.Context) error { return p.Added(ctx, sandbox) })
	log := p.Log.With("pod", sandbox.Namespace+"/"+sandbox.Name, "after", time.Since(began).Round(time.Millisecond).String())
	switch {
	case late:
		p.late.Add(1)
		log.Warn("the policies of a new pod were not loaded in time: it starts, and is cut off until they are")
	case err != nil:
		p.failure.Add(1)
		log.Warn("the policies of a new pod could not be loaded: it starts, and is cut off until they are", "error", err)
	default:
		p.answered.Add(1)
	}
}

// bounded runs do, and reports late if it did not do what it has to before the end of its context.
func bounded(ctx context.Context, within time.Duration, do func(context.Context) error) (late bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err := <-done:
		return errors.Is(err, context.DeadlineExceeded), err
	case <-ctx.Done():
		return true, ctx.Err()
	}
}
