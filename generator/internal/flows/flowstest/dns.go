// SPDX-License-Identifier: Apache-2.0

package flowstest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS answers queries for names on loopback, over UDP.
type DNS struct {
	mu     sync.Mutex
	names  map[string][]netip.Addr
	broken bool
	conn   net.PacketConn
}

// NewDNS starts a server that knows no name, until the test ends.
func NewDNS(t *testing.T) *DNS {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	d := &DNS{names: map[string][]netip.Addr{}, conn: conn}
	go d.serve()
	return d
}

// Set gives a name its addresses, instead of those that it had.
func (d *DNS) Set(name string, addrs ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[name] = nil
	for _, a := range addrs {
		d.names[name] = append(d.names[name], netip.MustParseAddr(a))
	}
}

// Break makes the server answer every query with a failure, or no more.
func (d *DNS) Break(broken bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = broken
}

// Resolver asks this server and nobody else.
func (d *DNS) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", d.conn.LocalAddr().String())
	}}
}

func (d *DNS) serve() {
	query := make([]byte, 4096)
	for {
		n, from, err := d.conn.ReadFrom(query)
		if err != nil {
			return // the test has ended
		}
		if reply := d.answer(query[:n]); reply != nil {
			_, _ = d.conn.WriteTo(reply, from) // a resolver that hears nothing asks again
		}
	}
}

func (d *DNS) answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	q := m.Questions[0]
	addrs, known := d.names[strings.TrimSuffix(q.Name.String(), ".")]
	m.Header, m.Additionals = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}, nil
	switch {
	case d.broken:
		m.RCode = dnsmessage.RCodeServerFailure
	case !known:
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range addrs {
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch {
		case d.broken:
		case q.Type == dnsmessage.TypeA && a.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	reply, err := m.Pack()
	if err != nil {
		return nil
	}
	return reply
}
