// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strings"

	"github.com/cilium/ebpf"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

type packetsConfig struct {
	pods, policies []int
	repetitions    int
}

func (c *packetsConfig) check() error {
	var errs []error
	for _, pods := range c.pods {
		for _, policies := range c.policies {
			errs = append(errs, checkCluster(pods, policies))
		}
	}
	if c.repetitions < 1 || c.repetitions > 1000 {
		errs = append(errs, fmt.Errorf("--repetitions: %d is not between 1 and 1000", c.repetitions))
	}
	return errors.Join(errs...)
}

func measurePackets(ctx context.Context, c packetsConfig, out, progress io.Writer) error {
	empty, err := emptyRun(c.repetitions)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "A run of an empty program takes %.0f ns; it is part of every figure.\n\n", empty)
	fmt.Fprintln(out, "| pods | policies | family | established out | in | new out | in | denied out | in | forwarded | cold out | in | new kind out | in |")
	fmt.Fprintln(out, "| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	var changes strings.Builder
	for _, pods := range c.pods {
		for _, policies := range c.policies {
			say(progress, "%d pods, %d policies", pods, policies)
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := measureCluster(pods, policies, c.repetitions, out, &changes); err != nil {
				return fmt.Errorf("%d pods, %d policies: %w", pods, policies, err)
			}
		}
	}
	fmt.Fprintln(out, "\n| pods | policies | compile | plan everything | load | one policy changed: plan | load | one pod changed: plan | load | maps |")
	fmt.Fprintln(out, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	_, err = io.WriteString(out, changes.String())
	return err
}

func measureCluster(pods, policies, repetitions int, packets, changes io.Writer) (err error) {
	d, err := newDatapath(dataplane.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.changes(pods, policies, changes); err != nil {
		return err
	}
	for _, family := range []string{"IPv4", "IPv6"} {
		fmt.Fprintf(packets, "| %d | %d | %s |", pods, policies, family)
		// A thread of high priority on one core.
		if err := <-onCore(clientCore, func() error { return d.costs(family, pods, repetitions, packets) }); err != nil {
			return err
		}
		fmt.Fprintln(packets)
	}
	return nil
}

// costs writes the cells of one row.
func (d *datapath) costs(family string, pods, repetitions int, out io.Writer) error {
	local := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(addr(client, family), port) }
	foreign := netip.AddrPortFrom(addr(stranger, family), 80)
	if _, err := d.out.Run(runOnce(segment(local(40_000), to(family, firstPort), syn))); err != nil {
		return fmt.Errorf("open a connection: %w", err)
	}
	// With FIN in it, each SYN is another connection: judged, recorded and remembered each time.
	warm := []struct {
		out  bool
		from netip.AddrPort
		to   netip.AddrPort
		flag byte
		want uint32
	}{
		{true, local(40_000), to(family, firstPort), ack, next},
		{false, to(family, firstPort), local(40_000), ack, next},
		{true, local(40_001), to(family, firstPort), syn | fin, next},
		{false, to(family, 40_001), local(firstPort), syn | fin, next},
		{true, local(40_002), foreign, syn, drop},
		{false, foreign, local(80), syn, drop},
	}
	for _, w := range warm {
		program := d.in
		if w.out {
			program = d.out
		}
		ns, err := runs(program, segment(w.from, w.to, w.flag), w.want, repetitions)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, " %.0f |", ns)
	}
	ns, err := d.forwardRuns(segment(local(40_000), to(family, firstPort), ack), family, repetitions)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, " %.0f |", ns)
	someFriend := func(i int) netip.Addr { return addr(friend(i, pods), family) }
	if err := d.coldCosts(family, someFriend, 1, out); err != nil { // what they are recorded in is there already
		return err
	}
	return d.coldCosts(family, func(i int) netip.Addr { return outsider(i, family) }, 0, out)
}

