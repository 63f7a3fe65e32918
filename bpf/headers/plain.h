/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "track.h"

/* Almost all packets are plain: IP without options, extension headers or fragments, and then TCP or UDP, with their
 * headers in one piece. These are read in place, which takes a fraction of the time that parsing takes. What is
 * not plain may be right or wrong. */

/* Fills the view from the header of transport at this offset of the frame. offset and hook are constants, and folded
 * away. */
inlined int read_plain_transport(struct view *v, enum hook hook, const __u8 *frame, const __u8 *end, __u32 offset,
				 __u32 length)
{
	const __u8 *l4 = frame + offset;
	const __u16 *ports = (const void *)l4;

	if (l4 + 8 > end)
		return 0;
	v->key.local_port = to_host16(ports[hook == TO_POD]);
	v->key.remote_port = to_host16(ports[hook != TO_POD]);
	v->has_ports = 1;
	if (v->key.protocol == IPPROTO_UDP)
		return length >= 8;
	if (v->key.protocol != IPPROTO_TCP || l4 + 20 > end || l4[12] < 0x50)
		return 0;
	v->flags = tcp_flags(l4[13]);
	return length >= (l4[12] >> 4) * 4;
}

inlined int read_plain_ipv4(struct __sk_buff *skb, struct view *v, enum hook hook, const __u8 *frame, const __u8 *end)
{
	const struct ipv4 *ip = (const void *)(frame + ETH_HLEN);
	__u32 length;

	if (frame + ETH_HLEN + sizeof(*ip) > end || ip->version_ihl != 0x45 || ip->fragment & to_host16(0x3fff))
		return 0;
	length = to_host16(ip->length);
	if (length < sizeof(*ip) || ETH_HLEN + length > skb->len)
		return 0;
	map_ipv4(v->key.local, hook == TO_POD ? ip->destination : ip->source);
	map_ipv4(v->key.remote, hook == TO_POD ? ip->source : ip->destination);
	v->key.protocol = ip->protocol;
	return read_plain_transport(v, hook, frame, end, ETH_HLEN + sizeof(*ip), length - sizeof(*ip));
}

inlined int read_plain_ipv6(struct __sk_buff *skb, struct view *v, enum hook hook, const __u8 *frame, const __u8 *end)
{
	const struct ipv6 *ip = (const void *)(frame + ETH_HLEN);
	__u32 length;

	/* What begins with zeros may be a mapped address. */
	if (frame + ETH_HLEN + sizeof(*ip) > end || ip->version_class >> 4 != 6 || !ip->source[0] || !ip->destination[0])
		return 0;
	length = to_host16(ip->length);
	if (ETH_HLEN + sizeof(*ip) + length > skb->len)
		return 0;
	copy_address(v->key.local, hook == TO_POD ? ip->destination : ip->source);
	copy_address(v->key.remote, hook == TO_POD ? ip->source : ip->destination);
	v->key.protocol = ip->next;
	return read_plain_transport(v, hook, frame, end, ETH_HLEN + sizeof(*ip), length);
}

/* Fills the view with what a plain packet says. Returns 0 for any other, of which nothing in the view may be used. */
inlined int read_plain(struct __sk_buff *skb, struct view *v, enum hook hook)
{
	const __u8 *frame = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u16 type;

	if (frame + ETH_HLEN > end)
		return 0;
	type = *(const __u16 *)(frame + 12);
	if (type == to_host16(ETH_P_IP))
		return read_plain_ipv4(skb, v, hook, frame, end);
	return type == to_host16(ETH_P_IPV6) && read_plain_ipv6(skb, v, hook, frame, end);
}
