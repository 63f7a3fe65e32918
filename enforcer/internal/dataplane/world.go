// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"math"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// ErrIncomplete is the error for a partial world that cannot be added to the one that is loaded: load a complete
// one.
var ErrIncomplete = errors.New("a complete world is needed")

// bank holds the tables of the loaded world. A complete world comes with a bank of its own; partial ones add to it.
type bank struct {
	slot  uint32
	maps  []bankMap                       // by kind, see kinds
	tiers map[uint32][2]bpf.DatapathTiers // by policy set
}

// bankMap is one map of a bank.
type bankMap struct {
	*ebpf.Map
	used int // entries, at most
}

func (b *bank) close() {
	if b == nil {
		return
	}
	for _, m := range b.maps {
		m.Close()
	}
}

// Load makes w what is enforced, on new and on open connections, and returns its generation, which grows. The
// switch is one write: every packet is judged by the old world or by w. If w does not fit or anything fails before
// the switch, the old policies stay; the error says why. Of a partial world, the addresses may by then be known as
// what they are in w.
//
// With a generation and an error, w is loaded but some devices still run what an earlier run left there; the next
// Load tries again.
func (d *Dataplane) Load(w *plan.World) (uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	generation, err := d.word(generationAt)
	if err != nil {
		return 0, err
	}
	// The lowest bit is the slot, which a partial world keeps.
	next := generation + 1
	if w.Partial {
		next++
	}
	if next > math.MaxUint32 {
		return 0, errors.New("generations are used up: remove the datapath and start it again")
	}
	if w.Partial {
		err = d.extendWorld(w, next)
	} else {
		err = d.replaceWorld(w, next)
	}
	if err != nil {
		return 0, fmt.Errorf("load world %d (world %d stays): %w", next, generation, err)
	}
	return uint32(next), d.finishAdoption()
}

// NextSet is the number from which policy sets must be numbered: records may still name those before.
func (d *Dataplane) NextSet() (uint32, error) {
	n, err := d.word(setsAt)
	return uint32(n), err
}

// extendWorld adds to the tables that are in use. Before the switch nothing that an endpoint is judged by changes
// its meaning, so the order is: rows of what nothing refers to yet, then what refers to them, then endpoints.
func (d *Dataplane) extendWorld(w *plan.World, generation uint64) error {
	b := d.bank
	if b == nil {
		return fmt.Errorf("%w: none was loaded before", ErrIncomplete)
	}
	c, err := lower(w, b.tiers)
	if err != nil {
		return err
	}
	entries := c.kinds()
	for i, e := range entries {
		if m := b.maps[i]; e.total(m.used) > int(m.MaxEntries()) {
			return fmt.Errorf("%w: map %s has no room for %d more entries", ErrIncomplete, kinds[i].name, e.len())
		}
	}
	for i, e := range entries {
		m := &b.maps[i]
		if err := e.write(m.Map); err != nil {
			return fmt.Errorf("add to map %s: %w", kinds[i].name, err)
		}
		m.used = e.total(m.used)
	}
	if err := c.forget(b.maps[identitiesKind].Map); err != nil {
		return err
	}
	if err := d.switchTo(c, w, generation); err != nil {
		return err
	}
	b.tiers = c.tiers
	d.sweep(generation)
	return nil
}

// replaceWorld builds a bank and puts it into the slot that no packet reads.
func (d *Dataplane) replaceWorld(w *plan.World, generation uint64) error {
	c, err := lower(w, nil)
	if err != nil {
		return err
	}
	if d.bank == nil { // an earlier run may have been interrupted before its switch
		if err := d.dropEndpoints(func(of uint64) bool { return of >= generation }); err != nil {
			return err
		}
	}
	fresh, err := d.build(c, uint32(generation&1))
	if err == nil {
		err = d.install(fresh)
	}
	if err == nil {
		err = d.switchTo(c, w, generation)
	}
	if err != nil {
		fresh.close()
		return err
	}
	d.bank.close()
	d.bank = fresh
	d.retire(1-fresh.slot, generation)
	return nil
}

// switchTo puts the endpoints under the generation, and the generation in force.
func (d *Dataplane) switchTo(c *contents, w *plan.World, generation uint64) error {
	if err := d.addEndpoints(c, generation); err != nil {
		return errors.Join(err, d.dropEndpoints(func(of uint64) bool { return of == generation }))
	}
	if err := d.setWord(setsAt, uint64(w.FirstSet)+uint64(len(w.Sets))); err != nil {
		return err
	}
	return d.setWord(generationAt, generation)
}

// build fills one fresh map a kind, with room to grow.
func (d *Dataplane) build(c *contents, slot uint32) (*bank, error) {
	b := &bank{slot: slot, tiers: c.tiers}
	for i, e := range c.kinds() {
		spec := d.spec.Maps[kinds[i].name].InnerMap.Copy()
		spec.MaxEntries = room(i, e.total(0))
		m, err := ebpf.NewMap(spec)
		if err != nil {
			return b, fmt.Errorf("build map %s: %w", kinds[i].name, explain(err))
		}
		b.maps = append(b.maps, bankMap{m, e.total(0)})
		if err := e.write(m); err != nil {
			return b, fmt.Errorf("build map %s: %w", kinds[i].name, err)
		}
	}
	return b, nil
}

