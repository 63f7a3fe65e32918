// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/selftest"
)

// attach puts the endpoints' interfaces under the datapath, and unknown ones, whose packets it drops. It lets go of
// all others, also of those that an earlier run left. The world that knows the endpoints must be loaded.
func (u *updater) attach(endpoints []plan.EndpointInput, unknown []uint32) (problems []error) {
	found, err := u.dataplane.Attached()
	if err != nil {
		return []error{err}
	}
	u.judged = make(map[uint32]bool, len(endpoints))
	keep := map[uint32]bool{selftest.Ifindex: true}
	for _, e := range endpoints {
		keep[e.Ifindex] = true
		if err := u.dataplane.Attach(e.Ifindex); err != nil {
			if u.network.Exists(e.Ifindex) { // else the pod's network was taken down just now
				problems = append(problems, fmt.Errorf("enforce the policies of pod %s: %w", e.Pod, err))
			}
			continue
		}
		u.judged[e.Ifindex] = true
	}
	for _, ifindex := range unknown {
		keep[ifindex] = true
		// One that cannot be attached to has vanished, or the gate is what holds it back.
		if err := u.dataplane.Attach(ifindex); err != nil {
			u.log.Debug("an interface that may be a new pod's is not held back", "ifindex", ifindex, "error", err)
		}
	}
	for _, ifindex := range found {
		if keep[ifindex] {
			continue
		}
		if err := u.dataplane.Detach(ifindex); err != nil {
			problems = append(problems, fmt.Errorf("stop enforcing at the interface of a pod that is gone: %w", err))
		}
	}
	u.state.setAttached(u.judged)
	u.metrics.endpoints.Set(float64(len(u.judged)))
	return problems
}

// cutOff is for before a world is loaded, and for when none can be. Pods that the old world knows go on under it. Others
// whose namespace is enforced must not run unjudged: their interfaces are put under the datapath, which drops
// what is of an interface that it does not know, until a world is loaded that does.
func (u *updater) cutOff(endpoints []plan.EndpointInput) (problems []error) {
	for _, e := range endpoints {
		if e.Mode != plan.Enforce || u.judged[e.Ifindex] {
			continue
		}
		if err := u.dataplane.Attach(e.Ifindex); err != nil {
			problems = append(problems, fmt.Errorf("cut pod %s off until its policies are loaded: %w", e.Pod, err))
		}
	}
	return problems
}
