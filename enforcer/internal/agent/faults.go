// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// faults tells people of policies that are wrong, once for each fault as long as it lasts.
type faults struct {
	log      *slog.Logger
	recorder record.EventRecorder
	told     map[string]bool
}

// newFaults writes Events in the name of the node's enforcer; stop ends it.
func newFaults(config Config) (f *faults, stop func(), err error) {
	client, err := kubernetes.NewForConfig(config.REST)
	if err != nil {
		return nil, nil, fmt.Errorf("make a client for Events: %w", err)
	}
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	source := corev1.EventSource{Component: "bulkhead-enforcer", Host: config.Node}
	return &faults{log: config.Log, recorder: broadcaster.NewRecorder(scheme.Scheme, source)}, broadcaster.Shutdown, nil
}

// tell logs new faults and puts them on the policies that have them.
func (f *faults) tell(all map[netpol.Key]fault) {
	current := make(map[string]bool, len(all))
	for _, of := range all {
		for _, e := range of.errs {
			current[e.Error()] = true
			if f.told[e.Error()] {
				continue
			}
			f.log.Warn("a policy is wrong; what the fault concerns allows nothing, the rest of it applies",
				"object", e.Object, "path", e.Path, "problem", e.Problem)
			f.recorder.Eventf(of.policy, corev1.EventTypeWarning, "InvalidPolicy", "%s: %s", e.Path, e.Problem)
		}
	}
	f.told = current
}
