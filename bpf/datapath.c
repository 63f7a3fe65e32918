//go:build ignore
/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */

/* One judge at three hooks:
 *   from_pod   TCX ingress of the host's side of a pod's veth: what the pod sends
 *   to_pod     TCX egress of the same device: what the pod receives
 *   forwarded  netfilter FORWARD and LOCAL_IN: what the pod sends to a Service, after translation
 * Each judgement is made in one world: the generation is read once. */

#include "headers/ask.h"
#include "headers/names.h"
#include "headers/plain.h"

char licence[] SEC("license") = "Dual BSD/GPL";

/* A packet at a hook. The hook is a constant wherever this is used, and folded away. */
struct source {
	void *ctx;
	enum hook hook;
};

inlined int parse(struct source s, __u32 offset, __u32 family, int quoted, struct packet *p)
{
	if (s.hook == FORWARDED)
		return parse_forwarded(s.ctx, offset, family, quoted, p);
	return parse_frame(s.ctx, offset, family, quoted, p);
}

#define FRAGMENT_LIFETIME (30 * SECOND)

inlined struct outcome pass(__u8 reason)
{
	struct outcome o = {.pass = 1, .reason = reason};
	return o;
}

inlined struct outcome drop(__u8 reason)
{
	struct outcome o = {.reason = reason};
	return o;
}

/* Without ports there is no rule to ask: drop, unless the endpoint is only audited. */
inlined struct outcome refuse(const struct view *v, __u8 reason)
{
	struct endpoint *ep = endpoint_at(v, v->key.ifindex);
	struct outcome o = {.pass = ep && ep->mode == AUDIT, .reason = reason};
	return o;
}

inlined void orient(struct view *v, const struct packet *p)
{
	int out = v->direction == EGRESS;

	copy_address(v->key.local, out ? p->source : p->destination);
	copy_address(v->key.remote, out ? p->destination : p->source);
	v->key.local_port = out ? p->source_port : p->destination_port;
	v->key.remote_port = out ? p->destination_port : p->source_port;
	v->key.protocol = p->protocol;
	v->has_ports = p->has_ports;
	v->flags = p->flags;
}

inlined struct fragment_key fragment_key(const struct view *v, const struct packet *p)
{
	struct fragment_key key = {
		.ifindex = v->key.ifindex,
		.id = p->fragment_id,
		/* IPv6 numbers fragments without regard to the protocol (RFC 8200, 4.5). */
		.protocol = p->family == 4 ? p->protocol : 0,
	};

	copy_address(key.source, p->source);
	copy_address(key.destination, p->destination);
	return key;
}

global int remember_fragment(const struct view *v, const struct packet *p)
{
	struct fragment f = {};
	struct fragment_key key;

	if (!v || !p)
		return 0;
	key = fragment_key(v, p);
	f.seen = v->now;
	f.source_port = p->source_port;
	f.destination_port = p->destination_port;
	f.judged = p->judged;
	f.protocol = p->protocol;
	f.has_ports = p->has_ports;
	bpf_map_update_elem(&fragments, &key, &f, BPF_ANY);
	return 0;
}

/* Gives a fragment without ports those of the first one; BY_NOTHING, or why it cannot. */
global int recall_fragment(struct view *v, const struct packet *p)
{
	struct fragment *first;
	struct fragment_key key;

	if (!v || !p)
		return BY_LOST_FRAGMENT;
	key = fragment_key(v, p);
	first = bpf_map_lookup_elem(&fragments, &key);
	if (!first || v->now >= first->seen + FRAGMENT_LIFETIME)
		return BY_LOST_FRAGMENT;
	if (p->at < first->judged)
		return BY_MALFORMATION;
	orient(v, p);
	v->key.local_port = v->direction == EGRESS ? first->source_port : first->destination_port;
	v->key.remote_port = v->direction == EGRESS ? first->destination_port : first->source_port;
	v->key.protocol = first->protocol;
	v->has_ports = first->has_ports;
	return BY_NOTHING;
}

