/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "packet.h"

/* What the kernel's conntrack knows of the connections of packets. It is often a module, whose types no program may
 * name to the verifier: members are read by their offsets, as bytes that another type lends. */

union nf_inet_addr {
	__u32 all[4];
};

struct nf_conntrack_tuple {
	struct {
		union nf_inet_addr u3;
		union {
			__u16 all;
		} u;
	} dst;
} __attribute__((preserve_access_index));

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
} __attribute__((preserve_access_index));

struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2]; /* the first is of the packet that opened the connection */
	unsigned long status;                        /* enum ip_conntrack_status */
} __attribute__((preserve_access_index));

enum { IPS_DST_NAT = 1 << 5 };

struct in6_addr {
	union {
		__u32 u6_addr32[4];
	} in6_u;
} __attribute__((preserve_access_index));

#define IN_CONNECTION(member) (((struct nf_conn *)0)->member)
#define OPENED_TO IN_CONNECTION(tuplehash[0].tuple.dst)
#define LENT_BYTES (((struct in6_addr *)0)->in6_u.u6_addr32)

/* Whether this kernel describes conntrack. Of one that does not nothing else here may be asked. */
inlined int knows_conntrack(void)
{
	return has_member(IN_CONNECTION(status)) && has_member(OPENED_TO.u3) && has_member(LENT_BYTES);
}

/* The connection of a packet with this _nfct; NULL if it is not tracked. */
inlined const char *connection_of(unsigned long nfct)
{
	return (const void *)(nfct & ~(unsigned long)NFCT_INFOMASK);
}

inlined __u32 read_word(const char *address)
{
	return read_as(struct in6_addr, address)->in6_u.u6_addr32[0];
}

/* Whether a packet's connection was given another destination than the one that it was opened to. */
inlined int is_redirected(unsigned long nfct)
{
	const char *connection = connection_of(nfct);

	return connection && read_word(connection + offset_of(IN_CONNECTION(status))) & IPS_DST_NAT;
}

/* Where the connection, of a protocol with ports, was opened to. */
inlined void read_opened_to(unsigned long nfct, int ipv4, __u8 *address, __u16 *port)
{
	const char *connection = connection_of(nfct);
	const void *from = read_as(struct in6_addr, connection + offset_of(OPENED_TO.u3));

	if (ipv4)
		map_ipv4(address, *(const __u32 *)from);
	else
		copy_address(address, from);
	*port = to_host16(read_word(connection + offset_of(OPENED_TO.u)));
}
