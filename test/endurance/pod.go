// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/test/node"
)

// Every pod serves both, TCP and UDP. Policies allow the first at most.
const (
	openPort   = 8080
	closedPort = 9090
)

// maxDialling bounds the connections that are being opened at a time over one edge.
const maxDialling = 4

// pod is a network namespace with servers, and a thread that sends.
type pod struct {
	*node.Pod
	namespace, name string
	labels          map[string]string
	lab             *lab

	edges   atomic.Pointer[[]*edge] // that begin here
	heard   atomic.Int64            // when a byte came over TCP, in Unix time in ns
	done    chan struct{}
	closing sync.Once
	closers []io.Closer
	working sync.WaitGroup
}

// openPod makes the pod's network and servers, with which it is reached from now on.
func (l *lab) openPod(namespace, name string, labels map[string]string, hostIf string, addrs ...string) (*pod, error) {
	p := &pod{namespace: namespace, name: namespace + "/" + name, labels: labels, lab: l, done: make(chan struct{})}
	p.edges.Store(new([]*edge))
	var err error
	if p.Pod, err = node.Open(hostIf, addrs...); err != nil {
		return nil, err
	}
	for _, port := range []int{openPort, closedPort} {
		if err := p.serve(port); err != nil {
			p.close()
			return nil, err
		}
	}
	l.mu.Lock()
	l.pods[p.name] = p
	l.mu.Unlock()
	p.working.Go(func() {
		_ = p.Do(func() error {
			p.send()
			return nil
		})
	})
	return p, nil
}

// close takes the pod's network away, then its servers.
func (p *pod) close() {
	p.closing.Do(func() {
		close(p.done)
		p.Pod.Close()
		for _, c := range p.closers {
			_ = c.Close()
		}
		p.working.Wait()
	})
}

func (p *pod) serve(port int) error {
	var l net.Listener
	var c net.PacketConn
	err := p.Do(func() (err error) {
		if l, err = net.ListenTCP("tcp", &net.TCPAddr{Port: port}); err == nil {
			c, err = listenUDP(port)
		}
		return err
	})
	if l != nil {
		p.closers = append(p.closers, l)
	}
	if err != nil {
		return err
	}
	p.closers = append(p.closers, c)
	p.working.Go(func() { p.serveTCP(l) })
	p.working.Go(func() { p.lab.receive(c) })
	return nil
}

// listenUDP has room for what arrives while the reader waits for a processor.
func listenUDP(port int) (net.PacketConn, error) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
	if err != nil {
		return nil, err
	}
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) })
	}
	return c, err
}

// serveTCP answers every byte with itself. A connection that begins with a P is told something all the time.
func (p *pod) serveTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			p.answer(c)
		}()
	}
}

func (p *pod) answer(c net.Conn) {
	buf := make([]byte, 512)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		p.heard.Store(time.Now().UnixNano())
		for buf[0] == 'P' {
			if _, err := c.Write(buf[:1]); err != nil {
				return
			}
			time.Sleep(heartbeat)
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A datagram is the number of its edge and its serial number.
const datagram = 12

// receive takes datagrams, and answers those that expect it.
func (l *lab) receive(c net.PacketConn) {
	buf := make([]byte, 64)
	for {
		n, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n != datagram {
			continue
		}
		e := l.edge(binary.BigEndian.Uint32(buf))
		if e == nil {
			continue
		}
		e.arrived(binary.BigEndian.Uint64(buf[4:]))
		if e.flavour == session {
			_, _ = c.WriteTo(buf[:n], from) // an answer that is lost is missed
		}
	}
}

// send is the pod's life, on a thread in its network.
func (p *pod) send() {
	tick := time.NewTicker(p.lab.config.every)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
		}
		if p.lab.paused.Load() {
			continue
		}
		for _, e := range *p.edges.Load() {
			switch e.flavour {
			case tcp:
				e.dial()
			case udp:
				e.shoot()
			}
		}
	}
}

func (e *edge) packet() []byte {
	buf := binary.BigEndian.AppendUint32(make([]byte, 0, datagram), e.id)
	return binary.BigEndian.AppendUint64(buf, e.sending())
}

// shoot sends a datagram from a new port.
func (e *edge) shoot() {
	fd, to, err := e.socket(unix.SOCK_DGRAM)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = unix.Sendto(fd, e.packet(), 0, to) // one that was not sent is missed
}

// socket must be called on a thread in the pod's network.
func (e *edge) socket(kind int) (fd int, to unix.Sockaddr, err error) {
	family := unix.AF_INET6
	if e.addr.Addr().Is4() {
		family = unix.AF_INET
		to = &unix.SockaddrInet4{Port: int(e.addr.Port()), Addr: e.addr.Addr().As4()}
	} else {
		to = &unix.SockaddrInet6{Port: int(e.addr.Port()), Addr: e.addr.Addr().As16()}
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return fd, to, err
}

// dial begins to open a connection.
func (e *edge) dial() {
	if e.dialling.Add(1) > maxDialling {
		e.dialling.Add(-1)
		return
	}
	s := sent{time.Now(), e.phase.Load()}
	fd, to, err := e.socket(unix.SOCK_STREAM)
	if err == nil {
		if err = unix.Connect(fd, to); err == nil || errors.Is(err, unix.EINPROGRESS) {
			e.tally.sent(s.phase.want)
			go e.await(fd, s)
			return
		}
		_ = unix.Close(fd)
	}
	e.opened(s, false, false)
	e.dialling.Add(-1)
}

const (
	// openWithin is how long an allowed connection may take to be opened.
	openWithin = 5 * time.Second
	// closedFor is how long it is looked at whether a denied connection opens.
	closedFor = 300 * time.Millisecond
)

// await sees what becomes of a connection.
func (e *edge) await(fd int, s sent) {
	defer e.dialling.Add(-1)
	f := os.NewFile(uintptr(fd), "probe")
	defer f.Close()
	patience := closedFor
	if s.phase.want == allowed {
		patience = openWithin
	}
	_ = f.SetDeadline(time.Now().Add(patience))
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	var failure error
	var info *unix.TCPInfo
	err = raw.Write(func(fd uintptr) bool {
		if code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			failure = errors.Join(err, syscall.Errno(code))
			return true
		}
		if _, err := unix.Getpeername(int(fd)); err != nil {
			return false
		}
		info, failure = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		return true
	})
	opened := err == nil && failure == nil
	e.opened(s, opened, opened && info.Total_retrans == 0)
}

func (p *pod) addr(six bool) netip.Addr {
	if six {
		return p.Addrs[1]
	}
	return p.Addrs[0]
}
