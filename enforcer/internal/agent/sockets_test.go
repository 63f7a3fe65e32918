// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/test/node"
)

// silence is how long a packet that was dropped is waited for.
const silence = 400 * time.Millisecond

// echo serves TCP on a port of all addresses of a pod, until the test ends.
func echo(t *testing.T, p *node.Pod, port uint16) {
	t.Helper()
	var l net.Listener
	err := p.Do(func() (err error) {
		l, err = net.Listen("tcp", ":"+strconv.Itoa(int(port)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go node.EchoStreams(l)
}

// dial opens a TCP connection from a pod. The error is a time-out if packets are dropped.
func dial(from *node.Pod, to netip.Addr, port uint16) (c net.Conn, err error) {
	err = from.Do(func() error {
		c, err = net.DialTimeout("tcp", netip.AddrPortFrom(to, port).String(), silence)
		return err
	})
	return c, err
}

// talk sends a line and expects it back.
func talk(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if string(answer) != "ping" {
		return fmt.Errorf("got %q back", answer)
	}
	return nil
}

// reach opens a connection, talks and closes it.
func reach(from *node.Pod, to netip.Addr, port uint16) error {
	c, err := dial(from, to, port)
	if err != nil {
		return err
	}
	defer c.Close()
	return talk(c)
}

func isDropped(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) || os.IsTimeout(err) }
