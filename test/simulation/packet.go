// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	corev1 "k8s.io/api/core/v1"
)

// packet is one packet of a connection, of those that an observer with aggregation reports: the first of each
// direction, and those with other flags than the one before.
type packet struct {
	*connection
	at      time.Time
	reply   bool
	opening bool           // the connection is made by it
	first   bool           // of all
	flags   *flow.TCPFlags // nil unless TCP
	chunk   flow.SCTPChunkType
}

// step is a packet without its connection.
type step struct {
	reply, opening bool
	flags          *flow.TCPFlags
	chunk          flow.SCTPChunkType
}

// The packets of each kind of connection, in order.
var (
	tcpSteps = []step{
		{opening: true, flags: &flow.TCPFlags{SYN: true}},
		{opening: true, reply: true, flags: &flow.TCPFlags{SYN: true, ACK: true}},
		{flags: &flow.TCPFlags{ACK: true, PSH: true}},
		{reply: true, flags: &flow.TCPFlags{ACK: true, PSH: true}},
		{flags: &flow.TCPFlags{ACK: true, FIN: true}},
		{reply: true, flags: &flow.TCPFlags{ACK: true, FIN: true}},
	}
	refusedSteps = []step{
		{opening: true, flags: &flow.TCPFlags{SYN: true}},
		{opening: true, reply: true, flags: &flow.TCPFlags{RST: true, ACK: true}},
	}
	sctpSteps = []step{
		{opening: true, chunk: flow.SCTPChunkType_INIT},
		{opening: true, reply: true, chunk: flow.SCTPChunkType_INIT_ACK},
		{},
		{reply: true}, // data, which has no word of its own
		{chunk: flow.SCTPChunkType_SHUTDOWN},
		{reply: true, chunk: flow.SCTPChunkType_SHUTDOWN_ACK},
	}
	// An answer that comes after connection tracking forgot the connection.
	lateSteps     = []step{{flags: &flow.TCPFlags{ACK: true, RST: true}}}
	datagramSteps = []step{{}, {reply: true}} // UDP, and an ICMP echo
)

func (c *connection) steps() []step {
	steps := datagramSteps
	switch {
	case c.outcome == late:
		steps = lateSteps
	case c.protocol == corev1.ProtocolTCP && c.outcome == refused:
		steps = refusedSteps
	case c.protocol == corev1.ProtocolTCP:
		steps = tcpSteps
	case c.protocol == corev1.ProtocolSCTP:
		steps = sctpSteps
	}
	if c.outcome == unanswered || c.outcome == denied {
		return steps[:1]
	}
	return steps
}

// between is the time from one packet to the next.
const between = 700 * time.Microsecond

func (c *connection) packets() (all []packet) {
	for i, s := range c.steps() {
		all = append(all, packet{
			connection: c, at: c.at.Add(time.Duration(i) * between),
			reply: s.reply, opening: s.opening, first: i == 0, flags: s.flags, chunk: s.chunk,
		})
	}
	return all
}
