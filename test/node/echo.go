// SPDX-License-Identifier: Apache-2.0

package node

import (
	"io"
	"net"
)

// EchoStreams sends back what comes over each connection, until the listener is closed.
func EchoStreams(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn) // ends with the connection
		}()
	}
}

// EchoDatagrams sends back each datagram, until the socket is closed.
func EchoDatagrams(conn net.PacketConn) {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		_, _ = conn.WriteTo(buffer[:n], from) // a denied answer fails: what the client sees is what counts
	}
}
