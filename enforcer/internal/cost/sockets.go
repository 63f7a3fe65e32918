// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Ports of the server, all of which the last policy allows.
const (
	echoPort    = firstPort     // bytes go back; a thread a connection
	connectPort = firstPort + 1 // the same, one connection after the other
	sinkPort    = firstPort + 2 // bytes are counted
	udpPort     = firstPort + 3
)

// Sockets block, and threads wait in the kernel, as those of the usual measuring programs do: Go's own network
// stack would add its scheduler to every round trip.

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func newSocket(a netip.AddrPort, kind int) (int, error) {
	family := unix.AF_INET6
	if a.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	return fd, err
}

// connect opens a connection from the namespace, or a socket that sends there.
func (s *space) connect(a netip.AddrPort, kind int) (fd int, err error) {
	err = s.do(func() error {
		if fd, err = newSocket(a, kind); err != nil {
			return err
		}
		return unix.Connect(fd, sockaddr(a))
	})
	if err != nil {
		return 0, fmt.Errorf("connect to %s: %w", a, err)
	}
	return fd, nil
}

func (s *space) listen(a netip.AddrPort, kind int) (fd int, err error) {
	err = s.do(func() error {
		if fd, err = newSocket(a, kind); err != nil {
			return err
		}
		if err := unix.Bind(fd, sockaddr(a)); err != nil || kind != unix.SOCK_STREAM {
			return err
		}
		return unix.Listen(fd, 128)
	})
	if err != nil {
		return 0, fmt.Errorf("listen at %s: %w", a, err)
	}
	return fd, nil
}

// exchange sends a byte and waits for one.
func exchange(fd int) error {
	var b [1]byte
	if _, err := unix.Write(fd, b[:]); err != nil {
		return err
	}
	n, err := unix.Read(fd, b[:])
	if err == nil && n == 0 {
		err = errors.New("the server closed the connection")
	}
	return err
}

// services are what the server runs.
type services struct {
	core      int
	received  atomic.Int64 // bytes at sinkPort
	datagrams map[string]int
	listeners []int
	running   sync.WaitGroup
}

// serve starts the services of both families on the core.
func (n *twoPods) serve(core int) error {
	n.services = &services{core: core, datagrams: make(map[string]int)}
	for _, family := range []string{"IPv4", "IPv6"} {
		for port, handle := range map[uint16]func(int){
			echoPort:    func(fd int) { n.services.start(func() { echo(fd) }) },
			connectPort: echo,
			sinkPort:    func(fd int) { n.services.start(func() { n.services.sink(fd) }) },
		} {
			fd, err := n.pods[server].listen(to(family, port), unix.SOCK_STREAM)
			if err != nil {
				return err
			}
			n.services.listeners = append(n.services.listeners, fd)
			n.services.start(func() { accept(fd, handle) })
		}
		fd, err := n.pods[server].listen(to(family, udpPort), unix.SOCK_DGRAM)
		if err != nil {
			return err
		}
		n.services.datagrams[family] = fd
	}
	return nil
}

// start runs f on a thread of its own on the server's core. If that cannot be had, neither can the client's, which
// says so.
func (s *services) start(f func()) {
	s.running.Go(func() { <-onCore(s.core, func() error { f(); return nil }) })
}

// accept ends when the listener is shut down.
func accept(listener int, handle func(int)) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			handle(fd)
		case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED):
			return
		}
	}
}

func echo(fd int) {
	defer unix.Close(fd)
	var b [1]byte
	for {
		n, err := unix.Read(fd, b[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		if _, err := unix.Write(fd, b[:n]); err != nil {
			return
		}
	}
}

func (s *services) sink(fd int) {
	defer unix.Close(fd)
	buffer := make([]byte, 256<<10)
	for {
		n, err := unix.Read(fd, buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		s.received.Add(int64(n))
	}
}

// close ends the services and waits for them. nil: there are none.
func (s *services) close() {
	if s == nil {
		return
	}
	for _, fd := range s.listeners {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	}
	s.running.Wait()
	for _, fd := range s.listeners {
		_ = unix.Close(fd)
	}
	for _, fd := range s.datagrams {
		_ = unix.Close(fd)
	}
}
