/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "conntrack.h"
#include "judge.h"

/* From judging connections to judging packets: connection state, generations and records. */

#define SECOND 1000000000ULL

/* What becomes of a packet. */
struct outcome {
	__u8 pass;
	__u8 reason;
	__u8 tell;     /* enum tell */
	__u8 deferred; /* not judged before it is translated */
};

/* What of a packet is kept for userspace, if the endpoint's denials are to be answered. */
enum tell { TELL_NOTHING, TELL_DENIAL, TELL_DEFERRAL };

enum hook { FROM_POD, TO_POD, FORWARDED };

/* Starts a view in the world of this moment; 0 if there is none yet. Where packets are forwarded few are judged, and
 * the time is left out. */
inlined int begin(struct view *v, __u32 ifindex, enum hook hook)
{
	__u32 zero = 0;
	struct config *c = bpf_map_lookup_elem(&config, &zero);

	if (!c)
		return 0;
	v->generation = *(volatile __u64 *)&c->generation;
	v->slot = v->generation & 1;
	v->key.ifindex = ifindex;
	v->direction = hook == TO_POD ? INGRESS : EGRESS;
	v->translated = hook == FORWARDED;
	if (hook != FORWARDED)
		v->now = bpf_ktime_get_coarse_ns();
	return v->generation != 0;
}

inlined __u64 idle_limit(const struct connection_key *key, const struct connection *c)
{
	if (key->protocol != IPPROTO_TCP && key->protocol != IPPROTO_SCTP)
		return 180 * SECOND;
	return c->flags & CONNECTION_CLOSING ? 120 * SECOND : 6 * 3600 * SECOND;
}

inlined struct connection *find_connection(const struct view *v)
{
	struct connection *c = bpf_map_lookup_elem(&connections, &v->key);

	/* now is a coarse clock and may lie behind what another CPU stored. */
	if (!c || (v->now > c->last_seen && v->now - c->last_seen > idle_limit(&v->key, c)))
		return 0;
	/* What was deferred before translation is not decided by it: a Service's address that nobody
	 * translated is judged for what it is. */
	if (v->translated && c->flags & CONNECTION_SERVICE)
		return 0;
	return c;
}

inlined void count(int pass, __u32 reason)
{
	__u32 zero = 0;
	struct counter *counter = bpf_map_lookup_elem(&counters, &zero);

	/* Keeps the value that is checked and the one that indexes in one register, for the verifier. */
	asm volatile("" : "+r"(reason));
	if (!counter || reason >= REASONS)
		return;
	if (pass)
		counter->passed[reason]++;
	else
		counter->dropped[reason]++;
}

inlined int count_lost_flow(void)
{
	__u32 zero = 0;
	struct counter *counter = bpf_map_lookup_elem(&counters, &zero);

	if (counter)
		counter->lost_flows++;
	return 0;
}

enum how { HOW_REJUDGED = 0, HOW_OPENED = 1, HOW_ADOPTED = 2 };

/* What the endpoint sent to, if that was translated. */
inlined void add_service(struct flow_key *key, const struct view *v)
{
	if (knows_conntrack() && v->has_ports && is_redirected(v->tracked))
		read_opened_to(v->tracked, is_mapped(v->key.local), key->service, &key->service_port);
}

inlined void fill_flow_key(struct flow_key *key, const struct view *v, const struct decision *d,
			   const struct decision *staged, __u8 direction)
{
	copy_address(key->local, v->key.local);
	copy_address(key->remote, v->key.remote);
	key->ifindex = v->key.ifindex;
	key->set = d->set;
	key->port = destination_port(v, direction);
	key->rule = d->rule;
	key->protocol = v->key.protocol;
	key->direction = direction;
	key->verdict = d->verdict;
	key->reason = d->reason;
	if (v->translated && direction == EGRESS)
		add_service(key, v);
	key->staged_set = staged ? staged->set : NO_SET;
	if (staged) {
		key->staged_verdict = staged->verdict;
		key->staged_rule = staged->rule;
	}
}

/* Other CPUs may add to the flow at the same time. Of what is last any will do. */
inlined int add_to_flow(struct flow *flow, const struct view *v, __u8 direction, __u8 how)
{
	if (how != HOW_REJUDGED)
		__sync_fetch_and_add(&flow->connections, 1);
	if (how == HOW_ADOPTED)
		__sync_fetch_and_add(&flow->adopted, 1);
	flow->last_seen = v->now;
	if (v->has_ports)
		flow->source_port = direction == EGRESS ? v->key.local_port : v->key.remote_port;
	return 0;
}

