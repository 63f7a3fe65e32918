// SPDX-License-Identifier: Apache-2.0

// Package agent keeps one node's datapath at what the API server says, and serves what the datapath saw.
package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/attribution"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/hostnet"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/nri"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/observer"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/reject"
)

// Config says what to run. All fields must be set, except those that say otherwise.
type Config struct {
	// REST is how to reach the API server.
	REST *rest.Config
	// Node is the name of this machine's Node object.
	Node string
	// PinPath is the datapath's directory in a BPF file system.
	PinPath string
	// NRISocket is where the container runtime tells of new pods; empty: it is not asked.
	NRISocket string
	// NetNSPath is the directory where the container runtime pins pods' network namespaces.
	NetNSPath string
	// Hubble says where the Observer API is served.
	Hubble observer.Transport
	// HTTPAddr is where health, metrics and status are served, as host:port.
	HTTPAddr string
	// FlowInterval is the time between two drains of the datapath's records.
	FlowInterval time.Duration
	// FlowBuffer is how many flows are kept for clients.
	FlowBuffer int
	// Connections are how many the datapath remembers; 0: as many as it does by itself. Another number makes new maps.
	Connections uint32
	// CleanUp ends enforcement when the agent ends. Otherwise the datapath goes on with the last policies.
	CleanUp bool
	// DNSNames says whether flows are named by what the cluster's DNS told pods.
	DNSNames bool
	// DNSService and DNSNodeLocal are a Service of the cluster's DNS and addresses of its caches on nodes, beside what is
	// detected; empty: there are none.
	DNSService   types.NamespacedName
	DNSNodeLocal []net.IP
	// DenyWith is what becomes of what is denied, where a namespace does not say: DenyByDrop or DenyByReject.
	DenyWith string
	// Version is told to Hubble's clients; empty: not known.
	Version string
	Log     *slog.Logger
}

// What becomes of what is denied.
const (
	DenyByDrop   = "drop"   // nothing
	DenyByReject = "reject" // the sender is told
)

// Run enforces until ctx ends (nil) or something fails for good. It first makes sure of all that can be
// wrong at the start: sockets, API server, kernel.
func Run(ctx context.Context, config Config) (err error) {
	sockets, err := listen(config)
	if err != nil {
		return err
	}
	defer sockets.close()
	trigger, state := newTrigger(), newState(config.Node)
	objects, err := inventory.New(ctx, config.REST, config.Log, func() { state.objectChanged(); trigger.objectsChanged() })
	if err != nil {
		return err
	}
	faults, stopFaults, err := newFaults(config)
	if err != nil {
		return err
	}
	defer stopFaults()
	condition, err := newCondition(config, state, faults.recorder)
	if err != nil {
		return err
	}
	network, err := hostnet.Open()
	if err != nil {
		return err
	}
	defer network.Close()
	datapath, err := dataplane.Open(dataplane.Config{PinPath: config.PinPath, Connections: config.Connections, Log: config.Log})
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, endDatapath(datapath, config))
		condition.end(config.CleanUp)
	}()
	responder, err := reject.New(datapath, config.Log)
	if err != nil {
		return err
	}
	shared := shared{
		node: config.Node, log: config.Log, dataplane: datapath,
		book: attribution.NewBook(config.Node, objects.Owner), state: state, metrics: newMetrics(),
	}
	shared.metrics.registry.MustRegister(answers{responder})
	updater := &updater{
		shared: shared, trigger: trigger, network: network, inventory: objects, faults: faults,
		mirror: newMirror(config.Node, config.DenyWith == DenyByReject), netnsPath: config.NetNSPath,
		sandboxes: newSandboxes(network, config.NetNSPath, trigger),
	}
	namer, err := newNamer(shared, config)
	if err != nil {
		return err
	}
	shared.metrics.registry.MustRegister(nameMetrics{namer, shared.book, datapath})
	if namer != nil {
		updater.resolvers = newResolvers(config.DNSService, config.DNSNodeLocal)
	}
	parts := append(updater.parts(config), shared.observers(config, sockets)...)
	parts = append(parts, responder.Run, endless(condition.run), endless(shared.testItself))
	if namer != nil {
		parts = append(parts, endless(namer.run))
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, run := range parts {
		group.Go(func() error { return run(ctx) })
	}
	return group.Wait()
}

// part is what runs until ctx ends (nil) or it fails for good, and the agent with it.
type part func(ctx context.Context) error

// endless is a part that never fails.
func endless(run func(context.Context)) part {
	return func(ctx context.Context) error { run(ctx); return nil }
}

// parts keep the datapath up to date: the updater, and who tells it of changes.
func (u *updater) parts(config Config) []part {
	parts := []part{
		endless(u.run),
		func(ctx context.Context) error { return hostnet.Watch(ctx, u.trigger.networkChanged) },
	}
	plugin := &nri.Plugin{
		Socket: config.NRISocket, Synchronized: u.sandboxes.synchronized, Added: u.sandboxes.added, Removed: u.sandboxes.removed, Log: config.Log,
	}
	u.metrics.registry.MustRegister(runtimeMetrics{plugin})
	if config.NRISocket != "" {
		parts = append(parts, endless(plugin.Run))
	}
	return parts
}

// observers collect what the datapath saw, and serve it with what else there is to say of the node.
func (s *shared) observers(config Config, sockets *sockets) []part {
	ring := observer.NewRing(config.FlowBuffer)
	s.metrics.registry.MustRegister(sampled{state: s.state, ring: ring, dataplane: s.dataplane})
	flows := observer.NewServer(ring, config.Node, config.Version)
	flows.Register(sockets.hubbleServer)
	website := &website{shared: *s, ring: ring, observer: flows}
	drainer := &drainer{shared: *s, ring: ring, interval: config.FlowInterval}
	return []part{
		endless(drainer.run),
		func(ctx context.Context) error { return serveHubble(ctx, sockets.hubbleServer, sockets.hubble) },
		func(ctx context.Context) error { return serveHTTP(ctx, website.server(), sockets.http) },
	}
}

// shared is what the parts of a running agent have in common.
type shared struct {
	node      string
	log       *slog.Logger
	dataplane *dataplane.Dataplane
	book      *attribution.Book
	state     *state
	metrics   *metrics
}

func endDatapath(d *dataplane.Dataplane, config Config) error {
	if config.CleanUp {
		config.Log.Info("ending enforcement: nothing is judged on this node any more")
		return d.Remove()
	}
	config.Log.Info("the datapath goes on enforcing the policies of this moment")
	return d.Close()
}
