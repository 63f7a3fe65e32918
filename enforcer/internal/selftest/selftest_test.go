// SPDX-License-Identifier: Apache-2.0

package selftest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

func TestMain(m *testing.M) { node.Main(m, nil, nil) }

func newDataplane(t *testing.T) (d *dataplane.Dataplane, pins string) {
	t.Helper()
	pins = filepath.Join(t.TempDir(), "bpf")
	d, err := dataplane.Open(dataplane.Config{PinPath: pins, Connections: 4096, Flows: 1024})
	if errors.Is(err, dataplane.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
	})
	return d, pins
}

func load(t *testing.T, d *dataplane.Dataplane, w *plan.World) {
	t.Helper()
	if _, err := d.Load(w); err != nil {
		t.Fatal(err)
	}
}

// devices and open files are what a self-test could leave behind.
func leftovers(t *testing.T, d *dataplane.Dataplane) (devices, files int) {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	if attached, err := d.Attached(); err != nil || len(attached) != 0 {
		t.Errorf("attached %v, %v; want nothing", attached, err)
	}
	return len(interfaces), len(fds)
}

func TestPasses(t *testing.T) {
	d, _ := newDataplane(t)
	load(t, d, &plan.World{})
	if err := Run(d); err != nil { // also opens what a process opens once
		t.Fatal(err)
	}
	devices, files := leftovers(t, d)
	begin := time.Now()
	for range 3 {
		if err := Run(d); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("3 self-tests took %s", time.Since(begin))
	if d, f := leftovers(t, d); d != devices || f != files {
		t.Errorf("%d devices and %d files are open, before it were %d and %d", d, f, devices, files)
	}
}

// A datapath that knows the device, and so lets packets pass, fails at each hook and in both families.
func TestHooksThatLetPass(t *testing.T) {
	d, _ := newDataplane(t)
	load(t, d, &plan.World{Endpoints: map[uint32]plan.Endpoint{Ifindex: {}}, Sets: make([]plan.SetEntry, 1)})
	wants(t, Run(d), "the hook on packets from pods let 5 of 5 packets of IPv4 pass", "the hook on packets to pods let 5 of 5 packets of IPv4 pass",
		"from pods let 5 of 5 packets of IPv6 pass", "to pods dropped 0 of 5 packets of IPv6")
	load(t, d, &plan.World{})
	if err := Run(d); err != nil {
		t.Errorf("after the fault is gone: %v", err)
	}
}

func TestNetfilterHookThatIsMissing(t *testing.T) {
	d, pins := newDataplane(t)
	load(t, d, &plan.World{})
	found, err := filepath.Glob(filepath.Join(pins, "*", "netfilter-localin6-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("pins of the hook: %v, %v", found, err)
	}
	if err := os.Remove(found[0]); err != nil {
		t.Fatal(err)
	}
	wants(t, Run(d), "nothing is attached to netfilter localin6")
}

// Before the first world what is dropped is not counted as an unknown endpoint's: that is no proof.
func TestNoWorld(t *testing.T) {
	d, _ := newDataplane(t)
	wants(t, Run(d), "dropped 0 of 5 packets")
}

// What a crash left holds the name of the device that is tested.
func TestAfterACrash(t *testing.T) {
	d, _ := newDataplane(t)
	load(t, d, &plan.World{})
	r, err := newRoom()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := r.host.do(func() error { return d.Attach(Ifindex) }); err != nil {
		t.Fatal(err)
	}
	if err := Run(d); err != nil {
		t.Error(err)
	}
}

// The process' own namespace, which is the main thread's, must stay what it was, whatever thread is taken.
func TestTheMainThreadStays(t *testing.T) {
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		r, err := newRoom()
		if err != nil {
			t.Fatal(err)
		}
		if len(r.families) != 2 {
			t.Errorf("families %v, want both", r.families)
		}
		r.close()
		if now, err := os.Readlink("/proc/self/ns/net"); now != before {
			t.Fatalf("the process is in %s, %v; it was in %s", now, err, before)
		}
	}
}

func wants(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v; want %q", err, text)
		}
	}
}
