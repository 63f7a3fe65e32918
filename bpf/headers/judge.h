/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "maps.h"
#include "packet.h"

/* What the policies of one world say about one new connection. */

struct decision {
	__u32 set; /* policy set that judged; NO_SET if none did */
	__u8 verdict;
	__u8 reason;
	__s16 rule;
};

/* A connection as one endpoint sees it, and the world it is judged in. */
struct view {
	struct connection_key key;
	__u64 generation;
	__u64 now;
	unsigned long tracked; /* what conntrack says of the packet, as _nfct; 0 where it is not asked */
	__u32 slot;
	__u8 has_ports;
	__u8 translated; /* at a hook that sees packets after Service translation */
	__u8 direction;  /* in which this packet goes */
	__u8 flags;      /* enum packet_flag */
};

/* The endpoint at an interface in the view's world; NULL if there is none. */
inlined struct endpoint *endpoint_at(const struct view *v, __u32 ifindex)
{
	struct endpoint_key key = {.generation = v->generation, .ifindex = ifindex};

	return bpf_map_lookup_elem(&endpoints, &key);
}

/* What else is known of an interface in the view's world, enum device; NULL if nothing is. */
inlined __u8 *device_at(const struct view *v, __u32 ifindex)
{
	struct endpoint_key key = {.generation = v->generation, .ifindex = ifindex};

	return bpf_map_lookup_elem(&devices, &key);
}

inlined int lowest_bit(__u64 word)
{
	/* Counts the bits below the lowest one: BPF has no instruction for it. */
	__u64 below = (word & -word) - 1;

	below -= (below >> 1) & 0x5555555555555555ULL;
	below = (below & 0x3333333333333333ULL) + ((below >> 2) & 0x3333333333333333ULL);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return below * 0x0101010101010101ULL >> 56;
}

/* Word i of a bitmap in which all bits from bit `from` on are set. */
inlined __u64 bits_from(__u32 from, __u32 i)
{
	if (likely(from <= i * 64))
		return ~0ULL;
	return from < i * 64 + 64 ? ~0ULL << from % 64 : 0;
}

/* The first rule from `from` on, and below `to`, that is in both bitmaps; NO_RULE if there is none. */
global int first_common(const struct bitmap *a, const struct bitmap *b, __u32 from, __u32 to)
{
	if (!a || !b)
		return NO_RULE;
	for (__u32 i = 0; i < RULE_WORDS && i * 64 < to; i++) {
		__u64 both = a->words[i] & b->words[i];

		if (!both)
			continue;
		both &= bits_from(from, i);
		if (likely(both))
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

inlined int decide(struct decision *d, __u8 verdict, __u8 reason, __s16 rule)
{
	d->verdict = verdict;
	d->reason = reason;
	d->rule = rule;
	return 0;
}

enum action { ALLOW, DENY, PASS };

inlined int is_set(const struct bitmap *bits, __u32 bit)
{
	return bit < RULE_WORDS * 64 && bits->words[bit / 64] >> bit % 64 & 1;
}

/* What a rule of the Admin or the Baseline tier does; it denies if nothing is known about its set. */
global int action_of_tier(const struct view *v, const struct policies *under, __u8 direction, __u32 rule)
{
	struct policy_set *of;

	if (!v || !under)
		return DENY;
	of = lookup(&sets, v->slot, &under->set);
	if (!of || is_set(direction == EGRESS ? &of->deny[EGRESS] : &of->deny[INGRESS], rule))
		return DENY;
	return is_set(direction == EGRESS ? &of->pass[EGRESS] : &of->pass[INGRESS], rule) ? PASS : ALLOW;
}

/* NO_RULE passes: it leaves the decision to what comes next. Rules of NetworkPolicies only allow. */
inlined int action_of(const struct view *v, const struct policies *under, const struct tiers *tiers, __u8 direction,
		      int rule)
{
	if (rule == NO_RULE)
		return PASS;
	if (likely(tiers->isolated && rule >= tiers->admin))
		return ALLOW;
	return action_of_tier(v, under, direction, rule);
}

/* Returns whether a rule decided. After one that passes, the search goes on behind the Admin tier: there, the
 * one that passed only finds itself again. */
inlined int decide_by_rule(struct decision *d, const struct view *v, const struct policies *under,
			   const struct tiers *tiers, __u8 direction, const struct identity *identity)
{
	__u8 protocol = protocol_index(v->key.protocol);
	struct peer_key peer = {.set = under->set, .direction = direction};
	struct port_key port = {.set = under->set, .direction = direction, .protocol = protocol};
	struct bitmap *by_peer, *by_port;
	int rule, action;

	if (!tiers->rules)
		return 0;
	peer.class = class_of(v, identity);
	port.class = class_of_port(v, protocol, destination_port(v, direction));
	by_peer = lookup(&peers, v->slot, &peer);
	by_port = lookup(&ports, v->slot, &port);
	if (!by_peer || !by_port) {
		struct policy_set *set = lookup(&sets, v->slot, &under->set);

		if (unlikely(!set)) {
			decide(d, DENIED, BY_DENY_RULE, NO_RULE);
			return 1;
		}
		if (!by_peer)
			by_peer = direction == EGRESS ? &set->everyone[EGRESS] : &set->everyone[INGRESS];
		if (!by_port)
			by_port = direction == EGRESS ? &set->all_ports[EGRESS] : &set->all_ports[INGRESS];
	}
	rule = first_common(by_peer, by_port, 0, tiers->rules);
	action = action_of(v, under, tiers, direction, rule);
	if (unlikely(action == PASS && rule != NO_RULE)) {
		rule = first_common(by_peer, by_port, tiers->admin, tiers->rules);
		action = action_of(v, under, tiers, direction, rule);
	}
	if (action == PASS)
		return 0;
	decide(d, action == ALLOW ? ALLOWED : DENIED, action == ALLOW ? BY_RULE : BY_DENY_RULE, rule);
	return 1;
}

/* Judges a connection opened in `direction` by an endpoint's policies, as if the endpoint's mode were enforce. */
global int judge(const struct view *v, const struct policies *under, __u8 direction, struct decision *d)
{
	const struct tiers *tiers;
	struct identity *identity;
	__u8 is;

	if (!v || !under || !d)
		return -1;
	d->set = under->set;
	tiers = direction == EGRESS ? &under->tiers[EGRESS] : &under->tiers[INGRESS];
	identity = lookup(&identities, v->slot, v->key.remote);
	is = identity ? identity->flags : 0;
	if (same_address(v->key.local, v->key.remote))
		return decide(d, ALLOWED, BY_ITSELF, NO_RULE);
	if (direction == INGRESS && is & IDENTITY_NODE)
		return decide(d, ALLOWED, BY_OWN_NODE, NO_RULE);
	/* A port of the node's own addresses may lead to a Service; what does not ends at LOCAL_IN. */
	if (direction == EGRESS && is & (IDENTITY_SERVICE | IDENTITY_NODE) && !v->translated)
		return decide(d, DEFERRED, BY_SERVICE, NO_RULE);
	if (decide_by_rule(d, v, under, tiers, direction, identity))
		return 0;
	if (tiers->isolated)
		return decide(d, DENIED, BY_ISOLATION, NO_RULE);
	return decide(d, ALLOWED, BY_NO_ISOLATION, NO_RULE);
}
