// SPDX-License-Identifier: Apache-2.0

package review

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// fewVisitors are named one by one.
const fewVisitors = 3

// door is where clients outside of the cluster come in.
type door struct {
	to       edge.Endpoint
	protocol corev1.Protocol
	port     uint16
}

// doorOf returns where a connection comes in from outside of the cluster without a decision of a person; false: it does not.
func doorOf(c *evidence.Connection) (door, bool) {
	outside := !c.From.IsPod() && !inventory.OfCluster(c.From) && c.Accepted == nil
	return door{c.To, c.Protocol, c.Port}, outside
}

// visitors are the addresses outside that come in at each door, in the order of the connections.
func visitors(connections []evidence.Connection) map[door][]string {
	out := map[door][]string{}
	for i := range connections {
		if d, outside := doorOf(&connections[i]); outside {
			out[d] = append(out[d], connections[i].From.Addr.String())
		}
	}
	return out
}

// crowd says of a door with many visitors that there will be others: an application for everybody is seen with some of its clients.
func (d door) crowd(visitors []string) string {
	at := fmt.Sprintf("%s/%d", d.protocol, d.port)
	decision := fmt.Sprintf("- accept: {from: world, to: %s %s/%s, ports: [%s]}", d.to.Kind, d.to.Namespace, d.to.Name, at)
	return fmt.Sprintf("%d addresses outside of the cluster reach %s: %s. Whoever else comes is denied. If it is for everybody, say so in %s: %s with a reason.",
		len(visitors), code(fmt.Sprintf("%s %s", d.to, at)), code(wording.Some(visitors)), code(plan.File), code(decision))
}

// caveat is what has to be known of the proxies that a CNI runs on nodes; empty: the connection is of none.
func caveat(c evidence.Connection) string {
	if c.From.Entity != inventory.EntityIngress {
		return ""
	}
	return " It is the CNI's own proxy, at one node's address of the pods' range. Where Cilium enforces, no NetworkPolicy allows it: that takes a CiliumNetworkPolicy with `fromEntities: [ingress]`."
}
