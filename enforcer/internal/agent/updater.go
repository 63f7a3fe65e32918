// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/hostnet"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/selftest"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// A failed update is tried again after firstRetry, then ever later up to lastRetry.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// updater brings the datapath to what the API server and the node's network say. Only run's goroutine
// uses it.
type updater struct {
	shared
	trigger   *trigger
	network   *hostnet.Network
	inventory *inventory.Inventory
	faults    *faults

	mirror     *mirror
	resolvers  *resolvers    // nil: no names of DNS are noted
	planner    *plan.Planner // nil before the first world
	sandboxes  *sandboxes
	netnsPath  string
	view       *hostnet.View // of the node's network, as are the next two
	devices    hostnet.Devices
	interfaces []netip.Addr // addresses
	judged     map[uint32]bool
	input      plan.Input // of the world that is loaded
	loaded     bool       // the last attempt to load was successful
	gated      bool       // the world that is loaded, by this run or one before, may hold back who it does not know
	attached   bool       // so was the last one to attach
	told       string     // the problems of the node that were logged; empty: none
	unstaged   string     // the same of staged policies that do not fit
	unfit      []error    // the pods of the world that is loaded whose policies do not fit
}

// run reads the API server's objects, then updates after every change until ctx ends; what failed is
// tried again.
func (u *updater) run(ctx context.Context) {
	if u.inventory.Run(ctx) != nil {
		return // ctx ended before the objects were read
	}
	u.log.Info("the API server's objects are read", "node", u.node)
	retry := time.Duration(0)
	for {
		change, err := u.trigger.next(ctx, retry)
		if err != nil {
			return
		}
		u.state.updating()
		problems := u.update(change)
		u.metrics.updated(time.Since(change.since), len(problems))
		u.state.setProblems(problems)
		u.tell(problems)
		if retry = min(max(2*retry, firstRetry), lastRetry); len(problems) == 0 {
			retry = 0
		}
	}
}

// tell logs problems when they are others than before.
func (u *updater) tell(problems []error) {
	now := textOf(problems)
	switch {
	case now == u.told:
	case now == "":
		u.log.Info("the node is up to date again")
	default:
		u.log.Warn("the node is not up to date, trying again", "problems", len(problems), "error", now)
	}
	u.told = now
}

// textOf is empty when there are no problems.
func textOf(problems []error) string {
	if err := errors.Join(problems...); err != nil {
		return err.Error()
	}
	return ""
}

// update does as much as can be done and returns what cannot: then the old policies, of the node or of one pod, or
// the attached interfaces stay as they are.
func (u *updater) update(change pending) []error {
	if change.objects {
		u.takeObjects()
	}
	node := u.mirror.nodes[u.node]
	if node == nil {
		return []error{fmt.Errorf("there is no Node called %s: check --node-name; what is enforced stays as it was", u.node)}
	}
	// What failed may have been for want of an interface.
	if change.network || !u.loaded || !u.attached {
		if err := u.lookAround(); err != nil {
			return []error{err}
		}
	}
	endpoints, problems := u.mirror.localEndpoints(u.sandboxes.list(), u.view.Interfaces)
	input := plan.Input{
		Endpoints:    u.mirror.keepKnown(endpoints, u.input.Endpoints, u.network.Exists),
		NodeAddrs:    nodeAddrs(u.interfaces, node),
		ServiceAddrs: u.mirror.serviceAddrs(),
		Exempt:       u.devices.Exempt,
		Bridges:      u.devices.Bridges,
		// Without a namespace that is enforced nobody has asked for pods to be held back.
		Gate: len(u.mirror.modes) > 0,
	}
	u.listenTo(input.NodeAddrs)
	same := sameNode(u.input, input)
	if change.objects || !u.loaded || !same {
		input.Staged = u.mirror.staged()
		if err := u.load(input); err != nil {
			return append(append(problems, err), u.cutOff(input.Endpoints)...)
		}
	}
	if change.network || !same || !u.attached {
		more := u.attach(input.Endpoints, u.unknown(input))
		u.attached = len(more) == 0
		problems = append(problems, more...)
	}
	u.sandboxes.judged(func(ifindex uint32) bool { return u.judged[ifindex] })
	return append(problems, u.unfit...)
}

// unknown are the veths that may be pods', but of none that is known: while there is a gate, they are held back at the
// device too, because a bridge forwards without asking the node.
func (u *updater) unknown(input plan.Input) []uint32 {
	if !input.Gate {
		return nil
	}
	known := make(map[uint32]bool, len(input.Endpoints))
	for _, e := range input.Endpoints {
		known[e.Ifindex] = true
	}
	return slices.DeleteFunc(slices.Clone(u.devices.Veths), func(i uint32) bool { return known[i] || i == selftest.Ifindex })
}

