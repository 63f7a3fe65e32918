// SPDX-License-Identifier: Apache-2.0

// Package netpol is what a Kubernetes network policy means.
//
// Objects are compiled once into an immutable [Snapshot]: parsed, defaulted (they come from YAML as
// well as from an API server), validated, and their selectors resolved. A snapshot then answers,
// for a [Connection] between two pods or addresses, whether it is allowed, and by which object,
// rule and path.
//
// The semantics are those of the NetworkPolicy v1 API reference. What that leaves open is decided
// here, once, for admission, generation and enforcement alike:
//
//   - A connection is judged by the tuple after service translation. An address of a Service is
//     resolved to its pods first, and the verdict says so.
//   - An ipBlock matches addresses, whoever owns them, pods included.
//   - Pods on the host network and nodes have no pod identity: no policy selects them and no
//     selector matches them, only an ipBlock can.
//   - Traffic from a pod's own node, and from a pod to itself, is always allowed.
//   - A pod that has completed no longer owns its address.
//
// The package has no I/O and depends on the API types alone.
package netpol
