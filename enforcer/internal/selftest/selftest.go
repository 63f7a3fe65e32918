// SPDX-License-Identifier: Apache-2.0

// Package selftest proves that the hooks of a running datapath drop what they must. It sends datagrams over a
// veth pair between two network namespaces of its own: they must arrive before the datapath is attached to the
// pair and after it is detached, and must not while it is attached, because the world has no such endpoint.
//
// The netfilter hooks judge only what comes from a device of the world and is forwarded by the node itself.
// To send such a packet would take an address and a route of the node, and an endpoint in what is enforced. So
// it is only looked at whether the datapath's own program is at each of these hooks.
package selftest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
)

const (
	// arrival is how long a datagram may take, with the neighbour discovery before the first.
	arrival = 2 * time.Second
	// counting is how long it may take until a datagram is counted as dropped.
	counting = 500 * time.Millisecond
	// again is when a datagram that has not arrived is sent once more.
	again = 20 * time.Millisecond
	// burst is how many datagrams must be dropped.
	burst = 5
)

// The datagrams, by when they are sent.
const (
	before   = "before the datapath is attached"
	attached = "while the datapath is attached"
	after    = "after the datapath is detached"
)

// Run returns nil if every hook drops what it must, and otherwise what is wrong with which. A world must be
// loaded. It takes some tenths of a second, and seconds at most. Nothing may detach Ifindex meanwhile.
func Run(d *dataplane.Dataplane) (err error) {
	r, err := newRoom()
	if err != nil {
		return fmt.Errorf("prepare the self-test: %w", err)
	}
	defer r.close()
	// What a crash left may still hold the name.
	if err := d.Detach(Ifindex); err != nil {
		return fmt.Errorf("prepare the self-test: %w", err)
	}
	lanes, err := r.lanes()
	defer closeAll(lanes)
	if err != nil {
		return fmt.Errorf("prepare the self-test: %w", err)
	}
	for _, l := range lanes {
		if err := l.arrives(before); err != nil {
			return fmt.Errorf("prepare the self-test: %w", err)
		}
	}
	err = errors.Join(r.drops(d, lanes), d.CheckNetfilter())
	if detachErr := d.Detach(Ifindex); detachErr != nil {
		return errors.Join(err, fmt.Errorf("after the self-test: %w", detachErr))
	}
	for _, l := range lanes {
		// What passed is received before what is sent now.
		err = errors.Join(err, l.arrives(after))
		if l.passed > 0 {
			err = errors.Join(err, fmt.Errorf("%s let %d of %d packets of %s pass that it must drop", l.hook, l.passed, burst, l.family))
		}
	}
	return err
}

// drops attaches the datapath to the host's end and sends what it must drop. What passed is seen later.
func (r *room) drops(d *dataplane.Dataplane, lanes []*lane) (err error) {
	if err := r.host.do(func() error { return d.Attach(Ifindex) }); err != nil {
		return fmt.Errorf("attach the datapath for the self-test: %w", err)
	}
	for _, l := range lanes {
		err = errors.Join(err, l.dropped(d))
	}
	return err
}

// dropped sends a burst and errs unless the datapath counts all of it as dropped.
func (l *lane) dropped(d *dataplane.Dataplane) error {
	already, err := dropped(d)
	if err != nil {
		return err
	}
	for range burst {
		if _, err := l.from.Write([]byte(attached)); err != nil {
			return fmt.Errorf("send a packet of the self-test: %w", err)
		}
	}
	for deadline := time.Now().Add(counting); ; time.Sleep(time.Millisecond) {
		now, err := dropped(d)
		switch {
		case err != nil:
			return err
		case now >= already+burst:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s dropped %d of %d packets of %s", l.hook, now-already, burst, l.family)
		}
	}
}

func dropped(d *dataplane.Dataplane) (uint64, error) {
	counters, err := d.Counters()
	return counters.Dropped[dataplane.ByUnknownEndpoint], err
}

// lane is a way from one end to the other.
type lane struct {
	hook, family string
	from, to     *net.UDPConn
	passed       int // datagrams that were sent while the datapath was attached
}

// lanes are both ways in each family, each past one of the hooks at the host's end.
func (r *room) lanes() (all []*lane, err error) {
	for _, f := range r.families {
		host, pod, err := r.sockets(f)
		if err != nil {
			return all, err
		}
		all = append(all, &lane{hook: "the hook on packets from pods", family: f.name, from: pod, to: host},
			&lane{hook: "the hook on packets to pods", family: f.name, from: host, to: pod})
	}
	return all, nil
}

// port of both ends: there is nobody else in these namespaces.
const port = 9967

// sockets are connected with each other.
func (r *room) sockets(f family) (host, pod *net.UDPConn, err error) {
	open := func(self, peer netip.Addr) func() error {
		return func() error {
			c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(self, port)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(peer, port)))
			if self == f.host {
				host = c
			} else {
				pod = c
			}
			return err
		}
	}
	err = errors.Join(r.host.do(open(f.host, f.pod)), r.pod.do(open(f.pod, f.host)))
	return host, pod, err
}

func closeAll(lanes []*lane) {
	for _, l := range lanes {
		l.from.Close()
	}
}

// arrives sends a datagram again and again until it is received, and counts those received before it that
// should have been dropped.
func (l *lane) arrives(what string) error {
	buf := make([]byte, 64)
	for deadline := time.Now().Add(arrival); time.Now().Before(deadline); {
		if _, err := l.from.Write([]byte(what)); err != nil {
			return fmt.Errorf("send a packet of %s %s: %w", l.family, what, err)
		}
		if err := l.to.SetReadDeadline(time.Now().Add(again)); err != nil {
			return err
		}
		for {
			n, err := l.to.Read(buf)
			if err != nil {
				break // it did not arrive in time
			}
			switch string(buf[:n]) {
			case what:
				return nil
			case attached:
				l.passed++
			}
		}
	}
	return fmt.Errorf("no packet of %s arrives past %s, %s", l.family, l.hook, what)
}
