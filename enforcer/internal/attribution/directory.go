// SPDX-License-Identifier: Apache-2.0

// Package attribution gives the datapath's records their names: which pods talked, of which workloads,
// and which policy decided.
package attribution

import (
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	"k8s.io/apimachinery/pkg/types"
)

// remember is how long a former owner of an address or an interface is remembered. Records are drained
// every few seconds at most.
const remember = 5 * time.Minute

// owner is what had an address for a time.
type owner struct {
	uid      types.UID
	endpoint *flowpb.Endpoint // shared by all flows: read only
	until    time.Time        // zero: still has it
}

// directory tells who has, and lately had, each key: an address or an interface. The last element of a
// list is the newest owner. Start times are not kept: records from before a pod was heard of are its own,
// if nobody had the key before it.
type directory[K comparable] map[K][]owner

// update makes current the owners as of now; others that had a key until now are kept for a while.
func (d directory[K]) update(current map[K]owner, now time.Time) {
	for key, owners := range d {
		newest := &owners[len(owners)-1]
		if c, still := current[key]; newest.until.IsZero() && (!still || c.uid != newest.uid) {
			newest.until = now
		}
		for len(owners) > 0 && !owners[0].until.IsZero() && now.Sub(owners[0].until) > remember {
			owners = owners[1:]
		}
		if d[key] = owners; len(owners) == 0 {
			delete(d, key)
		}
	}
	for key, c := range current {
		owners := d[key]
		if n := len(owners); n > 0 && owners[n-1].until.IsZero() {
			owners[n-1] = c // the same pod, perhaps with other labels
			continue
		}
		d[key] = append(owners, c)
	}
}

// at returns who had key at a time; nil if nobody did.
func (d directory[K]) at(key K, when time.Time) *flowpb.Endpoint {
	for _, o := range d[key] {
		if o.until.IsZero() || !when.After(o.until) {
			return o.endpoint
		}
	}
	return nil
}
