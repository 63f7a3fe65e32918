// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"net"
	"sync"
)

// front stands for the Service in front of several replicas: it passes each connection on to one of
// those that listen.
type front struct {
	listener net.Listener

	mu       sync.Mutex
	backends []string
	next     int
}

func newFront() (*front, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &front{listener: listener}
	go f.serve()
	return f, nil
}

func (f *front) url() string { return "https://" + f.listener.Addr().String() }

func (f *front) add(backend string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.backends = append(f.backends, backend)
}

func (f *front) serve() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		go f.pass(conn.(*net.TCPConn))
	}
}

func (f *front) pass(client *net.TCPConn) {
	defer func() { _ = client.Close() }()
	backend, err := f.dial()
	if err != nil {
		return
	}
	defer func() { _ = backend.Close() }()
	var copying sync.WaitGroup
	for from, to := range map[*net.TCPConn]*net.TCPConn{client: backend, backend: client} {
		copying.Go(func() {
			_, _ = io.Copy(to, from) // whoever ends first ends both
			_ = errors.Join(to.CloseWrite(), from.CloseRead())
		})
	}
	copying.Wait()
}

// dial tries the replicas in turn.
func (f *front) dial() (*net.TCPConn, error) {
	f.mu.Lock()
	backends := append(f.backends[f.next:len(f.backends):len(f.backends)], f.backends[:f.next]...)
	f.next = (f.next + 1) % len(f.backends)
	f.mu.Unlock()
	var errs []error
	for _, address := range backends {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
