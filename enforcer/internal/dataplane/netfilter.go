// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// A netfilter link cannot change its program, and two links of one hook need two priorities. So there
// are two places: a new program is attached at the free one before the old one is detached. Both sit
// after destination translation, and after filters, so that only what others let pass is recorded.
var netfilterPlaces = []struct {
	name     string
	priority int32
}{{"a", 50}, {"b", 51}}

var netfilterHooks = []struct {
	name   string
	family link.NetfilterProtocolFamily
	hook   link.NetfilterInetHook
}{
	{"forward4", link.NetfilterProtoIPv4, link.NetfilterInetForward},
	{"forward6", link.NetfilterProtoIPv6, link.NetfilterInetForward},
	{"localin4", link.NetfilterProtoIPv4, link.NetfilterInetLocalIn},
	{"localin6", link.NetfilterProtoIPv6, link.NetfilterInetLocalIn},
}

// netfilterPath has a name that never starts with a number, unlike those of devices.
func (d *Dataplane) netfilterPath(hook, place string) string {
	return filepath.Join(d.pins.links, fmt.Sprintf("netfilter-%s-%s", hook, place))
}

// prepareNetfilter attaches the hooks that no earlier run left attached. They let everything pass that
// comes from no endpoint.
func (d *Dataplane) prepareNetfilter() error {
	for i := range netfilterHooks {
		if len(d.occupiedPlaces(i)) > 0 {
			continue
		}
		if err := d.attachNetfilter(i, 0); err != nil {
			return err
		}
	}
	return nil
}

// replaceNetfilter puts this Dataplane's program at every hook; there is no moment without a judge.
func (d *Dataplane) replaceNetfilter() error {
	for i, hook := range netfilterHooks {
		old := d.occupiedPlaces(i)
		if len(old) == len(netfilterPlaces) { // an earlier run was interrupted right here
			if err := unpin(d.netfilterPath(hook.name, netfilterPlaces[1].name)); err != nil {
				return fmt.Errorf("detach from netfilter %s: %w", hook.name, err)
			}
			old = old[:1]
		}
		free := 0
		if len(old) > 0 {
			free = 1 - old[0]
		}
		if err := d.attachNetfilter(i, free); err != nil {
			return err
		}
		for _, place := range old {
			if err := unpin(d.netfilterPath(hook.name, netfilterPlaces[place].name)); err != nil {
				return fmt.Errorf("detach from netfilter %s: %w", hook.name, err)
			}
		}
	}
	return nil
}

// occupiedPlaces are indices in netfilterPlaces.
func (d *Dataplane) occupiedPlaces(hook int) []int {
	var occupied []int
	for i, place := range netfilterPlaces {
		if _, err := os.Stat(d.netfilterPath(netfilterHooks[hook].name, place.name)); err == nil {
			occupied = append(occupied, i)
		}
	}
	return occupied
}

func (d *Dataplane) attachNetfilter(hook, place int) error {
	at, where := netfilterHooks[hook], netfilterPlaces[place]
	l, err := link.AttachNetfilter(link.NetfilterOptions{
		Program: d.objs.Forwarded, ProtocolFamily: at.family, Hook: at.hook, Priority: where.priority,
	})
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("attach to netfilter %s: another datapath judges there: remove it, or use its pin path: %w", at.name, err)
	}
	if err != nil {
		return explain(fmt.Errorf("attach to netfilter %s: %w", at.name, err))
	}
	if err := l.Pin(d.netfilterPath(at.name, where.name)); err != nil {
		return errors.Join(fmt.Errorf("pin netfilter %s: %w", at.name, err), l.Close())
	}
	return l.Close()
}
