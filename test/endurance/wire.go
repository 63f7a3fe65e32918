// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"net"
	"sync"
)

// wire is what leads the enforcer to the API server, and can be cut.
type wire struct {
	listener net.Listener
	to       string

	mu   sync.Mutex
	open map[net.Conn]bool
	dead bool // new connections are refused, too
}

func newWire(to string) (*wire, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{listener: l, to: to, open: make(map[net.Conn]bool)}
	go w.serve()
	return w, nil
}

func (w *wire) serve() {
	for {
		client, err := w.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go w.lead(client)
		}
	}
}

func (w *wire) lead(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer server.Close()
	if !w.keep(client, server) {
		return
	}
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, client)
	delete(w.open, server)
}

func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		w.open[c] = true
	}
	return !w.dead
}

// cut ends all connections. While it is down, new ones end at once.
func (w *wire) cut(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = down
	for c := range w.open {
		_ = c.Close()
	}
}

func (w *wire) close() {
	_ = w.listener.Close()
	w.cut(true)
}
