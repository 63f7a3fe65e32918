/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "packet.h"
#include "state.h"

/* What the policies of one world say about one new connection. */

struct decision {
	__u8 verdict;
	__u8 reason;
	__s16 rule;
};

/* A connection as one endpoint sees it, and the world it is judged in. */
struct view {
	struct connection_key key;
	__u64 generation;
	__u64 now;
	__u32 slot;
	__u8 has_ports;
	__u8 translated; /* at a hook that sees packets after Service translation */
	__u8 direction;  /* in which this packet goes */
	__u8 flags;      /* enum packet_flag */
};

inlined int lowest_bit(__u64 word)
{
	/* Counts the bits below the lowest one: BPF has no instruction for it. */
	__u64 below = (word & -word) - 1;

	below -= (below >> 1) & 0x5555555555555555ULL;
	below = (below & 0x3333333333333333ULL) + ((below >> 2) & 0x3333333333333333ULL);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return below * 0x0101010101010101ULL >> 56;
}

/* The first of `rules` rules that is in both bitmaps, or NO_RULE. */
global int first_common(const struct bitmap *a, const struct bitmap *b, __u32 rules)
{
	if (!a || !b)
		return NO_RULE;
	for (__u32 i = 0; i < RULE_WORDS && i * 64 < rules; i++) {
		__u64 both = a->words[i] & b->words[i];

		if (both)
			return i * 64 + lowest_bit(both);
	}
	return NO_RULE;
}

inlined __u8 protocol_index(__u8 protocol)
{
	if (protocol == IPPROTO_TCP)
		return TCP;
	if (protocol == IPPROTO_UDP)
		return UDP;
	return protocol == IPPROTO_SCTP ? SCTP : OTHER;
}

inlined __u32 class_of(const struct view *v, const struct identity *identity)
{
	struct cidr_key key = {.bits = 128};
	__u32 *class;

	if (identity && identity->flags & IDENTITY_CLASS)
		return identity->class;
	copy_address(key.address, v->key.remote);
	class = lookup(&cidrs, v->slot, &key);
	return class ? *class : 0;
}

inlined __u16 destination_port(const struct view *v, __u8 direction)
{
	if (!v->has_ports)
		return 0;
	return direction == EGRESS ? v->key.remote_port : v->key.local_port;
}

inlined __u16 class_of_port(const struct view *v, __u8 protocol, __u16 port)
{
	__u32 zero = 0, index = protocol << 16 | port;
	struct port_class_table *table;

	if (protocol == OTHER)
		return 0;
	table = lookup(&port_classes, v->slot, &zero);
	if (!table || index >= PORTS)
		return 0;
	return table->classes[index];
}

inlined int deciding_rule(const struct view *v, const struct endpoint *ep, __u8 direction,
			  const struct identity *identity)
{
	__u8 protocol = protocol_index(v->key.protocol);
	struct peer_key peer = {.set = ep->set, .direction = direction};
	struct port_key port = {.set = ep->set, .direction = direction, .protocol = protocol};
	__u32 rules = direction == EGRESS ? ep->rules[EGRESS] : ep->rules[INGRESS];

	if (!rules)
		return NO_RULE;
	peer.class = class_of(v, identity);
	port.class = class_of_port(v, protocol, destination_port(v, direction));
	return first_common(lookup(&peers, v->slot, &peer), lookup(&ports, v->slot, &port), rules);
}

inlined int decide(struct decision *d, __u8 verdict, __u8 reason, __s16 rule)
{
	d->verdict = verdict;
	d->reason = reason;
	d->rule = rule;
	return 0;
}

/* Judges a connection opened in `direction`, as if the endpoint's mode were enforce. */
global int judge(const struct view *v, const struct endpoint *ep, __u8 direction, struct decision *d)
{
	struct identity *identity;
	int isolated, rule;
	__u8 is;

	if (!v || !ep || !d)
		return -1;
	identity = lookup(&identities, v->slot, v->key.remote);
	is = identity ? identity->flags : 0;
	isolated = direction == EGRESS ? ep->isolated[EGRESS] : ep->isolated[INGRESS];
	if (same_address(v->key.local, v->key.remote))
		return decide(d, ALLOWED, BY_ITSELF, NO_RULE);
	if (direction == INGRESS && is & IDENTITY_NODE)
		return decide(d, ALLOWED, BY_OWN_NODE, NO_RULE);
	if (direction == EGRESS && is & IDENTITY_SERVICE && !v->translated)
		return decide(d, DEFERRED, BY_SERVICE, NO_RULE);
	rule = deciding_rule(v, ep, direction, identity);
	if (rule != NO_RULE)
		return decide(d, ALLOWED, BY_RULE, rule);
	if (isolated)
		return decide(d, DENIED, BY_ISOLATION, NO_RULE);
	return decide(d, ALLOWED, BY_NO_ISOLATION, NO_RULE);
}
