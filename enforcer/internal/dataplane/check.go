// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/link"
)

// CheckNetfilter errs with the name of each netfilter hook that this Dataplane's program is not at. Before the
// first Load, those of an earlier run are.
func (d *Dataplane) CheckNetfilter() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := d.objs.Forwarded.Info()
	if err != nil {
		return fmt.Errorf("look at the netfilter program: %w", err)
	}
	ours, _ := info.ID()
	var errs []error
	for i, hook := range netfilterHooks {
		places := d.occupiedPlaces(i)
		if len(places) == 0 {
			errs = append(errs, fmt.Errorf("nothing is attached to netfilter %s", hook.name))
		}
		for _, place := range places {
			path := d.netfilterPath(hook.name, netfilterPlaces[place].name)
			if err := checkNetfilterLink(path, i, place, uint32(ours)); err != nil {
				errs = append(errs, fmt.Errorf("netfilter %s: %w", hook.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func checkNetfilterLink(path string, hook, place int, program uint32) error {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return fmt.Errorf("open the pinned link: %w", err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return fmt.Errorf("look at the pinned link: %w", err)
	}
	at, want := info.Netfilter(), netfilterHooks[hook]
	switch {
	case at == nil:
		return fmt.Errorf("the pinned link is %v", info.Type)
	case uint32(info.Program) != program:
		return fmt.Errorf("program %d is attached, not this datapath's %d", info.Program, program)
	case at.ProtocolFamily != want.family || at.Hook != want.hook || at.Priority != netfilterPlaces[place].priority:
		return fmt.Errorf("the pinned link is at family %v, hook %v, priority %d", at.ProtocolFamily, at.Hook, at.Priority)
	}
	return nil
}
