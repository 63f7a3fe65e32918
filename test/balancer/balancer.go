// SPDX-License-Identifier: Apache-2.0

// Package balancer is what a Service of Kubernetes is to its clients: one address, and behind it the pods that
// were ready a moment ago. It passes on connections, not requests, so a connection stays where it
// is when its pod leaves the Service.
package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// Replica is a pod of the Service.
type Replica struct {
	Address string // host:port that connections go to
	Ready   string // URL that answers 200 while it is ready; empty: it always is
}

// Config says how slow the parts are that take minutes to notice nothing in a cluster.
type Config struct {
	Replicas []Replica
	// Probe is the time between two readiness probes: periodSeconds, with a failureThreshold of 1.
	Probe time.Duration
	// Delay is how long nodes take to hear of a change of the endpoints.
	Delay time.Duration
}

// Balancer is running until Close.
type Balancer struct {
	config   Config
	listener net.Listener
	stop     context.CancelFunc
	done     sync.WaitGroup

	mu      sync.Mutex
	members []member
	next    int // member of the next connection
	open    map[net.Conn]bool
}

type member struct {
	leaving bool // its pod is being deleted
	ready   bool // as the last probe said
	routed  bool // new connections go there
	changes int  // of leaving and ready
	heard   int  // the change that routed is of
}

// Start listens on a free port of the loopback address.
func Start(config Config) (*Balancer, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("address for the Service: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &Balancer{config: config, listener: listener, stop: stop, members: make([]member, len(config.Replicas)), open: map[net.Conn]bool{}}
	b.done.Go(b.accept)
	for i := range config.Replicas {
		b.done.Go(func() { b.probe(ctx, i) })
	}
	return b, nil
}

// Addr is host:port of the Service.
func (b *Balancer) Addr() string { return b.listener.Addr().String() }

// Close ends all connections.
func (b *Balancer) Close() error {
	b.stop()
	err := b.listener.Close()
	b.mu.Lock()
	for connection := range b.open {
		_ = connection.Close()
	}
	b.mu.Unlock()
	b.done.Wait()
	return err
}

// Leave takes a replica out of the endpoints, as is done at the moment at which its pod gets SIGTERM. New
// connections go there for Config.Delay.
func (b *Balancer) Leave(replica int) {
	b.change(func() { b.members[replica].leaving = true }, replica)
}

// Join takes a replica in, once it is ready: a new pod.
func (b *Balancer) Join(replica int) {
	b.change(func() { b.members[replica].leaving, b.members[replica].ready = false, false }, replica)
}

// Routed reports whether new connections go to a replica.
func (b *Balancer) Routed(replica int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.members[replica].routed
}

// change of the endpoints, which all nodes hear of later.
func (b *Balancer) change(edit func(), replica int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	edit()
	m := &b.members[replica]
	m.changes++
	routed, change := m.ready && !m.leaving, m.changes
	time.AfterFunc(b.config.Delay, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if change > m.heard {
			m.routed, m.heard = routed, change
		}
	})
}

func (b *Balancer) probe(ctx context.Context, replica int) {
	ticker := time.NewTicker(b.config.Probe)
	defer ticker.Stop()
	for {
		ready := answers(ctx, b.config.Replicas[replica].Ready)
		b.mu.Lock()
		changed := ready != b.members[replica].ready
		b.mu.Unlock()
		if changed {
			b.change(func() { b.members[replica].ready = ready }, replica)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// prober opens a connection for each probe, as kubelets do.
var prober = &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func answers(ctx context.Context, url string) bool {
	return url == "" || cluster.Answers(ctx, prober, url)
}

func (b *Balancer) accept() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return // closed
		}
		b.done.Go(func() { b.pass(client) })
	}
}

// pass connects a client with the next replica. Without one, and where it does not listen, the client's
// connection is refused: it is reset before anything was said.
func (b *Balancer) pass(client net.Conn) {
	defer b.track(client)()
	address, err := b.pick()
	if err != nil {
		_ = client.(*net.TCPConn).SetLinger(0)
		return
	}
	server, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		_ = client.(*net.TCPConn).SetLinger(0)
		return
	}
	defer b.track(server)()
	var both sync.WaitGroup
	both.Go(func() { relay(server, client) })
	both.Go(func() { relay(client, server) })
	both.Wait()
}

// track closes a connection when it, or the Balancer, is done.
func (b *Balancer) track(connection net.Conn) (done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[connection] = true
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.open, connection)
		_ = connection.Close()
	}
}

// relay ends the other direction's writing when this one has nothing more to say.
func relay(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.(*net.TCPConn).CloseWrite()
}

var errNobody = errors.New("no replica is ready")

func (b *Balancer) pick() (address string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.members {
		i := b.next % len(b.members)
		b.next++
		if b.members[i].routed {
			return b.config.Replicas[i].Address, nil
		}
	}
	return "", errNobody
}
