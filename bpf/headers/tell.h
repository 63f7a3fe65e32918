/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "track.h"

/* What userspace is told of denied packets, so that it can answer them. */

/* Each CPU tells of so many denials a second, and of so many at once. */
#define DENIALS_A_SECOND 100
#define DENIALS_AT_ONCE 100

inlined int may_tell(__u32 what, __u64 now, __u32 a_second, __u32 at_once)
{
	struct allowance *a = bpf_map_lookup_elem(&allowances, &what);
	__u64 earned;

	if (!a)
		return 0;
	/* One clock is coarser than the other: it may lie behind. */
	earned = now > a->since ? (now - a->since) / (SECOND / a_second) : 0;
	if (earned) {
		a->since = now;
		a->left = earned + a->left < at_once ? earned + a->left : at_once;
	}
	if (!a->left)
		return 0;
	a->left--;
	return 1;
}

enum untold { SUPPRESSED_DENIAL, LOST_DENIAL, SUPPRESSED_ANSWER, LOST_ANSWER };

inlined int count_untold(enum untold what)
{
	__u32 zero = 0;
	struct counter *counter = bpf_map_lookup_elem(&counters, &zero);

	if (!counter)
		return 0;
	if (what == SUPPRESSED_DENIAL)
		counter->suppressed_denials++;
	else if (what == LOST_DENIAL)
		counter->lost_denials++;
	else if (what == SUPPRESSED_ANSWER)
		counter->suppressed_answers++;
	else
		counter->lost_answers++;
	return 0;
}

inlined struct deferral_key deferral_key(const struct view *v)
{
	struct deferral_key key = {
		.ifindex = v->key.ifindex,
		.local_port = v->key.local_port,
		.protocol = v->key.protocol,
	};

	copy_address(key.local, v->key.local);
	return key;
}

/* Keeps what a packet to a Service looks like before translation. */
inlined int keep_deferral(const struct view *v, const struct bpf_dynptr *frame)
{
	struct deferral_key key = deferral_key(v);
	struct deferral d = {.service_port = v->key.remote_port};

	copy_address(d.service, v->key.remote);
	if (bpf_dynptr_read(d.ethernet, sizeof(d.ethernet), frame, 0, 0))
		return 0;
	bpf_map_update_elem(&deferrals, &key, &d, BPF_ANY);
	return 0;
}

inlined void add_deferral(struct denial *d, const struct view *v)
{
	struct deferral_key key = deferral_key(v);
	struct deferral *kept = bpf_map_lookup_elem(&deferrals, &key);

	if (!kept)
		return;
	copy_address(d->service, kept->service);
	d->service_port = kept->service_port;
	__builtin_memcpy(d->ethernet, kept->ethernet, sizeof(d->ethernet));
}

/* Tells of a packet that starts at its IP header after `offset` bytes. No answer is due to an ICMP error. */
inlined int tell_denial(const struct view *v, const struct bpf_dynptr *packet, __u32 offset)
{
	__u32 size = bpf_dynptr_size(packet);
	struct denial *d;

	if (v->flags & ICMP_ERROR || size <= offset)
		return 0;
	if (!may_tell(ALLOWANCE_DENIALS, v->now, DENIALS_A_SECOND, DENIALS_AT_ONCE))
		return count_untold(SUPPRESSED_DENIAL);
	d = bpf_ringbuf_reserve(&denials, sizeof(*d), 0);
	if (!d)
		return count_untold(LOST_DENIAL);
	__builtin_memset(d, 0, sizeof(*d));
	d->time = v->now;
	d->ifindex = v->key.ifindex;
	d->direction = v->direction;
	d->length = size - offset;
	d->captured = d->length < DENIAL_DATA ? d->length : DENIAL_DATA;
	if (bpf_dynptr_read(d->data, d->captured, packet, offset, 0))
		d->captured = 0;
	if (v->direction == EGRESS) {
		if (v->translated)
			add_deferral(d, v);
		else
			bpf_dynptr_read(d->ethernet, sizeof(d->ethernet), packet, 0, 0);
	}
	bpf_ringbuf_submit(d, 0);
	return 0;
}

global int tell_of_frame(struct __sk_buff *skb, const struct view *v, int what)
{
	struct bpf_dynptr ptr;

	if (!v || bpf_dynptr_from_skb(skb, 0, &ptr))
		return 0;
	return what == TELL_DEFERRAL ? keep_deferral(v, &ptr) : tell_denial(v, &ptr, ETH_HLEN);
}

global int tell_of_forwarded(struct bpf_nf_ctx *ctx, const struct view *v)
{
	struct bpf_dynptr ptr;

	if (!v || bpf_dynptr_from_skb((struct __sk_buff *)ctx->skb, 0, &ptr))
		return 0;
	return tell_denial(v, &ptr, 0);
}
