// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// hookPoint is where one program meets the packets of a device.
type hookPoint struct {
	name    string
	attach  ebpf.AttachType
	program *ebpf.Program
}

// hookPoints of the host's side of a pod's veth. What leaves the pod enters the host there.
func (d *Dataplane) hookPoints() []hookPoint {
	return []hookPoint{
		{"ingress", ebpf.AttachTCXIngress, d.objs.FromPod},
		{"egress", ebpf.AttachTCXEgress, d.objs.ToPod},
	}
}

func (d *Dataplane) linkPath(ifindex uint32, hook string) string {
	return filepath.Join(d.pins.links, fmt.Sprintf("%d-%s", ifindex, hook))
}

// Attach puts both directions of a pod's device (the host's side of its veth) under the datapath, ahead
// of other programs. From then on its packets pass only by the loaded world: attach before the pod's
// first packet. Attaching twice is no error. On failure the device is left as it was.
func (d *Dataplane) Attach(ifindex uint32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var undo []string
	for _, hook := range d.hookPoints() {
		path := d.linkPath(ifindex, hook.name)
		fresh, err := attachDevice(path, ifindex, hook)
		if err != nil {
			return errors.Join(fmt.Errorf("attach %s of interface %d: %w", hook.name, ifindex, err), unpin(undo...))
		}
		if fresh {
			undo = append(undo, path)
		}
	}
	return nil
}

// attachDevice reports whether it attached; false when a live link was there already.
func attachDevice(path string, ifindex uint32, hook hookPoint) (bool, error) {
	if alive, err := isAttached(path, ifindex); err != nil || alive {
		return false, err
	}
	if err := unpin(path); err != nil {
		return false, err
	}
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: int(ifindex), Program: hook.program, Attach: hook.attach, Anchor: link.Head(),
	})
	if err != nil {
		return false, explain(err)
	}
	defer l.Close()
	return true, l.Pin(path)
}

// isAttached reports whether path pins a link that still has its device.
func isAttached(path string, ifindex uint32) (bool, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return false, err
	}
	return info.TCX() != nil && info.TCX().Ifindex == ifindex, nil
}

// Detach ends enforcement on a device. A device that is gone, or was never attached, is no error. What it
// sends through FORWARD is judged for as long as the loaded world has it as an endpoint.
func (d *Dataplane) Detach(ifindex uint32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var paths []string
	for _, hook := range d.hookPoints() {
		paths = append(paths, d.linkPath(ifindex, hook.name))
	}
	if err := unpin(paths...); err != nil {
		return fmt.Errorf("detach interface %d: %w", ifindex, err)
	}
	return nil
}

// Attached lists the devices with a pinned link, those of earlier runs included, whether the device
// still exists or not.
func (d *Dataplane) Attached() ([]uint32, error) {
	entries, err := os.ReadDir(d.pins.links)
	if err != nil {
		return nil, fmt.Errorf("list attached devices: %w", err)
	}
	var attached []uint32
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "-")
		if ifindex, err := strconv.ParseUint(number, 10, 32); err == nil {
			attached = append(attached, uint32(ifindex))
		}
	}
	slices.Sort(attached)
	return slices.Compact(attached), nil
}

// adopt puts this Dataplane's programs into the links of earlier runs, each by one atomic exchange.
func (d *Dataplane) adopt() error {
	attached, err := d.Attached()
	if err != nil {
		return err
	}
	for _, ifindex := range attached {
		for _, hook := range d.hookPoints() {
			if err := updateLink(d.linkPath(ifindex, hook.name), hook.program); err != nil {
				return fmt.Errorf("replace the program at %s of interface %d: %w", hook.name, ifindex, err)
			}
		}
	}
	return nil
}

// updateLink exchanges the program of a pinned link, and forgets links without a device.
func updateLink(path string, program *ebpf.Program) error {
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return err
	}
	if info.TCX() == nil || info.TCX().Ifindex == 0 {
		return unpin(path)
	}
	return l.Update(program)
}

// unpin removes pins; a link that nobody holds is thereby detached.
func unpin(paths ...string) error {
	var errs []error
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
