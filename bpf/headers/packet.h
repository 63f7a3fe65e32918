/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "kernel.h"
#include "state.h"

/* From bytes to the few facts that a verdict needs. Works on any packet that starts at its IP header
 * after `offset` bytes, linear or not. */

enum parsed {
	PARSED,
	PARSED_FRAGMENT, /* not the first: no ports */
	PARSED_LINK_PROTOCOL,
	PARSED_MALFORMED,
};

enum packet_flag {
	OPENS = 1,          /* TCP SYN without ACK, ICMP echo request: begins a connection */
	ANSWERS = 2,        /* TCP SYN with ACK: only ever a reply */
	CLOSES = 4,         /* TCP FIN or RST */
	FIRST_FRAGMENT = 8, /* more fragments follow */
	ICMP_ERROR = 16,    /* quotes the packet that it is about at `quoted` */
};

struct packet {
	__u8 source[16];
	__u8 destination[16];
	__u32 fragment_id;
	__u32 quoted; /* offset of the packet that an ICMP error quotes */
	__u32 end;    /* offset at which the packet ends; behind it is padding */
	__u16 at;     /* offset of a fragment's data in the datagram */
	__u16 judged; /* of a first fragment: how much of the datagram was read */
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 flags;
	__u8 has_ports; /* ports are ports, not an echo identifier */
	__u8 family;    /* 4 or 6 */
};

inlined void copy_address(void *to, const void *from)
{
	__u32 *t = to;
	const __u32 *f = from;

	t[0] = f[0];
	t[1] = f[1];
	t[2] = f[2];
	t[3] = f[3];
}

