// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Flow is what happened to the connections of one kind since the drain before: same pod, peer, port,
// direction and judgement.
type Flow struct {
	// Local is the pod's address, Remote the other side's; a Service is translated already.
	Local, Remote netip.Addr
	Ifindex       uint32 // of the pod's device
	// Port is the one connected to, at the destination; 0 for protocols without ports.
	Port     uint16
	Protocol uint8 // IP protocol number
	// Service is what the pod sent to, if that was translated into Remote and Port since; the zero AddrPort if not,
	// for protocols without ports, at the other side of the connection, and where conntrack cannot be read.
	Service netip.AddrPort
	// Direction is in which the connection was opened, from the connection's state: Egress if by the pod.
	Direction netpol.Direction
	Verdict   Verdict
	Reason    Reason
	// Rule is the number of the deciding rule in Set, whether it allows or denies; -1 when none decided.
	// plan.World.Rule of the world that brought the Set names it.
	Rule int
	// Set is the policy set that judged; NoSet when none did, as for an endpoint that the world did not know.
	Set uint32
	// Staged is what the endpoint's staged policies say; nil when it has none, or no policies were asked.
	Staged *StagedJudgement
	// Connections were opened (if Verdict is Denied: packets dropped). 0: open ones were judged again
	// under another generation, and are in use.
	Connections uint64
	// Adopted of the Connections were open before they were first seen.
	Adopted uint64
	// SourcePort is that of the last connection; 0 for protocols without ports.
	SourcePort uint16
	// First and Last are when such a connection was judged, within some milliseconds.
	First, Last time.Time
}

// StagedJudgement is what policies say that are not live, as if they were enforced.
type StagedJudgement struct {
	Verdict Verdict // Allowed or Denied
	Rule    int     // as in Flow
	Set     uint32
}

func stagedJudgement(verdict uint8, rule int16, set uint32) *StagedJudgement {
	if set == NoSet {
		return nil
	}
	return &StagedJudgement{Verdict(verdict), int(rule), set}
}

// NoSet is the Set of a flow that no policy set judged.
const NoSet = ^uint32(0)

const drainBatch = 4096

// prepareFlows fills the slots that earlier runs have not.
func (d *Dataplane) prepareFlows() error {
	for slot := range uint32(2) {
		var id ebpf.MapID
		err := d.objs.Flows.Lookup(slot, &id)
		if err == nil {
			continue
		}
		if !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("look for flow records: %w", err)
		}
		if err := d.createFlows(slot); err != nil {
			return fmt.Errorf("create flow records: %w", err)
		}
	}
	counters, err := d.Counters()
	d.lost = counters.LostFlows
	return err
}

func (d *Dataplane) createFlows(slot uint32) error {
	m, err := ebpf.NewMap(d.spec.Maps[bpf.DatapathMapFlows].InnerMap)
	if err != nil {
		return explain(err)
	}
	defer m.Close()
	return d.objs.Flows.Update(slot, m, ebpf.UpdateAny)
}

// DrainFlows takes the records since the drain before, and how many judgements went unrecorded in that
// time for want of room. Programs write to another map while this one is read, so none is lost in between.
// With an error it returns what was read until then.
func (d *Dataplane) DrainFlows() (flows []Flow, lost uint64, err error) {
	d.draining.Lock()
	defer d.draining.Unlock()
	full, err := d.swapFlows()
	if err != nil {
		return nil, 0, err
	}
	defer full.Close()
	flows, err = drain(full)
	if err != nil {
		return flows, 0, fmt.Errorf("drain flow records: %w", err)
	}
	counters, err := d.Counters()
	if err != nil {
		return flows, 0, err
	}
	lost, d.lost = counters.LostFlows-d.lost, counters.LostFlows
	return flows, lost, nil
}

// swapFlows makes programs write to the other map and returns the one that they wrote to, at rest.
func (d *Dataplane) swapFlows() (*ebpf.Map, error) {
	epoch, err := d.word(epochAt)
	if err != nil {
		return nil, err
	}
	full, err := d.flowsIn(uint32(epoch & 1))
	if err != nil {
		return nil, err
	}
	other, err := d.flowsIn(uint32(epoch+1) & 1)
	if err != nil {
		return nil, errors.Join(err, full.Close())
	}
	defer other.Close()
	if err := d.setWord(epochAt, epoch+1); err != nil {
		return nil, errors.Join(err, full.Close())
	}
	// Putting a map where it already is makes the kernel wait for all running programs.
	if err := d.objs.Flows.Update(uint32(epoch+1)&1, other, ebpf.UpdateAny); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for running programs: %w", err), full.Close())
	}
	return full, nil
}

func (d *Dataplane) flowsIn(slot uint32) (*ebpf.Map, error) {
	var m *ebpf.Map
	if err := d.objs.Flows.Lookup(slot, &m); err != nil {
		return nil, fmt.Errorf("open flow records: %w", err)
	}
	return m, nil
}

func drain(m *ebpf.Map) ([]Flow, error) {
	now, err := newClock()
	if err != nil {
		return nil, err
	}
	var (
		flows  []Flow
		cursor ebpf.MapBatchCursor
		keys   = make([]bpf.DatapathFlowKey, drainBatch)
		values = make([]bpf.DatapathFlow, drainBatch)
	)
	for {
		n, err := m.BatchLookupAndDelete(&cursor, keys, values, nil)
		for i := range n {
			flows = append(flows, now.flow(&keys[i], &values[i]))
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return flows, nil
		}
		if err != nil {
			return flows, err
		}
	}
}

// clock translates the kernel's monotonic time to that of the day.
type clock struct {
	boot time.Time
}

func newClock() (clock, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return clock{}, fmt.Errorf("read the monotonic clock: %w", err)
	}
	return clock{time.Now().Round(0).Add(-time.Duration(ts.Nano()))}, nil
}

func (c clock) at(monotonic uint64) time.Time { return c.boot.Add(time.Duration(monotonic)) }

func (c clock) flow(k *bpf.DatapathFlowKey, v *bpf.DatapathFlow) Flow {
	f := Flow{
		Local: netip.AddrFrom16(k.Local).Unmap(), Remote: netip.AddrFrom16(k.Remote).Unmap(),
		Service: beforeTranslation(k.Service, k.ServicePort),
		Ifindex: k.Ifindex, Port: k.Port, Protocol: k.Protocol, Direction: netpol.Direction(k.Direction),
		Verdict: Verdict(k.Verdict), Reason: Reason(k.Reason), Rule: int(k.Rule), Set: k.Set,
		Staged:      stagedJudgement(k.StagedVerdict, k.StagedRule, k.StagedSet),
		Connections: v.Connections, Adopted: v.Adopted, SourcePort: v.SourcePort,
	}
	// One hook's clock is coarser than the other's.
	f.First, f.Last = c.at(v.FirstSeen), c.at(max(v.FirstSeen, v.LastSeen))
	return f
}
