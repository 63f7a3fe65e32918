// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// heartbeat is the time between two exchanges of a long-lived connection.
	heartbeat = 20 * time.Millisecond
	// stall is how long one may take. TCP sends again after 0.2, 0.6, 1.4, 3 and 6.2 s.
	stall = 6 * time.Second
)

// stream is a long-lived TCP connection that is allowed all the time.
type stream struct {
	from, to *pod
	addr     netip.AddrPort
	pushed   bool // the server speaks, and the client listens
	tally    *tally
	paused   *atomic.Bool
}

func (s *stream) String() string {
	how := "echoed"
	if s.pushed {
		how = "pushed"
	}
	return fmt.Sprintf("long-lived TCP (%s) from %s to %s at %s", how, s.from.name, s.to.name, s.addr)
}

// run opens the connection and uses it until ctx ends; one that breaks is counted and opened again.
func (s *stream) run(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := s.from.dial(ctx, "tcp", s.addr)
		if err != nil {
			continue // the edge of the same kind counts that
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		begun := time.Now()
		if err := s.use(conn); ctx.Err() == nil {
			s.tally.add(broken, named{s, err}, begun)
		}
		stop()
		_ = conn.Close()
	}
}

// named is a stream and how it ended.
type named struct {
	*stream
	err error
}

func (n named) String() string { return fmt.Sprintf("%s: %v", n.stream, n.err) }

// use returns when the connection is broken.
func (s *stream) use(conn net.Conn) error {
	word := []byte("E")
	if s.pushed {
		word = []byte("P")
		if _, err := conn.Write(word); err != nil {
			return err
		}
	}
	for tick := time.NewTicker(heartbeat); ; <-tick.C {
		if s.paused.Load() && !s.pushed {
			continue
		}
		if err := conn.SetDeadline(time.Now().Add(stall)); err != nil {
			return err
		}
		if !s.pushed {
			if _, err := conn.Write(word); err != nil {
				return err
			}
		}
		if _, err := conn.Read(word); err != nil {
			return err
		}
	}
}

// dial opens a connection from the pod, or a socket of UDP.
func (p *pod) dial(ctx context.Context, network string, to netip.AddrPort) (conn net.Conn, err error) {
	dialer := net.Dialer{Timeout: stall}
	err = p.Do(func() error {
		conn, err = dialer.DialContext(ctx, network, to.String())
		return err
	})
	return conn, err
}

// talk sends datagrams of a session, from one port, until the pod ends.
func (e *edge) talk(ctx context.Context) error {
	conn, err := e.from.dial(ctx, "udp", e.addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	go e.listen(conn)
	go func() {
		defer conn.Close()
		for tick := time.NewTicker(e.from.lab.config.every); ; {
			select {
			case <-ctx.Done():
				return
			case <-e.from.done:
				return
			case <-tick.C:
			}
			if !e.from.lab.paused.Load() {
				_, _ = conn.Write(e.packet()) // what could not be sent is missed
			}
		}
	}()
	return nil
}

func (e *edge) listen(conn net.Conn) {
	buf := make([]byte, datagram+1)
	for {
		n, err := conn.Read(buf)
		if err != nil && isClosed(err) {
			return
		}
		if err == nil && n == datagram {
			e.answered(binary.BigEndian.Uint64(buf[4:]))
		}
	}
}
