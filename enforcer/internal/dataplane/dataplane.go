// SPDX-License-Identifier: Apache-2.0

// Package dataplane owns the datapath of one node: its programs, its maps, their pins, and the
// devices that they are attached to. What is enforced lives in the kernel; a Dataplane may come and
// go without a packet being judged by anything but a complete world.
package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"github.com/bulkhead-dev/bulkhead/bpf"
)

// Config says where the datapath lives and how large it may grow.
type Config struct {
	// PinPath is a directory of a BPF file system that belongs to this datapath alone. If no such
	// file system is mounted there, Open mounts one.
	PinPath string
	// Connections is how many connections are remembered; the least recently used make room. 0: 262144.
	Connections uint32
	// Flows is how many kinds of flow are recorded between two drains; the rest is counted as lost.
	// 0: 16384.
	Flows uint32
	// Log receives what was found and replaced; nil discards it.
	Log *slog.Logger
}

// Dataplane is the loaded datapath. Its methods may be called by several goroutines. Those that
// attach work on the network namespace of the calling thread.
type Dataplane struct {
	config Config
	log    *slog.Logger
	pins   pins
	objs   bpf.DatapathObjects
	spec   *ebpf.CollectionSpec
	memory *ebpf.Memory // of the config map
	lock   *os.File

	fence, fenced *ebpf.Map // see settle

	mu      sync.Mutex // serialises Load, Attach and Detach
	bank    *bank      // of the loaded world; nil: none was loaded by this Dataplane
	adopted bool       // links that were found run this Dataplane's programs

	draining sync.Mutex // serialises DrainFlows, for which no change needs to wait
	lost     uint64     // lost flows already reported

	sweeping sync.WaitGroup
	sweepTo  atomic.Uint64 // generation before which endpoints are to be forgotten; 0: nobody is at it
}

// Open loads programs and maps, or finds the pinned maps of an earlier run. It changes nothing about
// what is enforced: devices that are attached keep their programs and world until the first Load.
// A device attached before any world was ever loaded denies everything.
func Open(config Config) (*Dataplane, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if err := ensureBPFFS(config.PinPath); err != nil {
		return nil, err
	}
	lock, err := lockDirectory(config.PinPath)
	if err != nil {
		return nil, err
	}
	d := &Dataplane{config: config, log: config.Log, lock: lock}
	if err := d.open(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Dataplane) open() error {
	var err error
	if d.spec, err = loadSpec(d.config); err != nil {
		return err
	}
	if d.pins, err = newPins(d.config.PinPath, d.spec); err != nil {
		return err
	}
	options := &ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: d.pins.maps}}
	if err := d.spec.LoadAndAssign(&d.objs, options); err != nil {
		return explain(fmt.Errorf("load the datapath: %w", err))
	}
	if d.memory, err = d.objs.Config.Memory(); err != nil {
		return explain(fmt.Errorf("map the datapath's configuration: %w", err))
	}
	if err := d.prepareFence(); err != nil {
		return err
	}
	if err := d.prepareFlows(); err != nil {
		return err
	}
	return d.prepareNetfilter()
}

// prepareFence makes a map that settle puts into another.
func (d *Dataplane) prepareFence() (err error) {
	spec := &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	if d.fenced, err = ebpf.NewMap(spec); err != nil {
		return explain(fmt.Errorf("make a fence: %w", err))
	}
	d.fence, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1, InnerMap: spec})
	if err != nil {
		return explain(fmt.Errorf("make a fence: %w", err))
	}
	return nil
}

// loadSpec reads the embedded object and sizes it.
func loadSpec(config Config) (*ebpf.CollectionSpec, error) {
	spec, err := bpf.LoadDatapath()
	if err != nil {
		return nil, err
	}
	for _, m := range spec.Maps {
		if m.Name[0] != '.' {
			m.Pinning = ebpf.PinByName
		}
	}
	if config.Connections > 0 {
		spec.Maps[bpf.DatapathMapConnections].MaxEntries = config.Connections
	}
	if config.Flows > 0 {
		spec.Maps[bpf.DatapathMapFlows].InnerMap.MaxEntries = config.Flows
	}
	return spec, nil
}

// Close lets go of the datapath; it stays pinned and goes on enforcing the last world. Closing again does
// nothing.
func (d *Dataplane) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draining.Lock()
	defer d.draining.Unlock()
	if d.lock == nil {
		return nil
	}
	d.sweeping.Wait()
	d.bank.close()
	err := errors.Join(d.objs.Close(), d.fence.Close(), d.fenced.Close(), d.lock.Close())
	d.lock = nil
	return err
}

// Remove ends enforcement: it detaches every device, forgets all state and closes d.
func (d *Dataplane) Remove() error {
	return errors.Join(d.Close(), Remove(d.config.PinPath))
}

// The words of the configuration, see struct config in bpf/headers/state.h.
const (
	generationAt = 0
	epochAt      = 8
	setsAt       = 16
)

func (d *Dataplane) word(at int64) (uint64, error) {
	var b [8]byte
	if _, err := d.memory.ReadAt(b[:], at); err != nil {
		return 0, fmt.Errorf("read the datapath's configuration: %w", err)
	}
	return binary.NativeEndian.Uint64(b[:]), nil
}

// setWord is one aligned 8-byte store: a program sees the old word or the new one.
func (d *Dataplane) setWord(at int64, value uint64) error {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], value)
	if _, err := d.memory.WriteAt(b[:], at); err != nil {
		return fmt.Errorf("write the datapath's configuration: %w", err)
	}
	return nil
}
