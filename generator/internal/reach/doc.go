// SPDX-License-Identifier: Apache-2.0

// Package reach finds what may talk to what: workloads with each other, with addresses outside, and with
// pods that do not exist yet; and what a change of the objects changes in it.
//
// Who is asked about:
//
//   - A workload is its pods: those that exist, or one made from its template. A line holds what any of
//     them may; pods that policies treat differently are a warning. A workload's line to itself is between
//     two of its pods. Pods without an address may get any, so an ipBlock matches them only if it is of a
//     whole family without except.
//   - A workload on its node's network is an address without a pod: the node's where it is known. The
//     exception for a pod's own node is left out, because it holds for each pod and whatever policies say.
//   - Addresses that no pod has are cut along all ipBlocks and networks in use, so that all policies treat a
//     part alike. A line joins the parts with the same ports.
//   - A pod that does not exist yet stands for each selector of pods in the rules that govern a workload. It
//     has the labels that the selector asks for and no other. A namespace that exists applies its policies
//     to it. One that does not exist has no policies but the ClusterNetworkPolicies. "Any pod" has no labels
//     and is in a namespace that has none.
//
// Where neither end is a pod with an identity, no policy decides, and there is no line. A pod that does
// not exist yet has a line only for what a wider one does not have: any pod, or a selector that includes it.
// Where its labels in a namespace are those of a workload there, the workload's line is enough. The
// ports that it would name are not known, so rules with named ports do not match it.
package reach