inlined int same_address(const void *a, const void *b)
{
	const __u32 *x = a, *y = b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

inlined void map_ipv4(void *to, __u32 address)
{
	__u32 *t = to;

	t[0] = 0;
	t[1] = 0;
	t[2] = __builtin_bswap32(0xffff);
	t[3] = address;
}

inlined int parse_icmp(struct packet *p, const __u8 *l4, __u32 offset)
{
	__u8 type = l4[0];
	__u16 echo = 0;

	if (p->family == 4) {
		if (type == 8 || type == 0)
			echo = 1;
		if (type == 8)
			p->flags |= OPENS;
		if (type == 3 || type == 4 || type == 11 || type == 12)
			p->flags |= ICMP_ERROR;
	} else {
		if (type == 128 || type == 129)
			echo = 1;
		if (type == 128)
			p->flags |= OPENS;
		if (type >= 1 && type <= 4)
			p->flags |= ICMP_ERROR;
	}
	/* The identifier keeps several pings between two hosts apart. */
	if (echo)
		p->source_port = p->destination_port = l4[4] << 8 | l4[5];
	p->quoted = offset + 8;
	return PARSED;
}

inlined void set_ports(struct packet *p, const __u8 *l4)
{
	p->source_port = l4[0] << 8 | l4[1];
	p->destination_port = l4[2] << 8 | l4[3];
}

/* enum packet_flag of a TCP segment, by the byte of its header that has FIN, SYN, RST and ACK. */
inlined __u8 tcp_flags(__u8 bits)
{
	__u8 syn = bits >> 1 & 1, ack = bits >> 4 & 1, fin_or_rst = (bits | bits >> 2) & 1;

	return (syn & ~ack) * OPENS | (syn & ack) * ANSWERS | fin_or_rst * CLOSES;
}

inlined int parse_tcp(struct packet *p, const struct bpf_dynptr *ptr, __u32 offset, __u32 end)
{
	__u8 buffer[20];
	const __u8 *l4;
	__u32 header;

	if (offset + sizeof(buffer) > end)
		return PARSED_MALFORMED;
	l4 = bpf_dynptr_slice(ptr, offset, buffer, sizeof(buffer));
	if (!l4)
		return PARSED_MALFORMED;
	header = (l4[12] >> 4) * 4;
	if (header < sizeof(buffer) || offset + header > end)
		return PARSED_MALFORMED;
	set_ports(p, l4);
	p->flags |= tcp_flags(l4[13]);
	return PARSED;
}

/* Of a quoted packet only 8 bytes after the IP header are sure to be there: enough for ports. */
inlined int parse_transport(struct packet *p, const struct bpf_dynptr *ptr, __u32 offset, __u32 end,
			    int quoted)
{
	__u8 buffer[8];
	const __u8 *l4;
	__u8 protocol = p->protocol;
	int icmp = p->family == 4 ? protocol == IPPROTO_ICMP : protocol == IPPROTO_ICMPV6;

	p->has_ports = protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
	if (!p->has_ports && !icmp)
		return PARSED;
	if (likely(protocol == IPPROTO_TCP && !quoted))
		return parse_tcp(p, ptr, offset, end);
	if (offset + 8 > end || (!quoted && protocol == IPPROTO_SCTP && offset + 12 > end))
		return PARSED_MALFORMED;
	l4 = bpf_dynptr_slice(ptr, offset, buffer, sizeof(buffer));
	if (!l4)
		return PARSED_MALFORMED;
	if (icmp)
		return parse_icmp(p, l4, offset);
	set_ports(p, l4);
	return PARSED;
}

/* How much of a transport header is judged. A later fragment must not be able to overwrite it. */
inlined __u32 transport_size(__u8 protocol)
{
	return protocol == IPPROTO_TCP ? 20 : 8;
}

inlined int fragment_overlaps(__u8 protocol, __u32 at)
{
	return at < transport_size(protocol);
}

/* Where the IP packet ends, 0 if it claims more than there is. A length of 0 is what the kernel writes
 * for packets beyond 64 KiB that it joined itself (BIG TCP). */
inlined __u32 packet_end(__u32 offset, __u32 length, __u32 size)
{
	if (!length)
		return size - offset > 65535 ? size : 0;
	return offset + length > size ? 0 : offset + length;
}

inlined int parse_ipv4(struct packet *p, const struct bpf_dynptr *ptr, __u32 offset, __u32 size, int quoted)
{
	__u32 buffer[5];
	const struct ipv4 *ip = bpf_dynptr_slice(ptr, offset, buffer, sizeof(buffer));
	__u32 header, end, at;
	__u16 fragment;

	if (!ip || ip->version_ihl >> 4 != 4)
		return PARSED_MALFORMED;
	header = (ip->version_ihl & 15) * 4;
	end = quoted ? quoted : packet_end(offset, to_host16(ip->length), size);
	if (header < 20 || offset + header > end)
		return PARSED_MALFORMED;
	p->end = end;
	p->family = 4;
	p->protocol = ip->protocol;
	map_ipv4(p->source, ip->source);
	map_ipv4(p->destination, ip->destination);
	p->fragment_id = ip->id;
	fragment = to_host16(ip->fragment);
	at = (fragment & 0x1fff) * 8;
	p->at = at;
	p->judged = transport_size(p->protocol);
	if (at)
		return fragment_overlaps(p->protocol, at) ? PARSED_MALFORMED : PARSED_FRAGMENT;
	if (fragment & 0x2000)
		p->flags |= FIRST_FRAGMENT;
	return parse_transport(p, ptr, offset + header, end, quoted);
}

inlined int is_mapped(const void *of)
{
	const __u32 *address = of;

	return !address[0] && !address[1] && address[2] == __builtin_bswap32(0xffff);
}

/* Neighbour discovery (RFC 4861 requires hop limit 255) and multicast listener discovery (RFC 3810
 * requires 1) never leave the link. */
inlined int is_link_protocol(const struct packet *p, const struct bpf_dynptr *ptr, __u32 offset, __u32 end, __u8 hops)
{
	__u8 buffer[4];
	const __u8 *icmp;

	if (p->protocol != IPPROTO_ICMPV6 || (hops != 255 && hops != 1) || offset + 8 > end)
		return 0;
	icmp = bpf_dynptr_slice(ptr, offset, buffer, sizeof(buffer));
	if (!icmp)
		return 0;
	if (hops == 255)
		return icmp[0] >= 133 && icmp[0] <= 137;
	return (icmp[0] >= 130 && icmp[0] <= 132) || icmp[0] == 143;
}

inlined int parse_ipv6(struct packet *p, const struct bpf_dynptr *ptr, __u32 offset, __u32 size, int quoted)
{
	__u32 buffer[10];
	const struct ipv6 *ip = bpf_dynptr_slice(ptr, offset, buffer, sizeof(buffer));
	__u32 end, length;
	__u8 hops;

	if (!ip || ip->version_class >> 4 != 6)
		return PARSED_MALFORMED;
	length = to_host16(ip->length);
	end = quoted ? quoted : packet_end(offset, length ? length + 40 : 0, size);
	/* A mapped address on the wire would pass for IPv4's (RFC 4942, 2.2). */
	if (is_mapped(ip->source) || is_mapped(ip->destination))
		return PARSED_MALFORMED;
	p->family = 6;
	p->protocol = ip->next;
	hops = ip->hops;
	copy_address(p->source, ip->source);
	copy_address(p->destination, ip->destination);
	/* A packet with no payload at all has length 0 too; it has nothing to judge ports by. */
	if (!quoted && !length && size == offset + 40)
		end = size;
	p->end = end;
	offset += 40;

	for (int i = 0; i < 8; i++) {
		__u8 extension[8];
		const __u8 *header;
		__u8 next = p->protocol;
		__u32 at;

		if (offset > end)
			return PARSED_MALFORMED;
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT && next != IPPROTO_AH) {
			if (!quoted && !(p->flags & FIRST_FRAGMENT) && is_link_protocol(p, ptr, offset, end, hops))
				return PARSED_LINK_PROTOCOL;
			p->judged = offset - p->at + transport_size(p->protocol);
			p->at = 0;
			return parse_transport(p, ptr, offset, end, quoted);
		}
		header = bpf_dynptr_slice(ptr, offset, extension, sizeof(extension));
		if (!header || offset + 8 > end)
			return PARSED_MALFORMED;
		p->protocol = header[0];
		if (next == IPPROTO_FRAGMENT) {
			p->fragment_id = header[4] << 24 | header[5] << 16 | header[6] << 8 | header[7];
			at = (header[2] << 8 | header[3]) & 0xfff8;
			p->at = at;
			if (at)
				return fragment_overlaps(p->protocol, at) ? PARSED_MALFORMED : PARSED_FRAGMENT;
			if (header[3] & 1)
				p->flags |= FIRST_FRAGMENT;
			offset += 8;
			p->at = offset; /* where the datagram's data begin, until its header is found */
		} else if (next == IPPROTO_AH) {
			offset += (header[1] + 2) * 4;
		} else {
			/* With segments left the destination address is not where it ends up. */
			if (next == IPPROTO_ROUTING && header[3])
				return PARSED_MALFORMED;
			offset += (header[1] + 1) * 8;
		}
	}
	return PARSED_MALFORMED;
}

