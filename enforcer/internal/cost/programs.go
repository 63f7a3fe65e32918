// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
)

// loopback is the interface that the kernel's test runs have by default: the pod that is judged has it.
const loopback = 1

// What the programs return.
const next, drop = 0xffffffff, 2

// datapath is one whose programs can be run. It is attached to the loopback interface of the namespace.
type datapath struct {
	*dataplane.Dataplane
	path string
	out  *ebpf.Program // what the pod sends
	in   *ebpf.Program // what it receives
	// forward judges what the node forwards, at netfilter.
	forward *ebpf.Program
}

// newDatapath is as config says, but for its place.
func newDatapath(config dataplane.Config) (*datapath, error) {
	path, err := os.MkdirTemp("", "cost")
	if err != nil {
		return nil, err
	}
	d := &datapath{path: path}
	config.PinPath = path
	if d.Dataplane, err = dataplane.Open(config); err != nil {
		return nil, err
	}
	if err := d.Attach(loopback); err != nil {
		return nil, err
	}
	if d.out, err = attached(ebpf.AttachTCXIngress); err != nil {
		return nil, err
	}
	if d.in, err = attached(ebpf.AttachTCXEgress); err != nil {
		return nil, err
	}
	d.forward, err = d.attachedToForward()
	return d, err
}

func (d *datapath) attachedToForward() (*ebpf.Program, error) {
	pinned, err := filepath.Glob(filepath.Join(d.path, "links", "netfilter-forward4-*"))
	if err != nil || len(pinned) != 1 {
		return nil, fmt.Errorf("%d links to netfilter's FORWARD are pinned, want one: %w", len(pinned), err)
	}
	l, err := link.LoadPinnedLink(pinned[0], nil)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return nil, err
	}
	return ebpf.NewProgramFromID(info.Program)
}

func attached(at ebpf.AttachType) (*ebpf.Program, error) {
	result, err := link.QueryPrograms(link.QueryOptions{Target: loopback, Attach: at})
	if err != nil {
		return nil, fmt.Errorf("find the attached program: %w", err)
	}
	if len(result.Programs) != 1 {
		return nil, fmt.Errorf("%d programs are attached to the loopback interface, want one", len(result.Programs))
	}
	return ebpf.NewProgramFromID(result.Programs[0].ID)
}

func (d *datapath) close() error {
	return errors.Join(d.out.Close(), d.in.Close(), d.forward.Close(), d.Remove())
}

// emptyRun is the time of a run of a program that does nothing.
func emptyRun(repetitions int) (float64, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	return runs(p, segment(to("IPv4", 1), to("IPv4", 2), ack), next, repetitions)
}

// runs is the median time of a run in nanoseconds. It errs if the program does not return what is wanted.
func runs(p *ebpf.Program, frame []byte, want uint32, repetitions int) (float64, error) {
	const repeat = 20_000
	var times []float64
	for range repetitions {
		ret, each, err := p.Benchmark(frame, repeat, func() {})
		if err != nil {
			return 0, err
		}
		if ret != want {
			return 0, fmt.Errorf("the program returned %#x, want %#x", ret, want)
		}
		times = append(times, float64(each.Nanoseconds()))
	}
	return median(times), nil
}

// byConnection is the reason of packets of open connections.
const byConnection = dataplane.Reason(bpf.DatapathReasonBY_CONNECTION)

// hookState is the kernel's struct nf_hook_state, of which a test run may choose hook and family; the input device is
// then the loopback interface.
type hookState struct {
	Hook, Family uint8
	_            [6]byte
	_            [5]uint64
}

// forwardRuns is like runs, for a packet that the node forwards and that is let through. The kernel's own clock is not
// to be had there: the time is that of the system call.
func (d *datapath) forwardRuns(frame []byte, family string, repetitions int) (float64, error) {
	const repeat, forward, accept = 20_000, 2, 1
	state := hookState{Hook: forward, Family: unix.NFPROTO_IPV4}
	if family == "IPv6" {
		state.Family = unix.NFPROTO_IPV6
	}
	before, err := d.Counters()
	if err != nil {
		return 0, err
	}
	var times []float64
	for range repetitions {
		begin := time.Now()
		ret, err := d.forward.Run(&ebpf.RunOptions{Data: frame, Context: &state, Repeat: repeat})
		if err != nil {
			return 0, err
		}
		if ret != accept {
			return 0, fmt.Errorf("the program at FORWARD returned %d, want %d", ret, accept)
		}
		times = append(times, float64(time.Since(begin).Nanoseconds())/repeat)
	}
	after, err := d.Counters()
	if judged := after.Passed[byConnection] - before.Passed[byConnection]; err == nil && judged < repeat {
		err = errors.New("the program at FORWARD did not take the packets for those of an open connection")
	}
	return median(times), err
}

// coldRuns are fewer than the kinds of flow that there is room for between two drains.
const coldRuns = 10_000

// single is the median time of runs that are made one at a time, each of another frame that passes.
func single(p *ebpf.Program, frame func(i int) []byte) (float64, error) {
	var times []float64
	for i := range coldRuns {
		ret, took, err := p.Benchmark(frame(i), 1, func() {})
		if err != nil {
			return 0, err
		}
		if ret != next {
			return 0, fmt.Errorf("run %d: the program returned %#x, want %#x", i, ret, next)
		}
		times = append(times, float64(took.Nanoseconds()))
	}
	return median(times), nil
}

// memory sums what the kernel says that the pinned maps take, and the maps in them.
func (d *datapath) memory() (sum uint64, err error) {
	pinned, err := filepath.Glob(filepath.Join(d.path, "maps-*", "*"))
	if err != nil {
		return 0, err
	}
	for _, path := range pinned {
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			return 0, fmt.Errorf("open pinned map %s: %w", filepath.Base(path), err)
		}
		bytes, err := memlock(m)
		m.Close()
		if err != nil {
			return 0, fmt.Errorf("map %s: %w", filepath.Base(path), err)
		}
		sum += bytes
	}
	return sum, nil
}

func memlock(m *ebpf.Map) (uint64, error) {
	info, err := m.Info()
	if err != nil {
		return 0, err
	}
	bytes, ok := info.Memlock()
	if !ok {
		return 0, errors.New("the kernel does not tell how much memory maps take")
	}
	if m.Type() != ebpf.ArrayOfMaps {
		return bytes, nil
	}
	for slot := range m.MaxEntries() {
		var inner *ebpf.Map
		if err := m.Lookup(slot, &inner); errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		} else if err != nil {
			return 0, err
		}
		n, err := memlock(inner)
		inner.Close()
		if err != nil {
			return 0, err
		}
		bytes += n
	}
	return bytes, nil
}

// took is how long f takes, in milliseconds.
func took(f func() error) (float64, error) {
	begin := time.Now()
	err := f()
	return float64(time.Since(begin).Microseconds()) / 1000, err
}
