// SPDX-License-Identifier: Apache-2.0

package reject

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
)

// sockets send packets that are complete from the IP header on. They receive nothing.
type sockets struct {
	frames     int // to a device, past whatever judges what goes out there
	ipv4, ipv6 int // to wherever routes lead, as if from any address
}

func openSockets() (s sockets, err error) {
	s = sockets{-1, -1, -1}
	for _, open := range []struct {
		socket                 *int
		family, kind, protocol int
		what                   string
	}{
		{&s.frames, unix.AF_PACKET, unix.SOCK_RAW, 0, "frames"},
		{&s.ipv4, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW, "IPv4"},
		{&s.ipv6, unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_RAW, "IPv6"},
	} {
		if *open.socket, err = unix.Socket(open.family, open.kind|unix.SOCK_CLOEXEC, open.protocol); err != nil {
			return s, errors.Join(fmt.Errorf("open a raw socket for %s (it takes CAP_NET_RAW): %w", open.what, err), s.close())
		}
	}
	// What goes past the queue goes past the programs that judge there: the answer is from the datapath itself.
	if err := unix.SetsockoptInt(s.frames, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return s, errors.Join(fmt.Errorf("let frames pass the queue: %w", err), s.close())
	}
	return s, nil
}

func (s *sockets) close() error {
	var errs []error
	for _, socket := range []*int{&s.frames, &s.ipv4, &s.ipv6} {
		if *socket >= 0 {
			errs = append(errs, unix.Close(*socket))
		}
		*socket = -1
	}
	return errors.Join(errs...)
}

// sendToPod turns the frame of the denied packet round.
func (s *sockets) sendToPod(d *dataplane.Denial, packet []byte) error {
	ethertype := uint16(unix.ETH_P_IP)
	if packet[0]>>4 == 6 {
		ethertype = unix.ETH_P_IPV6
	}
	frame := append(append([]byte{}, d.Sender[:]...), d.Receiver[:]...)
	frame = append(binary.BigEndian.AppendUint16(frame, ethertype), packet...)
	return unix.Sendto(s.frames, frame, unix.MSG_DONTWAIT, &unix.SockaddrLinklayer{Ifindex: int(d.Ifindex)})
}

func (s *sockets) send(to netip.Addr, packet []byte) error {
	if to.Is4() {
		return unix.Sendto(s.ipv4, packet, unix.MSG_DONTWAIT, &unix.SockaddrInet4{Addr: to.As4()})
	}
	return unix.Sendto(s.ipv6, packet, unix.MSG_DONTWAIT, &unix.SockaddrInet6{Addr: to.As16()})
}
