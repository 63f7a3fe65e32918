/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "tell.h"

/* What userspace is told of names: copies of the answers that pods get from the cluster's DNS. No verdict depends
 * on them. */

#define DNS_PORT 53
#define UDP_HEADER 8

/* Each CPU tells of so many answers a second, and of so many at once. */
#define ANSWERS_A_SECOND 500
#define ANSWERS_AT_ONCE 500

/* RFC 1035, 4.1.1. */
struct dns_header {
	__u16 id;
	__u8 flags, code;
	__u16 questions, answers, authorities, additional;
};

/* Whether there is a name to be learnt from a message: it is a response without an error, and has answers. */
inlined int has_names(const struct dns_header *h)
{
	return h->flags & 0x80 && !(h->code & 0x0f) && h->answers;
}

/* A pod is told names only by servers that it asked, and that userspace says are the cluster's. */
inlined int is_asked(const struct view *v)
{
	struct connection *c;

	if (!bpf_map_lookup_elem(&resolvers, v->key.remote))
		return 0;
	c = find_connection(v);
	return c && c->origin == EGRESS;
}

inlined void fill_names(struct dns_answer *a, const struct view *v, const struct bpf_dynptr *frame, __u32 at,
			__u32 length)
{
	__u32 captured = length < DNS_DATA ? length : DNS_DATA;

	a->ifindex = v->key.ifindex;
	a->length = length;
	a->captured = captured;
	if (bpf_dynptr_read(a->data, captured, frame, at, 0))
		a->captured = 0;
}

/* Of a plain datagram to a pod. Answers with options, extension headers or in fragments are passed over. */
global int tell_of_names(struct __sk_buff *skb, const struct view *v)
{
	struct dns_header buffer;
	const struct dns_header *header;
	struct bpf_dynptr frame;
	struct dns_answer *a;
	__u32 at;

	if (!v || !is_asked(v) || bpf_dynptr_from_skb(skb, 0, &frame))
		return 0;
	at = ETH_HLEN + (is_mapped(v->key.local) ? sizeof(struct ipv4) : sizeof(struct ipv6)) + UDP_HEADER;
	if (at + sizeof(buffer) > skb->len)
		return 0;
	header = bpf_dynptr_slice(&frame, at, &buffer, sizeof(buffer));
	if (!header || !has_names(header))
		return 0;
	if (!may_tell(ALLOWANCE_ANSWERS, v->now, ANSWERS_A_SECOND, ANSWERS_AT_ONCE))
		return count_untold(SUPPRESSED_ANSWER);
	a = bpf_ringbuf_reserve(&answers, sizeof(*a), 0);
	if (!a)
		return count_untold(LOST_ANSWER);
	fill_names(a, v, &frame, at, skb->len - at);
	bpf_ringbuf_submit(a, 0);
	return 0;
}

/* Whether a packet to a pod is from a DNS server, by its port. */
inlined int is_dns(const struct view *v)
{
	return v->key.remote_port == DNS_PORT && v->key.protocol == IPPROTO_UDP;
}
