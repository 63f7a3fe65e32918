// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Denial is a packet that was dropped by the policies of an endpoint that answers such packets.
type Denial struct {
	// Ifindex is of the endpoint's device.
	Ifindex uint32
	// Direction is Egress if the endpoint sent the packet, whoever opened the connection.
	Direction netpol.Direction
	// Packet begins with the IP header and holds as much as was kept, at most 128 bytes; Length is what the whole
	// packet has.
	Packet []byte
	Length int
	// Service is what the endpoint sent the packet to, if it was translated since; the zero AddrPort if not, or if
	// that is not known any more.
	Service netip.AddrPort
	// Receiver and Sender are the hardware addresses of the frame that the endpoint sent; zero for packets to it,
	// and where they are not known any more.
	Receiver, Sender [6]byte
	// Age is how long ago the packet was dropped, within some milliseconds.
	Age time.Duration
}

// Denials reads them. At most some hundreds a second are told; Counters count the rest.
type Denials struct {
	ring   *ringbuf.Reader
	record ringbuf.Record
}

// Denials begins to read; it must be closed before the Dataplane is. One at a time can be read from.
func (d *Dataplane) Denials() (*Denials, error) {
	ring, err := ringbuf.NewReader(d.objs.Denials)
	if err != nil {
		return nil, fmt.Errorf("read denied packets: %w", err)
	}
	return &Denials{ring: ring}, nil
}

// ErrClosed is what Next returns once the Denials are closed.
var ErrClosed = ringbuf.ErrClosed

// Next waits for the next one.
func (r *Denials) Next() (Denial, error) {
	if err := r.ring.ReadInto(&r.record); err != nil {
		return Denial{}, fmt.Errorf("read denied packets: %w", err)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return Denial{}, fmt.Errorf("read the monotonic clock: %w", err)
	}
	return decodeDenial(r.record.RawSample, uint64(now.Nano()))
}

// Close makes Next return ErrClosed.
func (r *Denials) Close() error { return r.ring.Close() }

// ErrDenial is the error for a record that cannot be read; the next one may be.
var ErrDenial = errors.New("a record of a denied packet is not what this version writes")

// decodeDenial reads a record at a moment of the monotonic clock.
func decodeDenial(raw []byte, now uint64) (Denial, error) {
	var r bpf.DatapathDenial
	if err := decode(raw, &r); err != nil {
		return Denial{}, fmt.Errorf("%w: %w", ErrDenial, err)
	}
	if int(r.Captured) > len(r.Data) || uint32(r.Captured) > r.Length || r.Direction > uint8(netpol.Egress) {
		return Denial{}, fmt.Errorf("%w: %d bytes of a packet of %d, direction %d", ErrDenial, r.Captured, r.Length, r.Direction)
	}
	denial := Denial{
		Ifindex: r.Ifindex, Direction: netpol.Direction(r.Direction), Packet: r.Data[:r.Captured], Length: int(r.Length),
		Service:  beforeTranslation(r.Service, r.ServicePort),
		Receiver: [6]byte(r.Ethernet[:6]), Sender: [6]byte(r.Ethernet[6:]),
	}
	if now > r.Time {
		denial.Age = time.Duration(now - r.Time)
	}
	return denial, nil
}

// decode reads a ring's record, a pointer to which it is given.
func decode(raw []byte, record any) error {
	size := binary.Size(record)
	if len(raw) < size { // the ring's records are multiples of 8 bytes
		return fmt.Errorf("%d bytes of %d", len(raw), size)
	}
	_, err := binary.Decode(raw, binary.NativeEndian, record)
	return err
}

// beforeTranslation is what a packet was sent to; zeros: it was not translated.
func beforeTranslation(service [16]byte, port uint16) netip.AddrPort {
	if service == [16]byte{} {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(service).Unmap(), port)
}