/* The map that flows are recorded in at this moment. */
inlined void *current_flows(void)
{
	__u32 slot = 0;
	struct config *c = bpf_map_lookup_elem(&config, &slot);

	if (!c)
		return 0;
	slot = *(volatile __u64 *)&c->epoch & 1;
	return bpf_map_lookup_elem(&flows, &slot);
}

/* Records one judgement; staged is NULL or of set NO_SET if no staged policies were asked. */
global int record(const struct view *v, const struct decision *d, const struct decision *staged, __u8 direction,
		  __u8 how)
{
	struct flow_key key = {};
	struct flow fresh = {};
	struct flow *flow;
	void *map;
	long error;

	if (!v || !d)
		return -1;
	fill_flow_key(&key, v, d, staged, direction);
	map = current_flows();
	if (!map)
		return count_lost_flow();
	flow = bpf_map_lookup_elem(map, &key);
	if (flow)
		return add_to_flow(flow, v, direction, how);
	add_to_flow(&fresh, v, direction, how);
	fresh.first_seen = v->now;
	error = bpf_map_update_elem(map, &key, &fresh, BPF_NOEXIST);
	if (likely(!error))
		return 0;
	if (error != -EEXIST)
		return count_lost_flow();
	/* Another CPU was first. Nobody removes entries while they are written to. */
	flow = bpf_map_lookup_elem(map, &key);
	return flow ? add_to_flow(flow, v, direction, how) : count_lost_flow();
}

inlined int passes(const struct decision *d)
{
	return d->verdict != DENIED;
}

/* In audit mode a denial becomes WOULD_DENY, which passes and is remembered like an allowed connection. */
inlined void apply_mode(struct decision *d, const struct endpoint *ep)
{
	if (d->verdict == DENIED && ep->mode == AUDIT)
		d->verdict = WOULD_DENY;
}

inlined void remember(const struct view *v, const struct decision *d, __u8 origin, __u8 how)
{
	struct connection c = {
		.last_seen = v->now,
		.generation = v->generation,
		.rule = d->rule,
		.origin = origin,
		.verdict = d->verdict,
		.reason = d->reason,
	};

	if (how == HOW_ADOPTED)
		c.flags |= CONNECTION_ADOPTED;
	if (d->verdict == DEFERRED)
		c.flags |= CONNECTION_SERVICE;
	if (v->flags & CLOSES)
		c.flags |= CONNECTION_CLOSING;
	/* Full is no error: the oldest entry makes room. */
	bpf_map_update_elem(&connections, &v->key, &c, BPF_ANY);
}

inlined void touch(const struct view *v, struct connection *c)
{
	/* Once a second is enough, and keeps the cache line shared. */
	if (v->now > c->last_seen + SECOND)
		c->last_seen = v->now;
	if (v->flags & CLOSES && !(c->flags & CONNECTION_CLOSING))
		c->flags |= CONNECTION_CLOSING;
}

/* Judges by the endpoint's staged policies what its live ones have judged. */
inlined void judge_staged(const struct view *v, const struct endpoint *ep, const struct decision *live,
			  __u8 direction, struct decision *staged)
{
	if (unlikely(ep->staged.set != NO_SET && live->set != NO_SET && live->verdict != DEFERRED))
		judge(v, &ep->staged, direction, staged);
}

inlined struct outcome conclude(const struct view *v, const struct endpoint *ep, struct decision *d,
				__u8 origin, __u8 how)
{
	struct outcome o = {.reason = d->reason};
	struct decision staged = {.set = NO_SET};

	apply_mode(d, ep);
	o.pass = passes(d);
	o.deferred = d->verdict == DEFERRED;
	judge_staged(v, ep, d, origin, &staged);
	if (d->verdict != DEFERRED)
		record(v, d, &staged, origin, d->verdict == DENIED ? HOW_OPENED : how);
	if (o.pass)
		remember(v, d, origin, how);
	if (unlikely(ep->reject && d->set != NO_SET))
		o.tell = !o.pass ? TELL_DENIAL : d->verdict == DEFERRED ? TELL_DEFERRAL : TELL_NOTHING;
	return o;
}

