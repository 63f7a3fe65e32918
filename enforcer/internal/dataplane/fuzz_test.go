// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// FuzzNothingPassesDefaultDeny runs frames against a world that allows nothing. Whatever passes must be what a
// link needs to work at all, or a pod's packet to itself.
func FuzzNothingPassesDefaultDeny(f *testing.F) {
	// Every fuzzing process needs netfilter hooks of its own.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		f.Fatal(err)
	}
	d := newDataplane(f)
	load(f, d, &plan.World{
		Endpoints: map[uint32]plan.Endpoint{0: {Mode: plan.Enforce}, 1: {Mode: plan.Enforce}},
		Sets:      []plan.SetEntry{{Isolated: [2]bool{true, true}}},
	})
	for _, packet := range allowedPackets() {
		f.Add(frame(packet))
	}
	f.Add(ethernet(0x0806, make([]byte, 28)))
	f.Add(frame(edit(ipPacket(v6.pod, v6.friend, icmp6, []byte{135, 0, 0, 0, 0, 0, 0, 0}), 7, 255)))
	f.Add(frame(ipPacket(v4.pod, v4.friend, icmp4, icmpError(3, 4, ipPacket(v4.friend, v4.pod, tcp, tcpSegment(1, 2, ack))))))
	f.Add(frame(ipv4Fragment(ipPacket(v4.pod, v4.friend, udp, make([]byte, 24)), 1, 24, true)))
	f.Add(frame(nested(8)))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, h := range []hook{fromPod, toPod} {
			if passed(t, d, h, data) && !mayAlwaysPass(data) {
				t.Errorf("%s passed %x", h, data)
			}
		}
	})
}

// passed skips what the kernel makes no test run on.
func passed(t *testing.T, d *Dataplane, h hook, data []byte) bool {
	program := d.objs.FromPod
	if h == toPod {
		program = d.objs.ToPod
	}
	ret, err := program.Run(&ebpf.RunOptions{Data: data})
	if errors.Is(err, unix.EINVAL) || len(data) == 0 || len(data) > 3500 {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return int32(ret) == -1
}

func mayAlwaysPass(data []byte) bool {
	ip := data[14:]
	switch binary.BigEndian.Uint16(data[12:]) {
	case 0x0806:
		return true
	case 0x0800:
		return len(ip) >= 20 && bytes.Equal(ip[12:16], ip[16:20])
	case 0x86dd:
		itself := len(ip) >= 40 && bytes.Equal(ip[8:24], ip[24:40])
		return itself || len(ip) > 40 && (ip[7] == 255 || ip[7] == 1)
	}
	return false
}