inlined int parse_at(const struct bpf_dynptr *ptr, __u32 size, __u32 offset, __u32 family, int quoted,
		     struct packet *p)
{
	if (offset > size)
		return PARSED_MALFORMED;
	return family == 4 ? parse_ipv4(p, ptr, offset, size, quoted) : parse_ipv6(p, ptr, offset, size, quoted);
}

/* Parsing is verified once for TCX and once for netfilter, which hand packets over differently. p must be
 * zero. quoted is where the packet around a quoted one ends; 0: it is not quoted. */
global int parse_frame(struct __sk_buff *skb, __u32 offset, __u32 family, int quoted, struct packet *p)
{
	struct bpf_dynptr ptr;

	if (!p || bpf_dynptr_from_skb(skb, 0, &ptr))
		return PARSED_MALFORMED;
	return parse_at(&ptr, skb->len, offset, family, quoted, p);
}

global int parse_forwarded(struct bpf_nf_ctx *ctx, __u32 offset, __u32 family, int quoted, struct packet *p)
{
	struct bpf_dynptr ptr;

	if (!p || bpf_dynptr_from_skb((struct __sk_buff *)ctx->skb, 0, &ptr))
		return PARSED_MALFORMED;
	return parse_at(&ptr, bpf_dynptr_size(&ptr), offset, family, quoted, p);
}
