// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

// trial is one cluster, its changes, and the packets of one of its nodes.
type trial struct {
	*random.Generator
	node   string
	free   []uint32 // devices
	worlds []clusterState
	sent   []sent
}

// clusterState is what a world is made of.
type clusterState struct {
	objects netpol.Objects
	full    *netpol.Snapshot // nil: to be compiled
	staged  netpol.Change    // of policies; empty: none are staged
	audited map[types.NamespacedName]bool
	devices map[types.NamespacedName]uint32 // of pods that are there, and of some that were
}

// sent is a packet in a world of the trial.
type sent struct {
	world int
	at    place
	frame []byte
}

func newTrial(devices []uint32, seed, cluster uint64) *trial {
	return &trial{Generator: random.New(seed, cluster), free: devices}
}

// loaded is a world with what the reference knows of it.
type loaded struct {
	moment
	addrs []netip.Addr // that are worth a packet
}

// step goes to the cluster's next state.
func (c *trial) step(l *lab) (*loaded, error) {
	state := clusterState{audited: map[types.NamespacedName]bool{}, devices: maps.Clone(c.devices())}
	if len(c.worlds) == 0 {
		state.objects = c.Objects()
		state.full, _ = netpol.Compile(state.objects) // faults match nothing, in the datapath as in the evaluator
		c.node = crowded(state.objects)
	} else {
		before := c.worlds[len(c.worlds)-1]
		change := c.Change(before.objects)
		state.objects = random.Changed(before.objects, change)
		state.full, _ = before.full.Apply(change)
	}
	if c.IntN(100) < 50 {
		state.staged = c.stage(state.objects)
	}
	c.releaseDevices(&state)
	for _, p := range state.objects.Pods {
		name := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
		if c.IntN(100) < 10 {
			state.audited[name] = true
		}
		if _, known := state.devices[name]; !known && p.Spec.NodeName == c.node && len(c.free) > 0 {
			state.devices[name], c.free = c.free[0], c.free[1:]
		}
	}
	c.worlds = append(c.worlds, state)
	return c.load(l, state)
}

// stage proposes other policies.
func (c *trial) stage(objects netpol.Objects) (staged netpol.Change) {
	for range 4 {
		change := c.Change(objects)
		staged.Set.Policies = append(staged.Set.Policies, change.Set.Policies...)
		staged.Set.ClusterPolicies = append(staged.Set.ClusterPolicies, change.Set.ClusterPolicies...)
		for _, k := range change.Deleted {
			if k.Kind == "NetworkPolicy" || k.Kind == "ClusterNetworkPolicy" {
				staged.Deleted = append(staged.Deleted, k)
			}
		}
	}
	return staged
}

// devices are those of the last state.
func (c *trial) devices() map[types.NamespacedName]uint32 {
	if len(c.worlds) == 0 {
		return map[types.NamespacedName]uint32{}
	}
	return c.worlds[len(c.worlds)-1].devices
}

// releaseDevices gives the devices of some pods that are gone to the next that come.
func (c *trial) releaseDevices(state *clusterState) {
	for _, name := range slices.SortedFunc(maps.Keys(state.devices), compareNames) {
		if !c.isLocal(state.objects.Pods, name) && c.IntN(100) < 70 {
			c.free = append([]uint32{state.devices[name]}, c.free...)
			delete(state.devices, name)
		}
	}
}

func compareNames(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }

// crowded is the node with most pods of its own network.
func crowded(objects netpol.Objects) string {
	count, most := map[string]int{}, ""
	for _, p := range objects.Pods {
		if p.Spec.HostNetwork || p.Spec.NodeName == "" || p.Status.PodIP == "" {
			continue
		}
		if count[p.Spec.NodeName]++; count[p.Spec.NodeName] > count[most] {
			most = p.Spec.NodeName
		}
	}
	return most
}

// load makes a state what packets are judged by.
func (c *trial) load(l *lab, state clusterState) (*loaded, error) {
	if state.full == nil {
		state.full, _ = netpol.Compile(state.objects)
	}
	services := map[netip.Addr]bool{}
	for _, s := range state.objects.Services {
		for _, addr := range netpol.ServiceAddresses(s) {
			services[addr] = true
		}
	}
	state.objects.Services = nil
	plain, _ := netpol.Compile(state.objects)
	m := &loaded{moment: moment{pods: map[uint32]*localPod{}, snapshot: plain, services: services}, addrs: universe(plain, services)}
	c.addPods(&m.moment, state)
	in := plan.Input{NodeAddrs: m.ownNode(), ServiceAddrs: slices.Collect(maps.Keys(services))}
	m.services = maps.Clone(services)
	for _, addr := range in.NodeAddrs { // a port of the node's may be a Service's
		m.services[addr] = true
	}
	for _, device := range slices.Sorted(maps.Keys(m.pods)) {
		pod := m.pods[device]
		in.Endpoints = append(in.Endpoints, plan.EndpointInput{
			Pod: pod.name, Ifindex: device, Mode: pod.mode, Addrs: pod.addrs, Reject: device%4 == 0, // which changes no verdict
		})
	}
	if len(state.staged.Deleted)+len(random.Keys(state.staged.Set)) > 0 {
		in.Staged, _ = state.full.Apply(state.staged)
		m.staged, _ = plain.Apply(state.staged)
	}
	return m, l.loadNext(state.full, in)
}

// addPods puts the node's pods behind their devices.
func (c *trial) addPods(m *moment, state clusterState) {
	for e := range m.snapshot.Endpoints() {
		device, known := state.devices[e.Pod()]
		if !known || !c.isLocal(state.objects.Pods, e.Pod()) {
			continue
		}
		pod := m.pods[device]
		if pod == nil {
			pod = &localPod{name: e.Pod(), mode: plan.Enforce}
			if state.audited[e.Pod()] {
				pod.mode = plan.Audit
			}
			m.pods[device] = pod
		}
		pod.addrs = append(pod.addrs, e.Addr)
	}
}

func (c *trial) isLocal(pods []*corev1.Pod, name types.NamespacedName) bool {
	return slices.ContainsFunc(pods, func(p *corev1.Pod) bool {
		return p.Namespace == name.Namespace && p.Name == name.Name && p.Spec.NodeName == c.node
	})
}

// ownNode are the addresses that the evaluator takes for the node's own.
func (l *loaded) ownNode() (own []netip.Addr) {
	for _, addr := range l.addrs {
		for _, pod := range l.pods {
			v := l.snapshot.Evaluate(netpol.Connection{From: netpol.Peer{Addr: addr}, To: netpol.Peer{Pod: pod.name, Addr: pod.addrs[0]}})
			if v.Ingress.Reason == netpol.OwnNode {
				own = append(own, addr)
				break
			}
		}
	}
	return own
}
