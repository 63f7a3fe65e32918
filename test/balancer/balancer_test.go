// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// pod says its name on every connection, and repeats each line.
func pod(t *testing.T, name string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				fmt.Fprintln(connection, name)
				for lines := bufio.NewScanner(connection); lines.Scan(); {
					fmt.Fprintln(connection, lines.Text())
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// dial returns the name of the pod that answers, empty: none.
func dial(t *testing.T, b *Balancer) (name string, connection net.Conn) {
	t.Helper()
	connection, err := net.Dial("tcp", b.Addr())
	if err != nil {
		return "", nil // reset at once
	}
	t.Cleanup(func() { _ = connection.Close() })
	_, _ = fmt.Fscanln(connection, &name)
	return name, connection
}

func until(t *testing.T, b *Balancer, replica int, routed bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); b.Routed(replica) != routed; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("replica %d is routed: %t, want %t", replica, !routed, routed)
		}
	}
}

func TestReplicasComeAndGo(t *testing.T) {
	var ready atomic.Bool
	probed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer probed.Close()
	b, err := Start(Config{
		Replicas: []Replica{{Address: pod(t, "a")}, {Address: pod(t, "b"), Ready: probed.URL}},
		Probe:    time.Millisecond, Delay: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	until(t, b, 0, true)
	for range 4 {
		if name, _ := dial(t, b); name != "a" {
			t.Fatalf("connected to %q, want a: b is not ready", name)
		}
	}
	ready.Store(true)
	until(t, b, 1, true)
	one, connection := dial(t, b)
	other, _ := dial(t, b)
	if one == other || one == "" || other == "" {
		t.Errorf("two connections went to %q and %q, want both pods", one, other)
	}
	b.Leave(0)
	b.Leave(1)
	until(t, b, 0, false)
	until(t, b, 1, false)
	if name, _ := dial(t, b); name != "" {
		t.Errorf("connected to %q, want nobody", name)
	}
	var echo string
	fmt.Fprintln(connection, "still")
	if _, err := fmt.Fscanln(connection, &echo); err != nil || echo != "still" {
		t.Errorf("a connection did not outlive its endpoint: %q, %v", echo, err)
	}
	b.Join(1)
	until(t, b, 1, true)
}
