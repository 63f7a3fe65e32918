// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// An edge at rest is two byte strings. That of the key is ordered as Key.Compare orders keys, so that
// edges of one source lie together. That of the evidence begins with the version of its layout.
const (
	evidenceVersion = 1
	tagPod          = 1
	tagAddress      = 2
)

// AppendKey appends the key at rest. Two keys have the same bytes exactly when they are equal.
func AppendKey(b []byte, k Key) []byte {
	b = appendEnd(appendEnd(b, k.From), k.To)
	b = appendWord(b, string(k.Protocol))
	b = binary.BigEndian.AppendUint16(b, k.Port)
	return appendWord(appendWord(b, string(k.Side)), string(k.Verdict))
}

func appendEnd(b []byte, e Endpoint) []byte {
	tag := byte(tagAddress)
	if e.IsPod() {
		tag = tagPod
	}
	b = appendWord(appendWord(appendWord(append(b, tag), e.Namespace), e.Name), e.Kind)
	b = append(b, byte(e.Addr.BitLen()))
	b = append(b, e.Addr.AsSlice()...)
	return appendWord(b, e.Entity)
}

// appendWord ends a word with two bytes that sort before any continuation of it.
func appendWord(b []byte, word string) []byte {
	if strings.IndexByte(word, 0) < 0 {
		return append(append(b, word...), 0, 1)
	}
	return append(append(b, strings.ReplaceAll(word, "\x00", "\x00\xff")...), 0, 1)
}

// ParseKey reads what AppendKey wrote, and nothing else.
func ParseKey(b []byte) (Key, error) {
	r := reader{rest: b}
	k := Key{From: r.end(), To: r.end(), Protocol: corev1.Protocol(r.word())}
	k.Port = r.uint16()
	k.Side, k.Verdict = flows.Side(r.word()), flows.Verdict(r.word())
	if err := r.done(); err != nil {
		return Key{}, fmt.Errorf("key of an edge: %w", err)
	}
	return k, nil
}

func appendEvidence(b []byte, e *Evidence) []byte {
	b = appendCount(append(b, evidenceVersion), &e.Flows)
	b = appendTime(appendTime(b, e.First), e.Last)
	b = appendDays(b, e.Days)
	for _, set := range []Set{e.Nodes, e.Names} {
		b = append(b, byte(len(set)))
		for _, word := range set {
			b = appendWord(b, word)
		}
	}
	return b
}

// appendCount writes the number of hashes, or that of registers, which is more than any number of hashes. What was told
// without a sketch is in no journal, and not written.
func appendCount(b []byte, c *Count) []byte {
	if c.estimated {
		b = append(b, exact+1)
		for _, rank := range c.ranks() {
			b = append(b, rank)
		}
		return b
	}
	b = append(b, byte(len(c.words)))
	for _, h := range c.words {
		b = binary.BigEndian.AppendUint64(b, h)
	}
	return b
}

func appendTime(b []byte, t time.Time) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

// appendDays leaves out the zero words at the end.
func appendDays(b []byte, d Days) []byte {
	n := len(d.bits)
	for n > 0 && d.bits[n-1] == 0 {
		n--
	}
	b = append(b, byte(n))
	b = binary.BigEndian.AppendUint32(b, uint32(d.newest))
	for _, word := range d.bits[:n] {
		b = binary.BigEndian.AppendUint64(b, word)
	}
	return b
}

func parseEvidence(b []byte) (Evidence, error) {
	r := reader{rest: b}
	if version := r.byte(); version != evidenceVersion && r.err == nil {
		return Evidence{}, fmt.Errorf("evidence of an edge has version %d; this program reads version %d", version, evidenceVersion)
	}
	e := Evidence{Flows: r.count()}
	e.First, e.Last = r.time(), r.time()
	e.Days = r.days()
	e.Nodes, e.Names = r.set(), r.set()
	if e.Last.Before(e.First) {
		r.fail("it ends before it begins")
	}
	if err := r.done(); err != nil {
		return Evidence{}, fmt.Errorf("evidence of an edge: %w", err)
	}
	return e, nil
}

// reader reads from the front of a byte string. After the first error everything is zero.
type reader struct {
	rest []byte
	err  error
}

var errShort = errors.New("it is cut short")

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = errors.New(what)
	}
	r.rest = nil
}

func (r *reader) done() error {
	if len(r.rest) > 0 {
		r.fail(fmt.Sprintf("%d bytes too many", len(r.rest)))
	}
	return r.err
}

// take returns the next n bytes; after an error, n zero bytes.
func (r *reader) take(n int) []byte {
	if r.err == nil && len(r.rest) < n {
		r.err, r.rest = errShort, nil
	}
	if r.err != nil {
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) word() string {
	var word []byte
	for r.err == nil {
		b := r.byte()
		if b != 0 {
			word = append(word, b)
			continue
		}
		switch r.byte() {
		case 1:
			if len(word) > maxWord {
				r.fail("a word is too long")
			}
			return string(word)
		case 0xff:
			word = append(word, 0)
		default:
			r.fail("a word has no end")
		}
	}
	return ""
}

func (r *reader) end() Endpoint {
	tag := r.byte()
	e := Endpoint{Namespace: r.word(), Name: r.word(), Kind: r.word()}
	switch r.byte() {
	case 0:
	case 32:
		e.Addr = netip.AddrFrom4([4]byte(r.take(4)))
	case 128:
		e.Addr = netip.AddrFrom16([16]byte(r.take(16)))
	default:
		r.fail("an address has a length that there is not")
	}
	e.Entity = r.word()
	if r.err == nil && tag != tagPod && tag != tagAddress || e.IsPod() != (tag == tagPod) && r.err == nil {
		r.fail("an end is neither a pod nor an address")
	}
	return e
}

func (r *reader) count() (c Count) {
	n := r.byte()
	if n == exact+1 {
		c.estimate()
		for register, rank := range r.take(registers) {
			if rank > maxRank {
				r.fail("a register is out of range")
			}
			c.raise(uint64(register), rank)
		}
		return c
	}
	if n > exact {
		r.fail("a count is of no known kind")
		return c
	}
	for range n {
		h := r.uint64()
		if len(c.words) > 0 && h <= c.words[len(c.words)-1] {
			r.fail("the hashes are not in order")
		}
		c.words = append(c.words, h)
	}
	return c
}

func (r *reader) time() time.Time {
	seconds, nanos := int64(r.uint64()), r.uint32()
	if nanos >= 1e9 || seconds < -maxSeconds || seconds > maxSeconds {
		r.fail("a time is out of range")
		return time.Time{}
	}
	return time.Unix(seconds, int64(nanos)).UTC()
}

// maxSeconds from 1970 is more than protobuf's and RFC 3339's times can say.
const maxSeconds = 1 << 38

func (r *reader) days() (d Days) {
	n := int(r.byte())
	d.newest = int32(r.uint32())
	if n > len(d.bits) {
		r.fail("there are too many days")
		return Days{}
	}
	for i := range n {
		d.bits[i] = r.uint64()
	}
	if n > 0 && d.bits[n-1] == 0 || d.empty() != (n == 0) || n == 0 && d.newest != 0 {
		r.fail("the days are not as they are written")
	}
	return d
}

func (r *reader) set() (s Set) {
	n := r.byte()
	if n > maxSet {
		r.fail("a set is too large")
	}
	for range n {
		word := r.word()
		if r.err != nil {
			return nil
		}
		if word == "" || len(s) > 0 && word <= s[len(s)-1] {
			r.fail("the words of a set are not in order")
			return nil
		}
		s = append(s, word)
	}
	return s
}
