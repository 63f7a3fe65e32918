// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// lab is a datapath with devices for crafted packets, in a network namespace of its own. It belongs to the
// goroutine that made it.
type lab struct {
	*Dataplane
	devices []uint32 // by interface index
	planner *plan.Planner
	added   int    // worlds that were added to the one before, since forget
	context []byte // struct __sk_buff, up to ifindex
}

// In struct __sk_buff: the kernel lets a test run choose the device.
const (
	ifindexAt   = 40
	contextSize = 44
)

// newLab stays on the goroutine's thread, which ends with it.
func newLab(config Config, devices int) (*lab, error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	l := &lab{context: make([]byte, contextSize)}
	for i := range devices {
		link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("pod%d", i)}} // of all Ethernet devices the cheapest
		if err := netlink.LinkAdd(link); err != nil {
			return nil, fmt.Errorf("add a device: %w", err)
		}
		added, err := netlink.LinkByName(link.Name)
		if err != nil {
			return nil, err
		}
		l.devices = append(l.devices, uint32(added.Attrs().Index))
	}
	var err error
	l.Dataplane, err = Open(config)
	return l, err
}

// send reports whether a frame passes.
func (l *lab) send(at place, frame []byte) (bool, error) {
	program, options, pass := l.objs.FromPod, ebpf.RunOptions{Data: frame, Context: l.context}, int32(-1)
	binary.NativeEndian.PutUint32(l.context[ifindexAt:], at.device)
	switch at.hook {
	case toPod:
		program = l.objs.ToPod
	case forwarded:
		state := hookState{Hook: nfForward, Family: nfIPv4}
		if frame[14]>>4 == 6 {
			state.Family = nfIPv6
		}
		program, options.Context, pass = l.objs.Forwarded, &state, 1
	}
	ret, err := program.Run(&options)
	return int32(ret) == pass, err
}

// loadNext loads the next world of a cluster as the enforcer does: what is new of it, if that is possible.
func (l *lab) loadNext(snapshot *netpol.Snapshot, in plan.Input) error {
	load := func() error {
		world, err := l.planner.Next(snapshot, in)
		if err == nil {
			_, err = l.Load(world)
		}
		if err != nil {
			l.planner.Forget()
		} else if world.Partial {
			l.added++
		}
		return err
	}
	err := load()
	if errors.Is(err, ErrIncomplete) {
		err = load()
	}
	return err
}

// forget makes the datapath as if it had seen no packet and no world.
func (l *lab) forget() error {
	first, err := l.NextSet()
	if err != nil {
		return err
	}
	l.planner, l.added = plan.NewPlanner(first), 0
	keys, values := make([]bpf.DatapathConnectionKey, 4096), make([]bpf.DatapathConnection, 4096)
	return errors.Join(empty(l.objs.Connections, keys, values),
		empty(l.objs.Fragments, make([]bpf.DatapathFragmentKey, 4096), make([]bpf.DatapathFragment, 4096)))
}

func empty[K, V any](m *ebpf.Map, keys []K, values []V) error {
	for cursor := (ebpf.MapBatchCursor{}); ; {
		if _, err := m.BatchLookupAndDelete(&cursor, keys, values, nil); errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		} else if err != nil {
			return fmt.Errorf("empty %s: %w", m, err)
		}
	}
}
