// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/hostnet"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
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

	objects  netpol.Objects
	snapshot *netpol.Snapshot     // of objects; nil before the first
	loaded   *loaded              // nil: nothing yet, or the last attempt failed
	known    []plan.EndpointInput // of the last world that was loaded
}

// loaded is what the datapath judges by.
type loaded struct {
	input plan.Input
	world *plan.World
}

// run reads the API server's objects, then updates after every change until ctx ends; what failed is
// tried again.
func (u *updater) run(ctx context.Context) {
	if u.inventory.Run(ctx) != nil {
		return // ctx ended before the objects were read
	}
	u.log.Info("the API server's objects are read", "node", u.node)
	retry := time.Duration(0)
	told := ""
	for {
		change, err := u.trigger.next(ctx, retry)
		if err != nil {
			return
		}
		problems := u.update(change.objects)
		u.metrics.updated(time.Since(change.since), len(problems))
		u.state.setProblems(problems)
		told = u.tell(told, problems)
		if retry = min(max(2*retry, firstRetry), lastRetry); len(problems) == 0 {
			retry = 0
		}
	}
}

// tell logs problems when they are others than before; it returns what was told.
func (u *updater) tell(before string, problems []error) string {
	now := ""
	if err := errors.Join(problems...); err != nil {
		now = err.Error()
	}
	switch {
	case now == before:
	case now == "":
		u.log.Info("the node is up to date again")
	default:
		u.log.Warn("the node is not up to date, trying again", "problems", len(problems), "error", now)
	}
	return now
}

// update does as much as can be done and returns what cannot: then the old policies, or the attached
// interfaces, stay as they are.
func (u *updater) update(objectsChanged bool) []error {
	if objectsChanged || u.snapshot == nil {
		u.compile()
	}
	if !slices.ContainsFunc(u.objects.Nodes, func(n *corev1.Node) bool { return n.Name == u.node }) {
		return []error{fmt.Errorf("there is no Node called %s: check --node-name; what is enforced stays as it was", u.node)}
	}
	interfaces, err := u.network.Addrs()
	if err != nil {
		return []error{err}
	}
	endpoints, problems := localEndpoints(u.objects, u.node, u.network.Interface)
	endpoints = keepKnown(endpoints, u.known, u.objects, u.node, u.network.Exists)
	input := plan.Input{
		Endpoints:    endpoints,
		NodeAddrs:    nodeAddrs(interfaces, u.objects.Nodes, u.node),
		ServiceAddrs: serviceAddrs(u.objects.Services),
	}
	if objectsChanged || u.loaded == nil || !sameNode(u.loaded.input, input) {
		if err := u.load(input); err != nil {
			return append(append(problems, err), u.cutOff(endpoints)...)
		}
	}
	return append(problems, u.attach(endpoints)...)
}

func sameNode(a, b plan.Input) bool {
	return slices.EqualFunc(a.Endpoints, b.Endpoints, plan.EndpointInput.Equal) && slices.Equal(a.NodeAddrs, b.NodeAddrs)
}

func (u *updater) compile() {
	u.objects = u.inventory.Objects()
	snapshot, err := netpol.Compile(u.objects)
	errs := netpol.ObjectErrors(err)
	u.snapshot = snapshot
	u.faults.tell(&u.objects, errs)
	u.metrics.policyErrors.Set(float64(len(errs)))
	u.state.setPolicyErrors(errs)
}

// load switches the datapath to the world of this moment. Flows wait meanwhile: a record of the new
// generation could not be given its names before they are written down.
func (u *updater) load(input plan.Input) error {
	u.loaded = nil
	world, err := plan.Build(u.snapshot, input)
	if err != nil {
		return fmt.Errorf("plan the policies of node %s: %w", u.node, err)
	}
	u.state.flowsMu.Lock()
	defer u.state.flowsMu.Unlock()
	u.book.Update(u.objects.Pods, u.objects.Nodes, podsByInterface(input.Endpoints), time.Now())
	generation, err := u.dataplane.Load(world)
	if generation > 0 { // the switch was made, even if something after it failed
		u.book.Loaded(generation, world)
		u.state.setLoaded(generation, world, input.Endpoints)
	}
	if err != nil {
		return fmt.Errorf("load the policies of node %s: %w", u.node, err)
	}
	u.loaded = &loaded{input: input, world: world}
	u.known = input.Endpoints
	return nil
}

func podsByInterface(endpoints []plan.EndpointInput) map[uint32]types.NamespacedName {
	pods := make(map[uint32]types.NamespacedName, len(endpoints))
	for _, e := range endpoints {
		pods[e.Ifindex] = e.Pod
	}
	return pods
}
