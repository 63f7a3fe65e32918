// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/apiclient"
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
	client, err := apiclient.New(config.REST, corev1.SchemeGroupVersion)
	if err != nil {
		return nil, nil, err
	}
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(events{client})
	source := corev1.EventSource{Component: "bulkhead-enforcer", Host: config.Node}
	return &faults{log: config.Log, recorder: broadcaster.NewRecorder(apiclient.Scheme, source)}, broadcaster.Shutdown, nil
}

// events is where Events are written.
type events struct{ client *rest.RESTClient }

func (e events) Create(event *corev1.Event) (*corev1.Event, error) {
	return e.send(e.client.Post(), event, event)
}

func (e events) Update(event *corev1.Event) (*corev1.Event, error) {
	return e.send(e.client.Put().Name(event.Name), event, event)
}

func (e events) Patch(event *corev1.Event, patch []byte) (*corev1.Event, error) {
	return e.send(e.client.Patch(types.StrategicMergePatchType).Name(event.Name), event, patch)
}

func (e events) send(request *rest.Request, event *corev1.Event, body any) (*corev1.Event, error) {
	written := new(corev1.Event)
	return written, request.Namespace(event.Namespace).Resource("events").Body(body).Do(context.Background()).Into(written)
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
