// SPDX-License-Identifier: Apache-2.0

// Package netpol is what a Kubernetes network policy means.
//
// Objects are compiled once into an immutable [Snapshot]: parsed, defaulted (they come from YAML as
// well as from an API server), validated, and their selectors resolved. A snapshot then answers,
// for a [Connection] between two pods or addresses, whether it is allowed, and by which object,
// rule and path. [Snapshot.Allowed] answers for all ports at once, and [Snapshot.Apply] makes the next
// snapshot after a change, at the cost of what the change reaches.
//
// The semantics are those of the API references of NetworkPolicy (networking.k8s.io/v1) and
// ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2). The decision is made in tiers: see [Tier]. What
// the references leave open is decided here, once, for admission, generation and enforcement alike.
//
// Who is who:
//
//   - An ipBlock matches addresses, whoever owns them, pods included. A pod that has no address yet is in
//     a range only if every address of a family is.
//   - Pods on the host network and nodes have no pod identity: no policy selects them and no
//     selector of pods matches them. An ipBlock can, and a ClusterNetworkPolicy's nodes.
//   - Traffic from a pod's own node, and from a pod to itself, is always allowed, whatever the tiers say.
//   - A pod that has completed no longer owns its address. An address that several pods claim belongs to the
//     one that was created last; of equals to the last by namespace and name. An address of several nodes or
//     Services belongs to the last by name. A Node's own addresses come before those of its pods.
//
// Services: a connection is judged by the tuple after service translation, and the verdict says how the
// Service was read.
//
//   - A cluster address leads to the Service's pods at their target ports, and the client keeps its address.
//   - The name of a Service leads where its cluster address does, also before it has one; that of a headless
//     Service leads to its pods at the port that the client asks for.
//   - An external address, a load balancer's and a node's port lead to the pods with externalTrafficPolicy
//     Cluster from the address of the node at which the packet enters, which the pods see as the source; with
//     Local they keep the client's address, and a node's port leads only to the pods of that node. Clients in
//     the cluster are translated on their own node, except at the port of another node.
//   - All ways that a connection can take must be allowed, because the client does not choose.
//
// Faults: a part of a NetworkPolicy that is not valid matches nothing, and the policy goes on isolating what
// it selects. A ClusterNetworkPolicy's rule with a fault matches nothing if it accepts, and denies everything
// if it denies or passes, as its reference asks.
//
// The package has no I/O and depends on the API types alone.
package netpol
