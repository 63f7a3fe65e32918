// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// Pitfall 12: the datapath reads packets and writes none, SCTP's checksums included.
func TestPacketsAreNotChanged(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	for name, packet := range allowedPackets() {
		for hook, program := range map[hook]*ebpf.Program{fromPod: d.objs.FromPod, toPod: d.objs.ToPod} {
			sent := frame(packet)
			run := ebpf.RunOptions{Data: sent, DataOut: make([]byte, len(sent)+300)}
			if _, err := program.Run(&run); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(run.DataOut, sent) {
				t.Errorf("%s, %s: %x became %x", name, hook, sent, run.DataOut)
			}
		}
	}
}

// Pitfall 12: SCTP is judged by its ports, and its replies are let in, by both families.
func TestSCTP(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	for _, a := range families {
		d.play(t, []step{
			{toPod, ipPacket(a.friend, a.pod, sctp, sctpChunk(7, webPort+1)), drop},
			{toPod, ipPacket(a.friend, a.pod, sctp, sctpChunk(7, webPort)), pass},
			{fromPod, ipPacket(a.pod, a.friend, sctp, sctpChunk(webPort, 7)), pass},
			{fromPod, ipPacket(a.pod, a.friend, sctp, sctpChunk(webPort, 8)), drop},
			{fromPod, ipPacket(a.pod, a.friend, sctp, sctpChunk(7, tlsPort)), drop}, // TCP may, SCTP may not
			{toPod, ipPacket(a.friend, a.pod, sctp, sctpChunk(7, webPort)[:11]), drop},
		})
	}
}