// takeObjects brings everything up to date that is kept of the API server's objects.
func (u *updater) takeObjects() {
	c := u.inventory.Take()
	u.mirror.apply(c)
	if u.resolvers != nil {
		u.resolvers.apply(c)
	}
	u.state.setSnapshot(u.mirror.snapshot)
	var gone, closed []types.NamespacedName
	nodes := len(c.Set.Nodes) > 0
	for _, k := range c.Deleted {
		switch k.Kind {
		case "Pod":
			gone = append(gone, types.NamespacedName{Namespace: k.Namespace, Name: k.Name})
		case "Service":
			closed = append(closed, types.NamespacedName{Namespace: k.Namespace, Name: k.Name})
		case "Node":
			nodes = true
		}
	}
	for _, p := range c.Set.Pods {
		p.Labels = u.mirror.snapshot.Labels(types.NamespacedName{Namespace: p.Namespace, Name: p.Name}) // the same, kept once
	}
	now := time.Now()
	u.book.Pods(c.Set.Pods, gone, now)
	u.book.Services(c.Set.Services, closed, now)
	if nodes {
		u.book.Nodes(u.mirror.nodes)
	}
	var errs []*netpol.ObjectError
	for _, f := range u.mirror.faults {
		errs = append(errs, f.errs...)
	}
	slices.SortFunc(errs, func(a, b *netpol.ObjectError) int { return strings.Compare(a.Error(), b.Error()) })
	u.faults.tell(u.mirror.faults)
	u.metrics.policyErrors.Set(float64(len(errs)))
	u.state.setPolicyErrors(errs)
}

// lookAround reads the node's network again.
func (u *updater) lookAround() (err error) {
	u.view = u.network.View()
	if u.interfaces, err = u.network.Addrs(); err != nil {
		return err
	}
	// Not the addresses of interfaces: the ptp plugin gives the veth of every pod the one of the pods' gateway.
	u.devices, err = u.view.Devices(nodeAddrs(nil, u.mirror.nodes[u.node]), u.netnsPath)
	if err != nil { // what it says holds all the same
		u.log.Warn("veths that are no pods' cannot all be told from those of pods", "error", err)
	}
	return nil
}

func sameNode(a, b plan.Input) bool {
	return slices.EqualFunc(a.Endpoints, b.Endpoints, plan.EndpointInput.Equal) && slices.Equal(a.NodeAddrs, b.NodeAddrs) &&
		a.Gate == b.Gate && slices.Equal(a.Exempt, b.Exempt) && slices.Equal(a.Bridges, b.Bridges)
}

// load switches the datapath to the world of this moment.
func (u *updater) load(input plan.Input) error {
	u.loaded = false
	if u.planner == nil {
		first, err := u.dataplane.NextSet()
		if err != nil {
			return err
		}
		u.planner = plan.NewPlanner(first)
		u.gated = first > 0
	}
	if u.gated && input.Gate {
		// From the moment that the world knows a pod, the gate leaves to its interface what comes in.
		u.cutOff(input.Endpoints) // attach tells what is in its way
	}
	err := u.loadNext(input)
	if errors.Is(err, dataplane.ErrIncomplete) {
		err = u.loadNext(input)
	}
	u.loaded = err == nil
	return err
}

// loadNext loads the next world; after an error the one after it is complete.
func (u *updater) loadNext(input plan.Input) error {
	world, err := u.planner.Next(u.mirror.snapshot, input)
	if err != nil {
		return fmt.Errorf("plan the policies of node %s: %w", u.node, err)
	}
	u.tellUnstaged(world.Unstaged)
	u.book.Prepare(world) // before the first record names a new policy set
	generation, err := u.dataplane.Load(world)
	if generation > 0 { // the switch was made, even if something after it failed
		now := time.Now()
		u.input, u.gated = input, input.Gate
		u.book.Addresses(input.NodeAddrs)
		u.book.Interfaces(podsByInterface(input.Endpoints), now)
		u.book.Loaded(world, now)
		u.unfit = world.Unfit
		u.state.setLoaded(generation, world, input.Endpoints)
	}
	if err != nil {
		u.planner.Forget()
		return fmt.Errorf("load the policies of node %s: %w", u.node, err)
	}
	return nil
}

// tellUnstaged logs the pods whose staged policies do not fit, when they are others than before.
func (u *updater) tellUnstaged(problems []error) {
	now := textOf(problems)
	if now != u.unstaged && now != "" {
		u.log.Warn("some pods are judged by their live policies alone", "error", now)
	}
	u.unstaged = now
}

func podsByInterface(endpoints []plan.EndpointInput) map[uint32]types.NamespacedName {
	pods := make(map[uint32]types.NamespacedName, len(endpoints))
	for _, e := range endpoints {
		pods[e.Ifindex] = e.Pod
	}
	return pods
}