// install puts the bank's maps into its slot. The kernel waits for running programs at each of these updates;
// together they wait once.
func (d *Dataplane) install(b *bank) error {
	var group errgroup.Group
	for i, m := range b.maps {
		group.Go(func() error {
			if err := kinds[i].outer(d).Update(b.slot, m.Map, ebpf.UpdateAny); err != nil {
				return fmt.Errorf("install map %s: %w", kinds[i].name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// retire empties the other slot, and forgets the endpoints of other generations, once no program can be reading
// them. It cannot fail the switch that was made: what is not freed now is replaced by the next complete world.
func (d *Dataplane) retire(slot uint32, current uint64) {
	if err := d.settle(); err != nil {
		d.log.Warn("the world before is kept until the next complete one", "error", err)
		return
	}
	var group errgroup.Group
	for i := range kinds {
		group.Go(func() error {
			err := kinds[i].outer(d).Delete(slot)
			if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				d.log.Warn("memory of the world before is not freed", "map", kinds[i].name, "error", err)
			}
			return nil
		})
	}
	_ = group.Wait() // its functions return nil
	if err := d.dropEndpoints(func(of uint64) bool { return of != current }); err != nil {
		d.log.Warn("endpoints of the world before are not forgotten", "error", err)
	}
}

// sweep forgets the endpoints of generations before the current one, once no program can be reading them. It does
// so in the background: the next change need not wait for it.
func (d *Dataplane) sweep(current uint64) {
	if d.sweepTo.Swap(current) != 0 {
		return // somebody is at it, and will see the new one
	}
	d.sweeping.Go(func() {
		for {
			to := d.sweepTo.Load()
			err := d.settle()
			if err == nil {
				err = d.dropEndpoints(func(of uint64) bool { return of < to })
			}
			if err != nil {
				d.log.Warn("endpoints of worlds before are not forgotten", "error", err)
			}
			if d.sweepTo.CompareAndSwap(to, 0) {
				return
			}
		}
	})
}

// addEndpoints writes them under a generation that is not in force.
func (d *Dataplane) addEndpoints(c *contents, generation uint64) error {
	for _, keys := range [][]bpf.DatapathEndpointKey{c.devices.keys, c.endpoints.keys} {
		for i := range keys {
			keys[i].Generation = generation
		}
	}
	write := func() error { return errors.Join(c.devices.write(d.objs.Devices), c.endpoints.write(d.objs.Endpoints)) }
	err := write()
	if errors.Is(err, unix.E2BIG) { // changes came faster than those before are forgotten
		d.sweeping.Wait()
		err = write()
	}
	if err != nil {
		return fmt.Errorf("add endpoints: %w", err)
	}
	return nil
}

// dropEndpoints forgets those of generations that are not wanted.
func (d *Dataplane) dropEndpoints(unwanted func(generation uint64) bool) error {
	err := errors.Join(
		dropGenerations[bpf.DatapathEndpoint](d.objs.Endpoints, unwanted), dropGenerations[uint8](d.objs.Devices, unwanted))
	if err != nil {
		return fmt.Errorf("forget endpoints: %w", err)
	}
	return nil
}

// dropGenerations does so in a map with values of type V.
func dropGenerations[V any](m *ebpf.Map, unwanted func(generation uint64) bool) error {
	var keys []bpf.DatapathEndpointKey
	var key bpf.DatapathEndpointKey
	var value V
	all := m.Iterate()
	for all.Next(&key, &value) {
		if unwanted(key.Generation) {
			keys = append(keys, key)
		}
	}
	errs := []error{all.Err()}
	for _, key := range keys {
		if err := m.Delete(key); !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// settle waits until no program runs any more that ran when it was called: the kernel does so when a map is put
// into another.
func (d *Dataplane) settle() error {
	if err := d.fence.Update(uint32(0), d.fenced, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("wait for running programs: %w", err)
	}
	return nil
}

// carry is no reason not to take over: what is not known of connections is judged as it comes.
func (d *Dataplane) carry() {
	if err := d.carryConnections(); err != nil {
		d.log.Warn("open connections are not known any more", "error", err)
	}
}

// finishAdoption moves links left by an earlier run to this run's programs and maps, now that there is
// a world for them.
func (d *Dataplane) finishAdoption() error {
	if d.adopted {
		return nil
	}
	d.carry()
	if err := errors.Join(d.adopt(), d.replaceNetfilter()); err != nil {
		return fmt.Errorf("take over the running datapath: %w", err)
	}
	d.adopted = true
	d.carry() // those that were opened meanwhile
	if err := d.pins.removeOtherMaps(); err != nil {
		d.log.Warn("state of another version is left behind", "error", err)
	}
	return nil
}
