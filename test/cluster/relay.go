// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// relay accepts connections on a loopback address of this machine and continues them from inside a network
// namespace, so that a server there is reached from here without a link between the two.
type relay struct {
	listener net.Listener
	dial     func() (net.Conn, error)

	mu     sync.Mutex
	open   map[net.Conn]bool // nil: closed
	served sync.WaitGroup
}

func newRelay(dial func() (net.Conn, error)) (*relay, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for clients of the cluster: %w", err)
	}
	r := &relay{listener: listener, dial: dial, open: map[net.Conn]bool{}}
	r.served.Go(r.serve)
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) serve() {
	for {
		client, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			r.served.Go(func() { r.forward(client) })
		}
	}
}

// forward ends both connections when both directions have ended, or one of them with an error.
func (r *relay) forward(client net.Conn) {
	defer r.keep(client)()
	server, err := r.dial()
	if err != nil {
		return // the client sees its connection end
	}
	defer r.keep(server)()
	var directions sync.WaitGroup
	directions.Go(func() { pipe(server, client) })
	directions.Go(func() { pipe(client, server) })
	directions.Wait()
}

// pipe copies until the source ends, and tells the destination so.
func pipe(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = from.Close()
		_ = to.Close()
		return
	}
	_ = to.(*net.TCPConn).CloseWrite()
}

// keep lets close end the connection; the function it returns does so sooner.
func (r *relay) keep(c net.Conn) (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		_ = c.Close()
		return func() {}
	}
	r.open[c] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.open, c)
		_ = c.Close()
	}
}

func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	for c := range r.open {
		_ = c.Close()
	}
	r.open = nil
	r.mu.Unlock()
	r.served.Wait()
}
