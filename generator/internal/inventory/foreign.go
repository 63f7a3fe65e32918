// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"strings"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// origin tells flows of this cluster from those of another one.
type origin struct {
	inv        *Inventory
	nodes      map[string]bool
	named      uint64 // ends that are pods by the flow's word
	strange    uint64 // of these, in namespaces that the inventory does not have
	namespaces edge.Set
	at         map[string]bool // nodes of flows; true: the inventory has it
}

func newOrigin(inv *Inventory) *origin {
	o := &origin{inv: inv, nodes: map[string]bool{}, at: map[string]bool{}}
	for _, name := range inv.nodes {
		o.nodes[name] = true
	}
	return o
}

// pod takes notice of an end that is a pod by the flow's word. strange: the inventory does not have its namespace.
func (o *origin) pod(namespace string, strange bool) {
	o.named++
	if strange {
		o.strange++
		o.namespaces.Add(namespace)
	}
}

// node takes notice of the node that a flow is of.
func (o *origin) node(name string) {
	if _, known := o.at[name]; !known && name != "" && len(o.at) < maxNodes {
		o.at[name] = o.nodes[nodeOf(name)]
	}
}

// check is an error when the flows are of another cluster: most pods are in namespaces that the inventory
// does not have, or none of the nodes is in it. An inventory without any of these is no witness.
func (o *origin) check() error {
	if len(o.inv.known) > 0 && o.strange > o.named/2 {
		return fmt.Errorf("flows of another cluster: %d of %d pods in them are in namespaces that the inventory does not have, such as %s; give the inventory of the cluster that the flows are of",
			o.strange, o.named, strings.Join(o.namespaces[:min(len(o.namespaces), 3)], ", "))
	}
	var strangers edge.Set
	for name, known := range o.at {
		if known {
			return nil
		}
		strangers.Add(name)
	}
	if len(o.nodes) > 0 && len(strangers) > 0 {
		return fmt.Errorf("flows of another cluster: none of their %d nodes is in the inventory, such as %s; give the inventory of the cluster that the flows are of",
			len(o.at), strings.Join(strangers[:min(len(strangers), 3)], ", "))
	}
	return nil
}
