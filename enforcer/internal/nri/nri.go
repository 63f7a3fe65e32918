// SPDX-License-Identifier: Apache-2.0

// Package nri learns of pods from the container runtime before their first container starts, as a plugin
// of the Node Resource Interface of containerd and CRI-O (https://github.com/containerd/nri).
//
// The runtime makes the pod's network, then tells the plugin of the sandbox, and starts nothing of the
// pod before the plugin has answered. It asks about one sandbox at a time, and no other container of the
// node starts or stops meanwhile, so an answer must be quick. A plugin that does not answer in time, 2 s by
// default, is disconnected, and the sandbox goes on without it.
//
// The plugin therefore always answers in time, and always with success. An error would make the runtime
// take the sandbox down and the kubelet make another one, seconds later and for as long as the error lasts: a
// node that cannot enforce would start no pod at all, DNS and those that would repair it included. That a
// pod sends nothing unjudged until it is known is for the datapath to see to, with and without a plugin.
//
// The protocol is spoken by NRI's own messages and connection multiplexer. Its stub is not used: it waits
// forever, its lock held, if the runtime ends between a plugin's registration and its configuration.
package nri

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// DefaultSocket is where runtimes listen for plugins.
	DefaultSocket = "/var/run/nri/nri.sock"

	pluginName = "bulkhead-enforcer"
	// Plugins are asked in the order of their index, 00 to 99: those that add to a pod's network come first.
	pluginIndex = "90"

	// deadline is how long the runtime waits for an answer; half of its own time-out if that is less.
	deadline = time.Second
	// A connection that could not be made, or ended, is made again after firstRetry, then ever later up
	// to lastRetry.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// Plugin says what to do with the runtime's sandboxes. All fields must be set. The functions may be called
// concurrently.
type Plugin struct {
	// Socket is the runtime's.
	Socket string
	// Synchronized is called with all sandboxes that have a network, at every connection: what it does not
	// name is gone. New sandboxes wait until it returns or ctx ends.
	Synchronized func(ctx context.Context, sandboxes []Sandbox) error
	// Added is called for a new sandbox that has a network. The pod's containers start when it returns, or when
	// ctx ends, whether it failed or not. It must return soon after ctx ends.
	Added func(ctx context.Context, sandbox Sandbox) error
	// Removed is called when the containers of a sandbox have ended and its network is about to be taken
	// down, and again later; also for sandboxes without a network. It must not block. It is a hint: containerd
	// does not tell the end of sandboxes that are older than its own last start.
	Removed func(sandbox Sandbox)
	Log     *slog.Logger

	connected                            atomic.Bool
	connections, answered, late, failure atomic.Uint64
}

// Stats is what became of the runtime's questions since the start.
type Stats struct {
	// Connected says that the runtime holds new pods back for this plugin now.
	Connected bool
	// Connections counts those that were made; more than one: the runtime was restarted, or dropped the plugin.
	Connections uint64
	// Answered counts new sandboxes that were ready in time, Late those that were let go after the deadline,
	// Failed those that Added gave an error for.
	Answered, Late, Failed uint64
}

// Stats may be called at any time.
func (p *Plugin) Stats() Stats {
	return Stats{
		Connected: p.connected.Load(), Connections: p.connections.Load(),
		Answered: p.answered.Load(), Late: p.late.Load(), Failed: p.failure.Load(),
	}
}

// Run keeps connected to the runtime until ctx ends. That there is no socket, or that the runtime goes
// away, is logged once and tried again for ever: nodes need not have NRI.
func (p *Plugin) Run(ctx context.Context) {
	told := ""
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		before := p.connections.Load()
		err := p.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if p.connections.Load() > before { // it was connected meanwhile
			retry, told = firstRetry, ""
		}
		told = p.tell(told, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
	}
}

// tell logs err if it is another one than before; it returns what was told.
func (p *Plugin) tell(before string, err error) string {
	now := err.Error()
	switch {
	case now == before:
	case errors.Is(err, fs.ErrNotExist):
		p.Log.Info("the container runtime has no NRI socket: new pods are not held back until their policies are loaded; looking for one from time to time",
			"socket", p.Socket)
	default:
		p.Log.Warn("not connected to the container runtime: new pods are not held back until their policies are loaded; trying again",
			"socket", p.Socket, "error", now)
	}
	return now
}