/* Whether an ICMP error is about a connection of the endpoint that this world lets through. The quoted
 * packet went the other way: its source is who the error is sent to. */
inlined int quotes_connection(struct source s, const struct packet *error, const struct view *v)
{
	struct packet quoted = {};
	struct view about = {};
	struct connection *c;

	if (!error || !v || parse(s, error->quoted, error->family, error->end, &quoted) != PARSED)
		return 0;
	if (!same_address(quoted.source, error->destination))
		return 0;
	about.now = v->now;
	about.direction = v->direction == EGRESS ? INGRESS : EGRESS;
	about.key.ifindex = v->key.ifindex;
	orient(&about, &quoted);
	c = find_connection(&about);
	return c && c->generation == v->generation;
}

global int frame_is_related(struct __sk_buff *skb, const struct packet *error, const struct view *v)
{
	struct source s = {skb, TO_POD};
	return quotes_connection(s, error, v);
}

global int forwarded_is_related(struct bpf_nf_ctx *ctx, const struct packet *error, const struct view *v)
{
	struct source s = {ctx, FORWARDED};
	return quotes_connection(s, error, v);
}

inlined int is_related(struct source s, const struct packet *error, const struct view *v)
{
	return s.hook == FORWARDED ? forwarded_is_related(s.ctx, error, v) : frame_is_related(s.ctx, error, v);
}

inlined void tell(struct source s, const struct view *v, int what)
{
	if (s.hook == FORWARDED)
		tell_of_forwarded(s.ctx, v);
	else
		tell_of_frame(s.ctx, v, what);
}

inlined struct outcome inspect_packet(struct source s, struct view *v, int parsed, const struct packet *p)
{
	struct outcome o;
	int lost;

	if (unlikely(parsed == PARSED_LINK_PROTOCOL))
		return pass(BY_LINK_PROTOCOL);
	if (unlikely(!v->generation))
		return drop(BY_NO_WORLD);
	if (unlikely(parsed == PARSED_FRAGMENT)) {
		/* What was let through may be revoked by now. */
		lost = recall_fragment(v, p);
		if (lost)
			return refuse(v, lost);
	} else if (unlikely(parsed != PARSED)) {
		return refuse(v, BY_MALFORMATION);
	} else {
		orient(v, p);
	}
	if (unlikely(p->flags & ICMP_ERROR) && is_related(s, p, v))
		return pass(BY_RELATED_ERROR);
	o = follow(v);
	if (unlikely(parsed == PARSED_FRAGMENT) && o.pass)
		o.reason = BY_FIRST_FRAGMENT;
	if (unlikely(o.tell))
		tell(s, v, o.tell);
	if (unlikely(p->flags & FIRST_FRAGMENT) && o.pass)
		remember_fragment(v, p);
	return o;
}

inlined struct outcome inspect_ip(struct source s, struct view *v, __u32 offset, __u32 family)
{
	struct packet p = {};
	int parsed = parse(s, offset, family, 0, &p);

	return inspect_packet(s, v, parsed, &p);
}

/* A packet that is not plain, and may be anything; returns the packed outcome. It is away from the path of most
 * packets, which is short enough to stay in the processor's caches. */
global int inspect_odd_frame(struct __sk_buff *skb, struct view *v)
{
	struct source s = {skb, TO_POD};
	/* The kernel keeps the Ethernet header in one piece at the front, unlike all that follows. */
	const __u8 *frame = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u16 type;

	if (!v)
		return 0;
	if (frame + ETH_HLEN > end)
		return pack(refuse(v, BY_MALFORMATION));
	type = frame[12] << 8 | frame[13];
	if (likely(type == ETH_P_IP || type == ETH_P_IPV6))
		return pack(inspect_ip(s, v, ETH_HLEN, type == ETH_P_IP ? 4 : 6));
	return pack(type == ETH_P_ARP ? pass(BY_LINK_PROTOCOL) : refuse(v, BY_ETHERTYPE));
}

