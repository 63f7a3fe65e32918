// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// A pod is this program in a network namespace of its own. It takes requests as JSON lines on
// standard input and answers them, in any order, on standard output.

type request struct {
	ID    int          `json:"id"`
	Serve *serveTarget `json:"serve,omitempty"`
	Dial  *dialTarget  `json:"dial,omitempty"`
}

// serveTarget asks for a server that answers every line with its pod's name, or for DNS.
type serveTarget struct {
	Protocol string            `json:"protocol"` // tcp or udp
	Port     int               `json:"port"`
	Name     string            `json:"name"`           // what it answers
	Zone     map[string]string `json:"zone,omitempty"` // name. → IPv4 address: serve DNS instead
}

// dialTarget asks for one exchange with a server.
type dialTarget struct {
	Protocol string        `json:"protocol"`
	Host     string        `json:"host"` // an address, or a name to look up
	Port     int           `json:"port"`
	DNS      string        `json:"dns,omitempty"` // server for the look-up: address:port
	Timeout  time.Duration `json:"timeout"`
	// Keep names the connection: it stays open after the exchange, and the next exchange of that
	// name goes over it. Empty: closed after the exchange.
	Keep string `json:"keep,omitempty"`
}

type response struct {
	ID     int    `json:"id"`
	Answer string `json:"answer,omitempty"` // what the server said
	Error  string `json:"error,omitempty"`
}

// client is what a pod remembers between requests.
type client struct {
	mu   sync.Mutex
	kept map[string]net.Conn
}

// servePod is the life of a pod: until its standard input ends.
func servePod(ctx context.Context, in io.Reader, out io.Writer) error {
	var mu sync.Mutex
	c := &client{kept: make(map[string]net.Conn)}
	answer := json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var req request
		if err := json.Unmarshal(lines.Bytes(), &req); err != nil {
			return fmt.Errorf("pod: request %q: %w", lines.Text(), err)
		}
		go func() {
			resp := response{ID: req.ID}
			said, err := c.handle(ctx, &req)
			if resp.Answer = said; err != nil {
				resp.Error = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			_ = answer.Encode(resp) // the demo is gone when this fails, and so is the pod
		}()
	}
	return lines.Err()
}

func (c *client) handle(ctx context.Context, r *request) (string, error) {
	switch {
	case r.Serve != nil && r.Serve.Protocol == "udp":
		return "", r.Serve.listenUDP()
	case r.Serve != nil:
		return "", r.Serve.listenTCP()
	case r.Dial != nil:
		return c.exchange(ctx, r.Dial)
	}
	return "", errors.New("empty request")
}

func (s *serveTarget) listenTCP() error {
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", s.Port))
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serveTCP(c)
		}
	}()
	return nil
}

func (s *serveTarget) serveTCP(c net.Conn) {
	defer c.Close()
	if s.Zone != nil {
		serveDNSOverTCP(c, s.Zone)
		return
	}
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		if _, err := fmt.Fprintln(c, s.Name); err != nil {
			return
		}
	}
}

func (s *serveTarget) listenUDP() error {
	c, err := net.ListenPacket("udp", fmt.Sprintf(":%d", s.Port))
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			reply := []byte(s.Name + "\n")
			if s.Zone != nil {
				reply = answerDNS(buf[:n], s.Zone)
			}
			_, _ = c.WriteTo(reply, from) // a lost answer is the client's time-out
		}
	}()
	return nil
}

// exchange says a line to the server and returns the line that it answers. For DNS, the port 53,
// looking the host up is the exchange.
func (c *client) exchange(ctx context.Context, d *dialTarget) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	if d.Port == 53 {
		return d.lookUp(ctx, d.Protocol)
	}
	conn, err := c.connection(ctx, d)
	if err != nil {
		return "", err
	}
	if d.Keep == "" {
		defer conn.Close()
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(conn, "who are you?"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

// connection is the one that was kept under the name, or a new one.
func (c *client) connection(ctx context.Context, d *dialTarget) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kept := c.kept[d.Keep]; kept != nil {
		return kept, nil
	}
	host, err := d.lookUp(ctx, "udp")
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, d.Protocol, net.JoinHostPort(host, fmt.Sprint(d.Port)))
	if err == nil && d.Keep != "" {
		c.kept[d.Keep] = conn
	}
	return conn, err
}

// lookUp resolves the host by the DNS server, over the protocol. An address is its own answer.
func (d *dialTarget) lookUp(ctx context.Context, protocol string) (string, error) {
	if net.ParseIP(d.Host) != nil {
		return d.Host, nil
	}
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, protocol, d.DNS)
	}}
	addrs, err := r.LookupHost(ctx, d.Host)
	if err != nil {
		return "", err
	}
	return addrs[0], nil
}
