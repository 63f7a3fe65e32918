// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/test/firstpacket/record"
)

// port is where sinks and senders listen, with UDP and TCP.
const port = 7000

// sinkBuffer is room for a second of datagrams of all senders, so that none is lost for want of a reader.
const sinkBuffer = 64 << 20

// sink counts what arrives at one address.
type sink struct {
	name string
	addr netip.AddrPort
	in   func(func() error) error // runs a function in its network namespace

	datagrams *net.UDPConn
	listener  net.Listener
	openings  *net.IPConn // TCP packets that open a connection

	mu       sync.Mutex
	arrived  map[uint64]*arrivals // by instance
	syns     map[netip.Addr]int   // by source
	lastSeen time.Time
}

// arrivals are of one start of a container.
type arrivals struct {
	numbers     []uint64 // a bitmap
	datagrams   uint64   // different ones
	first       uint64   // number of the first
	firstAt     time.Time
	connections uint64
}

// openSink listens at the address in a network namespace.
func openSink(name string, addr netip.Addr, in func(func() error) error) (*sink, error) {
	s := &sink{
		name: name, addr: netip.AddrPortFrom(addr, port), in: in,
		arrived: map[uint64]*arrivals{}, syns: map[netip.Addr]int{},
	}
	if err := in(s.listen); err != nil {
		return nil, errors.Join(fmt.Errorf("listen at %s (%s): %w", name, addr, err), s.close())
	}
	go s.receive()
	go s.accept()
	go s.watch()
	return s, nil
}

func (s *sink) listen() (err error) {
	if s.datagrams, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(s.addr)); err != nil {
		return err
	}
	if err := enlarge(s.datagrams); err != nil {
		return err
	}
	if s.listener, err = net.Listen("tcp4", s.addr.String()); err != nil {
		return err
	}
	if s.openings, err = net.ListenIP("ip4:tcp", &net.IPAddr{IP: s.addr.Addr().AsSlice()}); err != nil {
		return err
	}
	filter, err := opensConnection()
	if err != nil {
		return err
	}
	return errors.Join(ipv4.NewPacketConn(s.openings).SetBPF(filter), enlarge(s.openings))
}

func enlarge(conn syscall.Conn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, sinkBuffer)
	}), err)
}

// opensConnection accepts IPv4 packets with a TCP SYN without ACK to the port.
func opensConnection() ([]bpf.RawInstruction, error) {
	const syn, ack = 0x02, 0x10
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadMemShift{Off: 0}, // X: length of the IP header
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: port, SkipTrue: 4},
		bpf.LoadIndirect{Off: 13, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: syn | ack},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: syn, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
}

// see counts one more of an instance.
func (s *sink) see(instance uint64, count func(*arrivals)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.arrived[instance]
	if a == nil {
		a = &arrivals{}
		s.arrived[instance] = a
	}
	count(a)
	s.lastSeen = time.Now()
}

func (a *arrivals) datagram(number uint64) {
	for uint64(len(a.numbers)) <= number/64 {
		a.numbers = append(a.numbers, 0)
	}
	if a.numbers[number/64]&(1<<(number%64)) != 0 {
		return
	}
	a.numbers[number/64] |= 1 << (number % 64)
	if a.datagrams == 0 {
		a.first, a.firstAt = number, time.Now()
	}
	a.datagrams++
}

func (s *sink) receive() {
	buffer := make([]byte, record.DatagramSize)
	for {
		n, _, err := s.datagrams.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if n == record.DatagramSize {
			number := binary.BigEndian.Uint64(buffer[8:])
			s.see(binary.BigEndian.Uint64(buffer), func(a *arrivals) { a.datagram(number) })
		}
	}
}

func (s *sink) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go s.read(conn)
		}
	}
}

// read counts the connection under the instance that it names; 0: it named none.
func (s *sink) read(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var message [record.DatagramSize]byte
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.ReadFull(conn, message[:])
	s.see(binary.BigEndian.Uint64(message[:]), func(a *arrivals) { a.connections++ })
}

func (s *sink) watch() {
	buffer := make([]byte, 256)
	for {
		_, from, err := s.openings.ReadFromIP(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			source, _ := netip.AddrFromSlice(from.IP)
			s.mu.Lock()
			s.syns[source.Unmap()]++
			s.mu.Unlock()
		}
	}
}

// reset forgets what arrived.
func (s *sink) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.arrived)
	clear(s.syns)
}

// of is what arrived of an instance.
func (s *sink) of(instance uint64) arrivals {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.arrived[instance]; a != nil {
		return *a
	}
	return arrivals{}
}

// missing lists the numbers up to last that did not arrive, as ranges, at most ten.
func (a arrivals) missing(last uint64) string {
	var ranges []string
	for n := uint64(1); n <= last && len(ranges) < 10; n++ {
		first := n
		for n <= last && (n/64 >= uint64(len(a.numbers)) || a.numbers[n/64]&(1<<(n%64)) == 0) {
			n++
		}
		if n > first {
			ranges = append(ranges, fmt.Sprintf("%d-%d", first, n-1))
		}
	}
	return strings.Join(ranges, " ")
}

// openingsFrom counts what opens a TCP connection from the addresses.
func (s *sink) openingsFrom(addrs map[netip.Addr]bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for from, count := range s.syns {
		if addrs[from] {
			n += count
		}
	}
	return n
}

// quiet reports whether nothing has arrived for a while, so that all that was under way is counted.
func (s *sink) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.lastSeen) > 500*time.Millisecond
}

// lost is how many datagrams the kernel had no room for.
func (s *sink) lost() (lost int, err error) {
	err = s.in(func() error {
		table, err := os.ReadFile("/proc/thread-self/net/udp")
		for line := range strings.Lines(string(table)) {
			fields := strings.Fields(line)
			if len(fields) > 12 && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				n, numberErr := strconv.Atoi(fields[len(fields)-1])
				lost, err = lost+n, errors.Join(err, numberErr)
			}
		}
		return err
	})
	return lost, err
}

func (s *sink) close() error {
	var errs []error
	if s.datagrams != nil {
		errs = append(errs, s.datagrams.Close())
	}
	if s.listener != nil {
		errs = append(errs, s.listener.Close())
	}
	if s.openings != nil {
		errs = append(errs, s.openings.Close())
	}
	return errors.Join(errs...)
}
