// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// clientCore is where the client runs.
const clientCore = 1

// workload is one kind of traffic.
type workload struct {
	name   string
	unit   string
	scale  float64 // of the unit, in what measure counts
	target float64 // of the issue: what ratio is to be reached, in percent
	// measure returns how many a second, from the node's client to its server.
	measure func(n *twoPods, family string, d time.Duration) (float64, error)
}

var transactions = []workload{
	{"TCP_RR, 1 connection", "thousand/s", 1e3, 99, requests(1)},
	{"TCP_RR, 16 connections", "thousand/s", 1e3, 99, requests(16)},
	{"TCP_CRR", "thousand/s", 1e3, 97, connections},
}

var streams = []workload{
	{"1 stream", "Gbit/s", 1e9 / 8, 98, bulk(1)},
	{"4 streams", "Gbit/s", 1e9 / 8, 98, bulk(4)},
}

var datagrams = workload{"UDP", "thousand/s", 1e3, 98, bursts}

// requests are one byte there and one back, over and over, of so many open connections.
func requests(parallel int) func(*twoPods, string, time.Duration) (float64, error) {
	return func(n *twoPods, family string, d time.Duration) (float64, error) {
		fds, err := n.openAll(parallel, family, echoPort)
		if err != nil {
			return 0, err
		}
		var count atomic.Int64
		return rate(&count, d, parallel, func(i int, until time.Time) error {
			defer unix.Close(fds[i])
			return repeat(&count, until, func() error { return exchange(fds[i]) })
		})
	}
}

func (n *twoPods) openAll(parallel int, family string, port uint16) ([]int, error) {
	fds := make([]int, parallel)
	var err error
	for i := range fds {
		if fds[i], err = n.pods[client].connect(to(family, port), unix.SOCK_STREAM); err != nil {
			return nil, err
		}
	}
	return fds, nil
}

// rate runs f on so many threads on the client's core, and returns what they count a second until d has passed.
func rate(count *atomic.Int64, d time.Duration, threads int, f func(i int, until time.Time) error) (float64, error) {
	begin := time.Now()
	until := begin.Add(d)
	var results []<-chan error
	for i := range threads {
		results = append(results, onCore(clientCore, func() error { return f(i, until) }))
	}
	for _, result := range results {
		if err := <-result; err != nil {
			return 0, err
		}
	}
	return float64(count.Load()) / time.Since(begin).Seconds(), nil
}

// repeat counts how often f is done until then.
func repeat(count *atomic.Int64, until time.Time, f func() error) error {
	n := int64(0)
	defer func() { count.Add(n) }()
	for time.Now().Before(until) {
		if err := f(); err != nil {
			return err
		}
		n++
	}
	return nil
}

// connections are opened, used for one byte each way, and closed, one after the other. The thread is in the client's
// namespace.
func connections(n *twoPods, family string, d time.Duration) (float64, error) {
	var count atomic.Int64
	target := to(family, connectPort)
	where := sockaddr(target)
	return rate(&count, d, 1, func(_ int, until time.Time) error {
		if err := unix.Setns(int(n.pods[client].handle), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the client's namespace: %w", err)
		}
		return repeat(&count, until, func() error {
			fd, err := newSocket(target, unix.SOCK_STREAM)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Connect(fd, where); err != nil {
				return fmt.Errorf("connect to %s: %w", target, err)
			}
			return exchange(fd)
		})
	})
}

// bulk sends as fast as it goes on so many connections. What counts is what the server has read in the time; before
// it returns, the server has read everything.
func bulk(parallel int) func(*twoPods, string, time.Duration) (float64, error) {
	return func(n *twoPods, family string, d time.Duration) (float64, error) {
		fds, err := n.openAll(parallel, family, sinkPort)
		if err != nil {
			return 0, err
		}
		before := n.services.received.Load()
		var unused atomic.Int64
		var sum float64
		timed := make(chan struct{})
		begin := time.Now()
		time.AfterFunc(d, func() {
			sum = float64(n.services.received.Load()-before) / time.Since(begin).Seconds()
			close(timed)
		})
		_, err = rate(&unused, d, parallel, func(i int, until time.Time) error { return send(fds[i], until) })
		<-timed
		return sum, err
	}
}

func send(fd int, until time.Time) error {
	defer unix.Close(fd)
	data := make([]byte, 128<<10)
	for time.Now().Before(until) {
		if _, err := unix.Write(fd, data); err != nil {
			return err
		}
	}
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return err
	}
	_, err := unix.Read(fd, data) // until the server has closed it
	return err
}

// bursts are datagrams that one thread sends and then reads: what is measured is the way between.
func bursts(n *twoPods, family string, d time.Duration) (float64, error) {
	const burst = 64
	fd, err := n.pods[client].connect(to(family, udpPort), unix.SOCK_DGRAM)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var count atomic.Int64
	perSecond, err := rate(&count, d, 1, func(_ int, until time.Time) error {
		var data [burst]byte
		return repeat(&count, until, func() error {
			for range burst {
				if _, err := unix.Write(fd, data[:]); err != nil {
					return err
				}
			}
			for range burst {
				if _, err := unix.Read(n.services.datagrams[family], data[:]); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return burst * perSecond, err
}
