// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// The range of pods' addresses that is tried: around the last one that was given out.
	probedBefore, probedAfter = 24, 24
	betweenProbes             = 20 * time.Millisecond
	// connectEvery is how many rounds of datagrams there are for one of connections, which take up room in the
	// node's table of connections for minutes.
	connectEvery = 15
	// probeHops is how far probes get: to a pod of the node, and not around the routes to addresses that nobody has.
	probeHops = 2
)

// prober tries to reach pods from another pod of the node, before anybody can know that they are there: it guesses
// their addresses from those that the CNI plugin gave out last.
type prober struct {
	pods     netip.Prefix
	reserved string // pattern of the files with the last address given out, as the machine sees them
	ended    chan struct{}
	end      atomic.Bool
	sent     atomic.Uint64
	err      error
}

// startProber sends from the network namespace of in.
func startProber(pods netip.Prefix, reserved string, in func(func() error) error) *prober {
	p := &prober{pods: pods, reserved: reserved, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.err = in(p.run)
	}()
	return p
}

// stop returns how many packets were sent.
func (p *prober) stop() (uint64, error) {
	p.end.Store(true)
	<-p.ended
	return p.sent.Load(), p.err
}

func (p *prober) run() error {
	datagrams, err := p.socket(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(datagrams)
	var opening []int // sockets of the round before
	defer func() { closeAll(opening) }()
	for round := 0; !p.end.Load(); round++ {
		addrs, err := p.guess()
		if err != nil {
			return err
		}
		for _, addr := range addrs {
			to := &unix.SockaddrInet4{Port: port, Addr: addr.As4()}
			if unix.Sendto(datagrams, []byte("probe"), 0, to) == nil {
				p.sent.Add(1)
			}
		}
		if round%connectEvery == 0 {
			closeAll(opening)
			if opening, err = p.connect(addrs); err != nil {
				return err
			}
		}
		time.Sleep(betweenProbes)
	}
	return nil
}

// connect begins a connection to each of the addresses. Who listens there counts those that come about.
func (p *prober) connect(addrs []netip.Addr) (opening []int, err error) {
	for _, addr := range addrs {
		fd, err := p.socket(unix.SOCK_STREAM)
		if err != nil {
			return opening, err
		}
		opening = append(opening, fd)
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: addr.As4()})
		if err == nil || errors.Is(err, unix.EINPROGRESS) {
			p.sent.Add(1)
		}
	}
	return opening, nil
}

func (p *prober) socket(kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket for probes: %w", err)
	}
	return fd, unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, probeHops)
}

func closeAll(sockets []int) {
	for _, fd := range sockets {
		_ = unix.Close(fd)
	}
}

// guess returns the addresses around the last one that was given out.
func (p *prober) guess() (addrs []netip.Addr, err error) {
	last, err := p.last()
	if err != nil {
		return nil, err
	}
	first := p.pods.Addr().As4()
	for i := last - probedBefore; i <= last+probedAfter; i++ {
		first[3] = byte(2 + (i+252)%252) // 2 to 253: 1 is the node's
		addrs = append(addrs, netip.AddrFrom4(first))
	}
	return addrs, nil
}

// last is the last part of the address, less 2.
func (p *prober) last() (int, error) {
	files, err := filepath.Glob(p.reserved)
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("find out which addresses the CNI plugin gave out: %d files %s: %w", len(files), p.reserved, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		return 0, err
	}
	addr, err := netip.ParseAddr(strings.TrimSpace(string(content)))
	if err != nil { // it is being written
		return 0, nil
	}
	return int(addr.As4()[3]) - 2, nil
}
