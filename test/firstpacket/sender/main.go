// SPDX-License-Identifier: Apache-2.0

// Command sender sends from its first instruction to each address that it is given: a numbered datagram a millisecond for
// the first second, and one TCP connection after the other. It counts what comes in at its own port.
package main

import (
	"crypto/rand"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/test/firstpacket/record"
)

const (
	// After the first datagrams there are fewer, so that the node has room for other pods.
	betweenFirst = time.Millisecond
	betweenLater = 20 * time.Millisecond
	firstOnes    = 1000
	// slowdown is how much less often there is a connection than a datagram.
	slowdown = 20
	// dialWithin is time for the kernel to send a SYN three times.
	dialWithin = 3500 * time.Millisecond
)

// between is the time to wait after a datagram with the number.
func between(number uint64) time.Duration {
	if number < firstOnes {
		return betweenFirst
	}
	return betweenLater
}

func main() {
	prefix := flag.String("record", "", "prefix of the name of the file of counters")
	limit := flag.Uint64("datagrams", 0, "how many to send to each address; 0: until it is asked to end")
	code := flag.Int("exit", 0, "exit status after that")
	port := flag.Int("port", 0, "where to listen, with UDP and TCP")
	flag.Parse()
	if err := run(*prefix, *limit, *port, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "sender:", err)
		os.Exit(3)
	}
	os.Exit(*code)
}

func run(prefix string, limit uint64, port int, targets []string) error {
	if len(targets) > record.MaxTargets {
		return fmt.Errorf("%d addresses; at most %d can be counted", len(targets), record.MaxTargets)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	var seed [8]byte
	rand.Read(seed[:])
	s := &sender{instance: binary.BigEndian.Uint64(seed[:])}
	var err error
	if s.counts, err = record.Create(prefix, s.instance); err != nil {
		return err
	}
	for _, target := range targets {
		addr, err := netip.ParseAddrPort(target)
		if err != nil {
			return err
		}
		s.targets = append(s.targets, addr)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
	if err != nil {
		return err
	}
	for i := range s.targets {
		go s.dial(i)
	}
	go s.receive(conn)
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	go s.accept(listener)
	go s.tellAddress()
	s.send(conn, end, limit)
	return nil
}

type sender struct {
	instance uint64
	counts   *record.Counts
	targets  []netip.AddrPort
}

// send returns after the limit, or when it is asked to end.
func (s *sender) send(conn *net.UDPConn, end <-chan os.Signal, limit uint64) {
	for round := uint64(0); limit == 0 || round < limit; round++ {
		for i, target := range s.targets {
			counter := &s.counts.Targets[i].Datagrams
			if _, err := conn.WriteToUDPAddrPort(s.message(*counter+1), target); err == nil {
				record.Add(counter)
			}
		}
		select {
		case <-time.After(between(round)):
		case <-end:
			return
		}
	}
}

func (s *sender) message(number uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.instance), number)
}

func (s *sender) dial(i int) {
	counts := &s.counts.Targets[i]
	for {
		record.Add(&counts.Dials)
		conn, err := net.DialTimeout("tcp", s.targets[i].String(), dialWithin)
		if err == nil {
			record.Add(&counts.Connections)
			if wasRepeated(conn) {
				record.Add(&counts.Repeated)
			}
			_, _ = conn.Write(s.message(counts.Connections)) // whether it arrives is what the other end says
			_ = conn.Close()
		} else {
			record.Add(&counts.Failed)
		}
		time.Sleep(slowdown * between(atomic.LoadUint64(&counts.Datagrams)))
	}
}

// wasRepeated says whether the kernel had to repeat the packet that opens the connection.
func wasRepeated(conn net.Conn) bool {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	repeated := true
	err = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			repeated = info.Total_retrans > 0
		}
	})
	return repeated || err != nil
}

func (s *sender) receive(conn *net.UDPConn) {
	buffer := make([]byte, record.DatagramSize)
	for {
		if _, _, err := conn.ReadFromUDPAddrPort(buffer); err == nil {
			record.Add(&s.counts.Datagrams)
		}
	}
}

func (s *sender) accept(listener net.Listener) {
	for {
		if conn, err := listener.Accept(); err == nil {
			record.Add(&s.counts.Connections)
			_ = conn.Close()
		}
	}
}

// tellAddress is for those who see packets without a payload.
func (s *sender) tellAddress() {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
			s.counts.Address = prefix.Addr().As4()
		}
	}
}
