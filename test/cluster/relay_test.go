// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestRelay(t *testing.T) {
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	go func() { // answers when the client has said all it has to say
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				all, _ := io.ReadAll(conn)
				_, _ = conn.Write(append([]byte("got "), all...))
				_ = conn.Close()
			}()
		}
	}()
	r, err := newRelay(func() (net.Conn, error) { return net.Dial("tcp4", server.Addr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()

	client := dial(t, r)
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(client); err != nil || string(answer) != "got hello" {
		t.Errorf("through the relay: got %q, %v", answer, err)
	}

	idle := dial(t, r)
	if _, err := idle.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	r.close()
	if err := idle.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := io.ReadAll(idle); errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("a connection outlived its relay")
	}
}

func TestRelayWithoutServerEndsTheConnection(t *testing.T) {
	r, err := newRelay(func() (net.Conn, error) { return nil, errors.New("nobody there") })
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	client := dial(t, r)
	if err := client.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := io.ReadAll(client); errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection goes on without a server")
	}
}

func dial(t *testing.T, r *relay) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp4", r.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}
