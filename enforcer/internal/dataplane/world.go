// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"math"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// slotted is one kind of a world's contents: the array of maps it lives in, and its fresh inner map.
type slotted struct {
	name  string
	outer *ebpf.Map
	fresh *ebpf.Map
}

// Load makes w what is enforced, on new and on open connections, and returns its generation (from 1, one
// more each time). The switch is one write: every packet is judged by the old world or by w. If w does not
// fit or anything fails before the switch, the old world stays; the error says why. After Load returns,
// no packet is judged by the old world any more. With a generation and an error, w is loaded but some
// devices still run what an earlier run left there; the next Load tries again.
func (d *Dataplane) Load(w *plan.World) (uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	generation, err := d.word(generationAt)
	if err != nil {
		return 0, err
	}
	next := generation + 1
	if next > math.MaxUint32 {
		return 0, errors.New("generations are used up: remove the datapath and start it again")
	}
	if err := d.replaceWorld(w, next); err != nil {
		return 0, fmt.Errorf("load world %d (world %d stays): %w", next, generation, err)
	}
	return uint32(next), d.finishAdoption()
}

func (d *Dataplane) replaceWorld(w *plan.World, generation uint64) error {
	contents, err := lower(w)
	if err != nil {
		return err
	}
	kinds, err := d.build(contents)
	defer closeFresh(kinds)
	if err != nil {
		return err
	}
	slot := uint32(generation & 1)
	if err := install(kinds, slot); err != nil {
		return err
	}
	if err := d.setWord(generationAt, generation); err != nil {
		return err
	}
	d.retire(kinds, slot)
	return nil
}

// build fills one fresh map a kind, made to measure.
func (d *Dataplane) build(c *contents) ([]slotted, error) {
	var kinds []slotted
	for _, k := range []struct {
		name  string
		outer *ebpf.Map
		fill  func(*ebpf.MapSpec) (*ebpf.Map, error)
	}{
		{bpf.DatapathMapEndpoints, d.objs.Endpoints, c.endpoints.create},
		{bpf.DatapathMapIdentities, d.objs.Identities, c.identities.create},
		{bpf.DatapathMapCidrs, d.objs.Cidrs, c.cidrs.create},
		{bpf.DatapathMapPortClasses, d.objs.PortClasses, c.portClasses.create},
		{bpf.DatapathMapActions, d.objs.Actions, c.actions.create},
		{bpf.DatapathMapPeers, d.objs.Peers, c.peers.create},
		{bpf.DatapathMapPorts, d.objs.Ports, c.ports.create},
	} {
		fresh, err := k.fill(d.spec.Maps[k.name].InnerMap)
		if err != nil {
			return kinds, fmt.Errorf("build map %s: %w", k.name, err)
		}
		kinds = append(kinds, slotted{k.name, k.outer, fresh})
	}
	return kinds, nil
}

// install puts the fresh maps into the slot that no packet reads. The kernel waits for running programs
// at each of these updates; together they wait once.
func install(kinds []slotted, slot uint32) error {
	var group errgroup.Group
	for _, k := range kinds {
		group.Go(func() error {
			if err := k.outer.Update(slot, k.fresh, ebpf.UpdateAny); err != nil {
				return fmt.Errorf("install map %s: %w", k.name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// retire empties the other slot once no program can be reading it. It cannot fail the switch that was
// made: what is not freed now is replaced by the next world.
func (d *Dataplane) retire(kinds []slotted, current uint32) {
	// Putting a map where it already is makes the kernel wait for all running programs.
	if err := install(kinds[:1], current); err != nil {
		d.log.Warn("the world before is kept until the next one", "error", err)
		return
	}
	var group errgroup.Group
	for _, k := range kinds {
		group.Go(func() error {
			err := k.outer.Delete(1 - current)
			if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				d.log.Warn("memory of the world before is not freed", "map", k.name, "error", err)
			}
			return nil
		})
	}
	_ = group.Wait() // its functions return nil
}

// closeFresh lets go of inner maps; those installed live on in their slot.
func closeFresh(kinds []slotted) {
	for _, k := range kinds {
		k.fresh.Close()
	}
}

// finishAdoption moves links left by an earlier run to this run's programs and maps, now that there is
// a world for them.
func (d *Dataplane) finishAdoption() error {
	if d.adopted {
		return nil
	}
	if err := errors.Join(d.adopt(), d.replaceNetfilter()); err != nil {
		return fmt.Errorf("take over the running datapath: %w", err)
	}
	d.adopted = true
	if err := d.pins.removeOtherMaps(); err != nil {
		d.log.Warn("state of another version is left behind", "error", err)
	}
	return nil
}
