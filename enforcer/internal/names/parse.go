// SPDX-License-Identifier: Apache-2.0

// Package names keeps what DNS told pods that addresses are called. It reads what comes from the network and trusts
// none of it: a name is a hint for people, and no verdict depends on it.
package names

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Of one message no more is looked at than this. The addresses of a name that has more are learnt in part.
const (
	maxRecords = 64
	maxAliases = 16 // one leading to the next
)

// Answer is what a name was said to lead to.
type Answer struct {
	// Name is the one that was asked for: in lower case, without the final dot, of letters, digits, hyphens and
	// underscores, at most 253 bytes.
	Name string
	// Addrs are its addresses, each once; never empty. IPv4 is not mapped into IPv6.
	Addrs []netip.Addr
	// TTL is the shortest of the records that led to them. It may be 0, and as long as 136 years.
	TTL time.Duration
}

// Errors of Parse; it returns no others.
var (
	ErrMalformed = errors.New("it is no DNS message with an answer")
	ErrName      = errors.New("it is about a name that no host may have")
	ErrNothing   = errors.New("it holds no address of the name that was asked for")
)

// Parse reads the answer to a question for addresses (RFC 1035). Of a message that was cut off it reads the records
// that are complete.
func Parse(message []byte, cut bool) (Answer, error) {
	var p dnsmessage.Parser
	name, err := question(&p, message)
	if err != nil {
		return Answer{}, err
	}
	if !isHostname(name) {
		return Answer{}, ErrName
	}
	all, err := records(&p)
	if err != nil && !cut {
		return Answer{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	addrs, ttl := resolve(name, all)
	if len(addrs) == 0 {
		return Answer{}, ErrNothing
	}
	return Answer{Name: name, Addrs: addrs, TTL: ttl}, nil
}

// question begins to parse and returns the name that was asked for.
func question(p *dnsmessage.Parser, message []byte) (string, error) {
	header, err := p.Start(message)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !header.Response || header.OpCode != 0 || header.RCode != dnsmessage.RCodeSuccess {
		return "", fmt.Errorf("%w: %s", ErrMalformed, header.RCode)
	}
	q, err := p.Question()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return "", fmt.Errorf("%w: several questions", ErrMalformed)
	}
	if q.Class != dnsmessage.ClassINET || q.Type != dnsmessage.TypeA && q.Type != dnsmessage.TypeAAAA {
		return "", ErrNothing
	}
	return plain(q.Name), nil
}

// record is one that says where a name leads: to an address, or else to another name.
type record struct {
	name, alias string
	addr        netip.Addr
	ttl         time.Duration
}

// records reads those of the answer until it ends, or one cannot be read.
func records(p *dnsmessage.Parser) (all []record, err error) {
	for range maxRecords {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		r := record{name: plain(h.Name), ttl: time.Duration(h.TTL) * time.Second}
		if err := r.read(p, h); err != nil {
			return all, err
		}
		if r.alias != "" || r.addr.IsValid() {
			all = append(all, r)
		}
	}
	return all, nil
}

func (r *record) read(p *dnsmessage.Parser, h dnsmessage.ResourceHeader) error {
	if h.Class != dnsmessage.ClassINET {
		return p.SkipAnswer()
	}
	switch h.Type {
	case dnsmessage.TypeA:
		body, err := p.AResource()
		r.addr = netip.AddrFrom4(body.A)
		return err
	case dnsmessage.TypeAAAA:
		body, err := p.AAAAResource()
		r.addr = netip.AddrFrom16(body.AAAA).Unmap()
		return err
	case dnsmessage.TypeCNAME:
		body, err := p.CNAMEResource()
		r.alias = plain(body.CNAME)
		return err
	}
	return p.SkipAnswer()
}

// resolve follows the aliases of a name, in whatever order the records are, to its addresses.
func resolve(name string, all []record) (addrs []netip.Addr, ttl time.Duration) {
	ttl = time.Duration(1<<63 - 1)
	for range maxAliases {
		next := slices.IndexFunc(all, func(r record) bool { return r.name == name && r.alias != "" })
		if next < 0 {
			break
		}
		name, ttl = all[next].alias, min(ttl, all[next].ttl)
	}
	for _, r := range all {
		if r.name == name && r.addr.IsValid() && !r.addr.IsUnspecified() && !slices.Contains(addrs, r.addr) {
			addrs, ttl = append(addrs, r.addr), min(ttl, r.ttl)
		}
	}
	return addrs, ttl
}

// plain is a name as names are compared: without the final dot, and in lower case as far as it is ASCII (RFC 4343).
// There are other letters whose lower case is one of ASCII's.
func plain(n dnsmessage.Name) string {
	lower := []byte(strings.TrimSuffix(n.String(), "."))
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] += 'a' - 'A'
		}
	}
	return string(lower)
}

// isHostname lets through only what can stand in any text: letters, digits, hyphens, and the underscores of some.
func isHostname(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, isOdd) {
			return false
		}
	}
	return true
}

func isOdd(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}
