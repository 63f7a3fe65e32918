// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// verdict is what is expected of packets.
type verdict int8

const (
	either  verdict = iota // a change is on its way
	allowed                // all arrive
	denied                 // none does
)

func (v verdict) String() string { return [...]string{"either", "allowed", "denied"}[v] }

const (
	// straddle is how long before the end of a phase what was sent is not judged: it may have been on its way.
	straddle = 100 * time.Millisecond
	// missing is how long an allowed datagram may take to be read. On a busy machine the reader is late, not the packet.
	missing = 6 * time.Second
)

// phase is a time in which one verdict is expected of an edge.
type phase struct {
	want  verdict
	ended atomic.Int64 // Unix time in ns; 0: it goes on
}

// covers reports whether what was sent at that moment of the phase is judged by it.
func (p *phase) covers(sent time.Time) bool {
	ended := p.ended.Load()
	return p.want != either && (ended == 0 || ended-sent.UnixNano() > int64(straddle))
}

// flavour is how packets are sent over an edge.
type flavour string

const (
	tcp     flavour = "tcp"     // a new connection each time
	udp     flavour = "udp"     // a datagram each time, from a new port
	session flavour = "session" // datagrams from one port, each of which is answered
)

// edge is packets of one kind from one pod to a port of another, and what is expected of them.
type edge struct {
	id       uint32
	from, to *pod
	addr     netip.AddrPort
	flavour  flavour
	phase    atomic.Pointer[phase]
	tally    *tally
	arrival  atomic.Pointer[func(time.Time)] // called when a datagram arrives; nil: nobody wants to know

	dialling atomic.Int32
	mu       sync.Mutex
	serial   uint64
	pending  map[uint64]sent // datagrams that did not arrive yet, by serial
}

// sent is when something was sent, and what was expected then.
type sent struct {
	at    time.Time
	phase *phase
}

func (e *edge) String() string {
	return fmt.Sprintf("%s from %s to %s at %s", e.flavour, e.from.name, e.to.name, e.addr)
}

// expect begins a phase.
func (e *edge) expect(want verdict) {
	if before := e.phase.Swap(&phase{want: want}); before != nil {
		before.ended.Store(time.Now().UnixNano())
	}
}

// sending is called before a datagram is sent. It returns its serial number.
func (e *edge) sending() uint64 {
	p := e.phase.Load()
	e.tally.sent(p.want)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.serial++
	e.pending[e.serial] = sent{time.Now(), p}
	return e.serial
}

// arrived is called when a datagram arrives.
func (e *edge) arrived(serial uint64) {
	now := time.Now()
	e.mu.Lock()
	s, found := e.pending[serial]
	if found && e.flavour != session {
		delete(e.pending, serial)
	}
	e.mu.Unlock()
	if tell := e.arrival.Load(); tell != nil {
		(*tell)(now)
	}
	if found && s.phase.want == denied && s.phase.covers(s.at) {
		e.tally.add(leaked, e, s.at)
	}
}

// answered is called when the answer to a datagram arrives.
func (e *edge) answered(serial uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.pending, serial)
}

// notify calls told whenever a datagram arrives.
func (e *edge) notify(told func(time.Time)) { e.arrival.Store(&told) }

// sweep counts what should have arrived by now.
func (e *edge) sweep(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for serial, s := range e.pending {
		if now.Sub(s.at) < missing {
			continue
		}
		delete(e.pending, serial)
		if s.phase.want == allowed && s.phase.covers(s.at) {
			e.tally.add(dropped, e, s.at)
		}
	}
}

// isAwaited reports whether something that was sent before, and must arrive, did not arrive yet.
func (e *edge) isAwaited(before time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.pending {
		if s.phase.want == allowed && s.at.Before(before) {
			return true
		}
	}
	return false
}

// opened is called with what came of opening a connection; clean says that no packet of it was lost.
func (e *edge) opened(s sent, succeeded, clean bool) {
	if s.phase.want == either || s.phase.ended.Load() != 0 {
		return
	}
	if succeeded && s.phase.want == denied {
		e.tally.add(leaked, e, s.at)
	}
	if s.phase.want == allowed && !(succeeded && clean) {
		e.tally.add(dropped, e, s.at)
	}
}
