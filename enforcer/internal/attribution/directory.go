// SPDX-License-Identifier: Apache-2.0

// Package attribution gives the datapath's records their names: which pods talked, of which workloads,
// and which policy decided.
package attribution

import (
	"net/netip"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// remember is how long a former owner of an address or an interface, or a policy set that is not in use any more,
// is remembered. Records are drained every few seconds at most.
const remember = 5 * time.Minute

// resident is a pod that has addresses: what flows say of it, and no more, because there are as many as pods in the
// cluster.
type resident struct {
	name       types.NamespacedName
	uid        types.UID
	labels     map[string]string // shared
	controller controller
	addrs      []netip.Addr
	// endpoint describes it, shared by all flows; nil until it is asked for, and as long as its workload is not
	// known.
	endpoint *flowpb.Endpoint
}

// controller is what a pod belongs to; the zero controller: nothing.
type controller struct{ kind, name string }

func newResident(p *corev1.Pod) *resident {
	r := &resident{
		name: types.NamespacedName{Namespace: p.Namespace, Name: p.Name}, uid: p.UID, labels: p.Labels, addrs: netpol.PodAddresses(p),
	}
	if c := metav1.GetControllerOfNoCopy(p); c != nil {
		r.controller = controller{c.Kind, c.Name}
	}
	return r
}

// tenancy is what a pod had for a time.
type tenancy struct {
	*resident
	until time.Time // zero: still has it
}

// directory tells who has, and lately had, each key: an address or an interface. The last element of a
// list is the newest. Start times are not kept: records from before a pod was heard of are its own,
// if nobody had the key before it.
type directory[K comparable] map[K][]tenancy

// begin makes r who has key as of now.
func (d directory[K]) begin(key K, r *resident, now time.Time) {
	if n := len(d[key]); n > 0 && d[key][n-1].until.IsZero() {
		if newest := &d[key][n-1]; newest.uid == r.uid {
			newest.resident = r // the same pod, perhaps with other labels
			return
		}
		d[key][n-1].until = now
	}
	d[key] = append(d[key], tenancy{resident: r})
}

// end makes r not have key any more, if it has.
func (d directory[K]) end(key K, r *resident, now time.Time) {
	if n := len(d[key]); n > 0 && d[key][n-1].until.IsZero() && d[key][n-1].uid == r.uid {
		d[key][n-1].until = now
	}
}

// forget drops what is long past.
func (d directory[K]) forget(now time.Time) {
	for key, all := range d {
		past := 0
		for past < len(all) && !all[past].until.IsZero() && now.Sub(all[past].until) > remember {
			past++
		}
		if past == len(all) {
			delete(d, key)
		} else if past > 0 {
			d[key] = append([]tenancy(nil), all[past:]...)
		}
	}
}

// at returns who had key at a time; nil if nobody did.
func (d directory[K]) at(key K, when time.Time) *resident {
	for _, t := range d[key] {
		if t.until.IsZero() || !when.After(t.until) {
			return t.resident
		}
	}
	return nil
}