inlined struct outcome inspect_frame(struct __sk_buff *skb, enum hook hook)
{
	struct source s = {skb, hook};
	struct view v = {};
	struct outcome o;

	begin(&v, skb->ifindex, hook);
	/* With no world yet only what resolves addresses passes. */
	if (unlikely(!v.generation || !read_plain(skb, &v, hook)))
		return unpack(inspect_odd_frame(skb, &v));
	o = follow(&v);
	if (unlikely(o.tell))
		tell(s, &v, o.tell);
	if (hook == TO_POD && unlikely(is_dns(&v)) && o.pass)
		tell_of_names(skb, &v);
	return o;
}

inlined int tcx(struct outcome o)
{
	count(o.pass, o.reason);
	/* TCX_NEXT: programs of others on this device still have their say. */
	return o.pass ? TCX_NEXT : TCX_DROP;
}

SEC("tcx/ingress")
int from_pod(struct __sk_buff *skb)
{
	struct outcome o = inspect_frame(skb, FROM_POD);

	skb->tc_index = o.pass && !o.deferred ? JUDGED : 0;
	return tcx(o);
}

SEC("tcx/egress")
int to_pod(struct __sk_buff *skb)
{
	return tcx(inspect_frame(skb, TO_POD));
}

inlined __u32 family_of(const struct nf_hook_state *state)
{
	return state->pf == NFPROTO_IPV4 ? 4 : 6;
}

inlined int is_veth(const struct net_device *device)
{
	const char *kind = device->rtnl_link_ops->kind;
	const __u8 *byte = read_as(struct ethhdr, kind)->h_dest;

	return byte[0] == 'v' && byte[1] == 'e' && byte[2] == 't' && byte[3] == 'h' && !byte[4];
}

/* What kind of device one without an endpoint is: enum device, UNKNOWN_POD, or 0 if that does not matter. */
#define UNKNOWN_POD 255

inlined __u8 kind_of(const struct view *v, const struct net_device *device)
{
	__u8 *kind;

	if (!device_at(v, GATE))
		return 0;
	kind = device_at(v, device->ifindex);
	if (kind)
		return *kind;
	return is_veth(device) ? UNKNOWN_POD : 0;
}

/* Whether what comes from or goes to a device of this kind is a pod's that may not be known. */
inlined int is_of_pods(__u8 kind)
{
	return kind == UNKNOWN_POD || kind == DEVICE_SHARED;
}

/* Where a packet at FORWARD or LOCAL_IN comes from or goes to. */
struct place {
	struct endpoint *ep; /* NULL: to no pod that the world knows */
	__u8 unknown;        /* to a pod that it does not know */
};

/* An endpoint is found by its device and, where that is a bridge or another that many share, by its address. The
 * source is to be trusted: from_pod checked it at the veth. A veth without an endpoint is never asked for its
 * address: a pod that is not judged yet may have taken one that is another's. */
inlined struct place find_place(struct view *v, const struct net_device *device, const void *address)
{
	struct place at = {};
	struct identity *identity;
	__u8 kind;

	v->key.ifindex = device->ifindex;
	at.ep = endpoint_at(v, v->key.ifindex);
	if (at.ep)
		return at;
	kind = kind_of(v, device);
	at.unknown = is_of_pods(kind);
	if (kind == UNKNOWN_POD)
		return at;
	identity = lookup(&identities, v->slot, address);
	if (!identity || !identity->ifindex)
		return at;
	at.ep = endpoint_at(v, identity->ifindex);
	if (!at.ep)
		return at;
	v->key.ifindex = identity->ifindex;
	at.unknown = 0;
	return at;
}

/* Cuts off what is of a pod that the world does not know, other than its answers to the node: the node may talk
 * to any pod, and TCP that opens nothing goes no further than a connection that the node has opened. */