/* A TCP packet that opens nothing, of a connection that is not known: opened before the endpoint was
 * attached, or evicted. Whichever direction may have opened it admits it; a SYN-ACK is a reply. */
inlined struct outcome adopt(const struct view *v, const struct endpoint *ep)
{
	__u8 reverse = v->direction == EGRESS ? INGRESS : EGRESS;
	__u8 origin = v->flags & ANSWERS ? reverse : v->direction;
	struct decision d = {}, other = {};

	judge(v, &ep->live, origin, &d);
	if (d.verdict == DENIED && origin == v->direction) {
		judge(v, &ep->live, reverse, &other);
		if (other.verdict != DENIED)
			return conclude(v, ep, &other, reverse, HOW_ADOPTED);
	}
	return conclude(v, ep, &d, origin, HOW_ADOPTED);
}

inlined struct outcome unknown_endpoint(const struct view *v)
{
	struct outcome o = {.reason = BY_UNKNOWN_ENDPOINT};
	struct decision d = {.set = NO_SET};

	decide(&d, DENIED, BY_UNKNOWN_ENDPOINT, NO_RULE);
	record(v, &d, 0, v->direction, HOW_OPENED);
	return o;
}

inlined int is_link_local(const __u8 *address)
{
	return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

/* Whether the endpoint sends from an address that is not its own. Link-local ones belong to nobody. */
inlined int is_foreign(const struct view *v, const struct endpoint *ep)
{
	struct identity *identity;

	if (v->direction != EGRESS || v->translated || is_link_local(v->key.local))
		return 0;
	identity = lookup(&identities, v->slot, v->key.local);
	return (identity ? identity->ifindex : 0) != ep->main;
}

inlined void deny_foreign(struct decision *d)
{
	d->set = NO_SET;
	decide(d, DENIED, BY_FOREIGN_SOURCE, NO_RULE);
}

/* An outcome as global functions return it. */
inlined int pack(struct outcome o)
{
	return o.pass | o.tell << 1 | o.deferred << 3 | o.reason << 8;
}

inlined struct outcome unpack(int packed)
{
	struct outcome o = {
		.pass = packed & 1,
		.tell = packed >> 1 & 3,
		.deferred = packed >> 3 & 1,
		.reason = packed >> 8,
	};

	return o;
}

/* Judges a packet that no entry of this generation covers; c is its entry of an older one, or NULL. Returns the
 * packed outcome. */
global int judge_packet(const struct view *v, const struct endpoint *ep, const struct connection *c)
{
	struct decision d = {};
	struct outcome o;

	if (!v || !ep)
		return 0;
	if (unlikely(is_foreign(v, ep))) {
		deny_foreign(&d);
		o = conclude(v, ep, &d, EGRESS, c ? HOW_REJUDGED : HOW_OPENED);
		return pack(o);
	}
	/* A connection stays what it was opened as; an opening from the other side is another one. */
	if (c && !(v->flags & OPENS && (c->origin != v->direction || c->flags & CONNECTION_CLOSING))) {
		__u8 origin = c->origin;

		judge(v, &ep->live, origin, &d);
		o = conclude(v, ep, &d, origin, HOW_REJUDGED);
	} else if (v->key.protocol == IPPROTO_TCP && !(v->flags & OPENS)) {
		o = adopt(v, ep);
	} else {
		judge(v, &ep->live, v->direction, &d);
		o = conclude(v, ep, &d, v->direction, HOW_OPENED);
	}
	return pack(o);
}

inlined int is_covered(const struct view *v, const struct connection *c)
{
	if (c->generation != v->generation)
		return 0;
	return !(v->flags & OPENS) || (c->origin == v->direction && !(c->flags & CONNECTION_CLOSING));
}

/* The fate of a packet with known ports. */
inlined struct outcome follow(const struct view *v)
{
	struct connection *c = find_connection(v);
	struct outcome o = {.pass = 1, .reason = BY_CONNECTION};
	struct endpoint *ep;

	if (likely(c && is_covered(v, c))) {
		touch(v, c);
		o.deferred = !!(c->flags & CONNECTION_SERVICE);
		return o;
	}
	ep = endpoint_at(v, v->key.ifindex);
	if (!ep)
		return unknown_endpoint(v);
	return unpack(judge_packet(v, ep, c));
}