// coldCosts writes two cells: connections with one peer after the other, after so many rounds that do not count.
func (d *datapath) coldCosts(family string, peer func(i int) netip.Addr, before int, out io.Writer) error {
	for _, program := range []*ebpf.Program{d.out, d.in} {
		if _, _, err := d.DrainFlows(); err != nil { // room for all kinds
			return err
		}
		var ns float64
		for round := range before + 1 {
			frame := func(i int) []byte {
				port := uint16(1024 + i + round*coldRuns)
				if program == d.out {
					return segment(netip.AddrPortFrom(addr(client, family), port), netip.AddrPortFrom(peer(i), firstPort), syn)
				}
				return segment(netip.AddrPortFrom(peer(i), port), netip.AddrPortFrom(addr(client, family), firstPort), syn)
			}
			var err error
			if ns, err = single(program, frame); err != nil {
				return err
			}
		}
		fmt.Fprintf(out, " %.0f |", ns)
	}
	return nil
}

// changes measures compiling, planning and loading, and leaves the whole cluster loaded.
func (d *datapath) changes(pods, policies int, out io.Writer) error {
	const times = 5
	objects := newCluster(pods, policies)
	var snapshot *netpol.Snapshot
	compile, err := took(func() (err error) {
		snapshot, err = netpol.Compile(objects)
		return err
	})
	if err != nil {
		return err
	}
	in := input(pods, [2]uint32{loopback, 2})
	var all, policy, pod cost
	var planner *plan.Planner
	for range times {
		runtime.GC()
		first, err := d.NextSet()
		if err != nil {
			return err
		}
		planner = plan.NewPlanner(first)
		if err := all.add(d, planner, snapshot, in); err != nil {
			return err
		}
	}
	memory, err := d.memory()
	if err != nil {
		return err
	}
	for i := range 2 * times {
		for change, sum := range map[*netpol.Objects]*cost{
			{Policies: []*networkingv1.NetworkPolicy{otherPolicy(i)}}: &policy,
			{Pods: []*corev1.Pod{otherPod(i)}}:                        &pod,
		} {
			if snapshot, err = snapshot.Apply(netpol.Change{Set: *change}); err != nil {
				return err
			}
			if err := sum.add(d, planner, snapshot, in); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(out, "| %d | %d | %.0f ms | %s | %s | %s | %.1f MiB |\n", pods, policies, compile, all, policy, pod, float64(memory)/(1<<20))
	return nil
}

// otherPolicy changes the last policy; each i differs from the one before.
func otherPolicy(i int) *networkingv1.NetworkPolicy {
	p := lastPolicy()
	p.Spec.Ingress[0].Ports[0].EndPort = new(int32(lastPort + 1 + i%2))
	return p
}

// otherPod changes to which application a pod that policies name belongs.
func otherPod(i int) *corev1.Pod {
	p := newPod(6)
	p.Labels["app"] = application(7 + i%2)
	return p
}

// cost is how long it took to plan and to load, in milliseconds.
type cost struct {
	plan, load []float64
}

// add makes the next world what is enforced. Where there is no room to add to the one before, that takes a complete
// one, as with the agent.
func (c *cost) add(d *datapath, planner *plan.Planner, snapshot *netpol.Snapshot, in plan.Input) error {
	var sum [2]float64
	for range 2 {
		var world *plan.World
		planned, err := took(func() (err error) {
			world, err = planner.Next(snapshot, in)
			return err
		})
		if err != nil {
			return err
		}
		loaded, err := took(func() error {
			_, err := d.Load(world)
			return err
		})
		sum[0], sum[1] = sum[0]+planned, sum[1]+loaded
		if err == nil {
			break
		}
		if planner.Forget(); !errors.Is(err, dataplane.ErrIncomplete) {
			return err
		}
	}
	c.plan, c.load = append(c.plan, sum[0]), append(c.load, sum[1])
	return nil
}

func (c cost) String() string {
	return fmt.Sprintf("%.2f ms | %.2f ms", median(c.plan), median(c.load))
}