inlined int stop_unknown(struct bpf_nf_ctx *ctx, struct view *v, __u8 direction, int parsed, const struct packet *p)
{
	struct decision d = {.set = NO_SET};

	if (parsed == PARSED_LINK_PROTOCOL)
		return 1;
	if (ctx->state->hook == NF_INET_LOCAL_IN && parsed == PARSED && p->protocol == IPPROTO_TCP && !(p->flags & OPENS))
		return 1;
	v->direction = direction;
	orient(v, p);
	decide(&d, DENIED, BY_UNKNOWN_INTERFACE, NO_RULE);
	record(v, &d, 0, direction, HOW_OPENED);
	count(0, BY_UNKNOWN_INTERFACE);
	return 0;
}

/* What a pod of ours sends: judged as after translation. */
inlined int may_send(struct bpf_nf_ctx *ctx, struct view *v, int parsed, const struct packet *p)
{
	struct source s = {ctx, FORWARDED};
	struct place from = find_place(v, ctx->state->in, p->source);
	struct outcome o;

	if (!from.ep)
		return from.unknown ? stop_unknown(ctx, v, EGRESS, parsed, p) : 1;
	/* from_pod has judged a reply, by the address that the pod sees. If the client was masqueraded, that is not
	 * the one that is in the packet by now. */
	if ((ctx->skb->_nfct & NFCT_INFOMASK) >= IP_CT_IS_REPLY)
		return 1;
	o = inspect_packet(s, v, parsed, p);
	count(o.pass, o.reason);
	return o.pass;
}

/* A reply to a pod of ours, with the translation not undone yet. to_pod will see it come from the Service
 * and know only that the pod asked for it; whether the connection is still allowed is known here. Everything
 * else is left to to_pod. */
inlined int may_receive(struct bpf_nf_ctx *ctx, struct view *v, int parsed, const struct packet *p)
{
	struct place to = find_place(v, ctx->state->out, p->destination);
	struct connection *c;
	struct outcome o;

	if (!to.ep)
		return to.unknown ? stop_unknown(ctx, v, INGRESS, parsed, p) : 1;
	if (parsed != PARSED)
		return 1;
	v->direction = INGRESS;
	orient(v, p);
	c = find_connection(v);
	if (!c || c->origin != EGRESS || is_covered(v, c))
		return 1;
	o = unpack(judge_packet(v, to.ep, c));
	if (!o.pass)
		count(0, o.reason);
	if (unlikely(o.tell))
		tell_of_forwarded(ctx, v);
	return o.pass;
}

/* Whether all is said about a packet: from_pod has judged it by the addresses that it still has, and what comes
 * of it at a pod is left to to_pod, which will see them too. Of a device without an endpoint any pod may have sent
 * it, with any tc_index. */
inlined int is_settled(const struct bpf_nf_ctx *ctx, const struct view *v)
{
	const struct sk_buff *skb = ctx->skb;
	const struct net_device *out = ctx->state->out;

	if (!has_member(skb->tc_index) || skb->tc_index != JUDGED)
		return 0;
	/* Where the kernel does not tell, it may have another destination. */
	if (!knows_conntrack() || is_redirected(skb->_nfct))
		return 0;
	if (!endpoint_at(v, ctx->state->in->ifindex))
		return 0;
	return endpoint_at(v, out->ifindex) || !is_of_pods(kind_of(v, out));
}

global int inspect_forwarded(struct bpf_nf_ctx *ctx, struct view *v)
{
	struct source s = {ctx, FORWARDED};
	struct packet p = {};
	int parsed;

	if (!v)
		return 0;
	/* The coarse clock of the other hooks is not offered to netfilter programs. */
	v->now = bpf_ktime_get_ns();
	v->tracked = ctx->skb->_nfct;
	parsed = parse(s, 0, family_of(ctx->state), 0, &p);
	return may_send(ctx, v, parsed, &p) && may_receive(ctx, v, parsed, &p);
}

SEC("netfilter")
int forwarded(struct bpf_nf_ctx *ctx)
{
	struct view v = {};

	if (!begin(&v, 0, FORWARDED))
		return NF_ACCEPT;
	return is_settled(ctx, &v) || inspect_forwarded(ctx, &v) ? NF_ACCEPT : NF_DROP;
}
