/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "track.h"

/* What userspace asks. Programs of this file are on no hook: they run when they are called, on a frame that holds
 * the question behind an Ethernet header of zeros, and leave the answer in it. They record and remember nothing. */

/* The view of a connection that would be opened. */
inlined void imagine(struct view *v, const struct question *q)
{
	v->key.ifindex = q->ifindex;
	copy_address(v->key.local, q->local);
	copy_address(v->key.remote, q->remote);
	v->key.protocol = q->protocol;
	v->has_ports = protocol_index(q->protocol) != OTHER;
	v->direction = q->direction == EGRESS ? EGRESS : INGRESS;
	v->translated = q->translated;
	if (v->direction == EGRESS)
		v->key.remote_port = q->port;
	else
		v->key.local_port = q->port;
	v->flags = OPENS;
}

inlined void answer(struct answer *a, const struct view *v, const struct question *q)
{
	struct decision d = {.set = NO_SET}, staged = {.set = NO_SET};
	struct endpoint *ep;

	if (!v->generation) {
		decide(&d, DENIED, BY_NO_WORLD, NO_RULE);
	} else if (!(ep = endpoint_at(v, q->ifindex))) {
		decide(&d, DENIED, BY_UNKNOWN_ENDPOINT, NO_RULE);
	} else {
		if (is_foreign(v, ep))
			deny_foreign(&d);
		else
			judge(v, &ep->live, v->direction, &d);
		apply_mode(&d, ep);
		judge_staged(v, ep, &d, v->direction, &staged);
	}
	a->generation = v->generation;
	a->set = d.set;
	a->rule = d.rule;
	a->verdict = d.verdict;
	a->reason = d.reason;
	a->staged_set = staged.set;
	a->staged_rule = staged.rule;
	a->staged_verdict = staged.verdict;
}

SEC("tc")
int ask(struct __sk_buff *skb)
{
	struct view v = {};
	struct answer a = {};
	struct question buffer;
	const struct question *q;
	struct bpf_dynptr ptr;

	if (bpf_dynptr_from_skb(skb, 0, &ptr))
		return 1;
	q = bpf_dynptr_slice(&ptr, ETH_HLEN, &buffer, sizeof(buffer));
	if (!q)
		return 1;
	begin(&v, q->ifindex, FROM_POD);
	imagine(&v, q);
	answer(&a, &v, q);
	return bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(*q), &a, sizeof(a), 0) ? 1 : 0;
}

/* How many entries maps have, by the kernel's own count of them: to walk a map takes long, and makes entries that
 * nobody uses look used. */
SEC("tc")
int measure(struct __sk_buff *skb)
{
	struct fill f = {
		.endpoints = bpf_map_sum_elem_count((const struct bpf_map *)&endpoints),
		.devices = bpf_map_sum_elem_count((const struct bpf_map *)&devices),
		.connections = bpf_map_sum_elem_count((const struct bpf_map *)&connections),
		.deferrals = bpf_map_sum_elem_count((const struct bpf_map *)&deferrals),
		.fragments = bpf_map_sum_elem_count((const struct bpf_map *)&fragments),
	};
	void *map = current_flows();

	if (map)
		f.flows = bpf_map_sum_elem_count(map);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &f, sizeof(f), 0) ? 1 : 0;
}
