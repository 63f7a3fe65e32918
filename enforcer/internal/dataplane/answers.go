// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/bulkhead-dev/bulkhead/bpf"
)

// Answer is what a pod was answered by one of the Resolvers over UDP, without an error and with at least one record.
// The message comes from the network: it may say anything.
type Answer struct {
	// Ifindex is of the pod's device.
	Ifindex uint32
	// Message is the DNS message, or its first 512 bytes; Cut says that there was more.
	Message []byte
	Cut     bool
}

// Answers reads them. At most some hundreds a second and CPU are told; Counters count the rest.
type Answers struct {
	ring   *ringbuf.Reader
	record ringbuf.Record
}

// Answers begins to read; it must be closed before the Dataplane is. One at a time can be read from.
func (d *Dataplane) Answers() (*Answers, error) {
	ring, err := ringbuf.NewReader(d.objs.Answers)
	if err != nil {
		return nil, fmt.Errorf("read answers of DNS: %w", err)
	}
	return &Answers{ring: ring}, nil
}

// Next waits for the next one. After Close it returns ErrClosed, and ErrAnswer for one that cannot be read; the next
// one may be.
func (r *Answers) Next() (Answer, error) {
	if err := r.ring.ReadInto(&r.record); err != nil {
		return Answer{}, fmt.Errorf("read answers of DNS: %w", err)
	}
	return decodeAnswer(r.record.RawSample)
}

// Close makes Next return ErrClosed.
func (r *Answers) Close() error { return r.ring.Close() }

// ErrAnswer is the error for a record that is not what this version writes.
var ErrAnswer = errors.New("a record of an answer of DNS is not what this version writes")

func decodeAnswer(raw []byte) (Answer, error) {
	var r bpf.DatapathDnsAnswer
	if err := decode(raw, &r); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if int(r.Captured) > len(r.Data) || r.Captured > r.Length {
		return Answer{}, fmt.Errorf("%w: %d bytes of a message of %d", ErrAnswer, r.Captured, r.Length)
	}
	return Answer{Ifindex: r.Ifindex, Message: r.Data[:r.Captured], Cut: r.Captured < r.Length}, nil
}

// SetResolvers says at which addresses the cluster's DNS answers, as pods see them: only what comes from there is told
// of as Answers. None: nothing is. They stay for those who open the datapath later.
func (d *Dataplane) SetResolvers(addrs []netip.Addr) error {
	wanted := make(map[[16]byte]bool, len(addrs))
	for _, addr := range addrs {
		wanted[addr.As16()] = true
	}
	if limit := int(d.objs.Resolvers.MaxEntries()); len(wanted) > limit {
		return fmt.Errorf("%d addresses of DNS servers do not fit, at most %d do", len(wanted), limit)
	}
	var known [16]byte
	var yes uint8
	present := map[[16]byte]bool{}
	for entries := d.objs.Resolvers.Iterate(); entries.Next(&known, &yes); {
		present[known] = true
	}
	var errs []error
	for addr := range present {
		if !wanted[addr] {
			errs = append(errs, d.objs.Resolvers.Delete(addr))
		}
	}
	for addr := range wanted {
		errs = append(errs, d.objs.Resolvers.Update(addr, uint8(1), ebpf.UpdateAny))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("set the addresses of DNS servers: %w", err)
	}
	return nil
}
