/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once

/* The little of the kernel's interface that the datapath uses, so that neither libbpf's headers nor
 * a dump of one kernel's types is needed to build it. */

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef unsigned long long __u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]
#define __ksym __attribute__((section(".ksyms")))
#define inlined static __attribute__((always_inline)) inline
/* Verified in the context of each call. */
#define subprogram static __attribute__((noinline))
/* Verified once, for any arguments: pointers may be NULL as far as the verifier knows, and it returns int. */
#define global __attribute__((noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define to_host16(x) __builtin_bswap16(x)
#else
#define to_host16(x) (x)
#endif

/* uapi/linux/bpf.h */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { EEXIST = 17 };
enum { BPF_F_NO_PREALLOC = 1 << 0, BPF_F_MMAPABLE = 1 << 10 };
enum { TCX_NEXT = -1, TCX_DROP = 2 };
enum { NF_DROP = 0, NF_ACCEPT = 1 };

/* uapi: only the fields up to data_end; the verifier translates each access. */
struct __sk_buff {
	__u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority,
		ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data, data_end;
};

/* Internal to the kernel: offsets are relocated against its BTF when the program is loaded. */
struct rtnl_link_ops {
	const char *kind;
} __attribute__((preserve_access_index));

struct net_device {
	int ifindex;
	const struct rtnl_link_ops *rtnl_link_ops;
} __attribute__((preserve_access_index));

/* Lends its bytes to read a string by: the verifier knows no way to read one through a char pointer, and the
 * helper for it is not there on a kernel that is locked down. */
struct ethhdr {
	unsigned char h_dest[6];
} __attribute__((preserve_access_index));

struct nf_hook_state {
	__u8 hook;
	__u8 pf;
	struct net_device *in;
	struct net_device *out;
} __attribute__((preserve_access_index));

struct sk_buff {
	unsigned long _nfct; /* the connection that conntrack knows; the lowest 3 bits are enum ip_conntrack_info */
	__u16 tc_index;
} __attribute__((preserve_access_index));

struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
} __attribute__((preserve_access_index));

enum { NFPROTO_IPV4 = 2 };
enum { IP_CT_IS_REPLY = 3, NFCT_INFOMASK = 7 };
enum { NF_INET_LOCAL_IN = 1 };

struct bpf_dynptr {
	__u64 opaque[2];
} __attribute__((aligned(8)));

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) =
	(void *)2;
static long (*const bpf_skb_store_bytes)(struct __sk_buff *skb, __u32 offset, const void *from, __u32 size,
					 __u64 flags) = (void *)9;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static __u64 (*const bpf_ktime_get_coarse_ns)(void) = (void *)160;
static void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *record, __u64 flags) = (void *)132;
static long (*const bpf_dynptr_read)(void *to, __u32 size, const struct bpf_dynptr *from, __u32 offset,
				     __u64 flags) = (void *)201;

extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr) __ksym;
extern __u32 bpf_dynptr_size(const struct bpf_dynptr *ptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u32 offset, void *buffer,
			      __u32 buffer__szk) __ksym;
struct bpf_map {
	__u32 max_entries;
} __attribute__((preserve_access_index));

extern long long bpf_map_sum_elem_count(const struct bpf_map *map) __ksym;
extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym;

/* Reads memory of the kernel as of one of its types; what cannot be read is 0. */
#define read_as(type, address) ((const type *)bpf_rdonly_cast(address, __builtin_btf_type_id(*(type *)0, 1)))

/* Whether the kernel, with its modules, has a member of a type, and where: known when the program is loaded. A type
 * itself is there also when only one is that is called alike, such as nf_conn___init. */
#define has_member(member) __builtin_preserve_field_info(member, 2)
#define offset_of(member) __builtin_preserve_field_info(member, 0)

/* Protocol headers as they are on the wire. */
enum { ETH_HLEN = 14, ETH_P_IP = 0x0800, ETH_P_ARP = 0x0806, ETH_P_IPV6 = 0x86dd };
enum {
	IPPROTO_HOPOPTS = 0,
	IPPROTO_ICMP = 1,
	IPPROTO_TCP = 6,
	IPPROTO_UDP = 17,
	IPPROTO_ROUTING = 43,
	IPPROTO_FRAGMENT = 44,
	IPPROTO_AH = 51,
	IPPROTO_ICMPV6 = 58,
	IPPROTO_DSTOPTS = 60,
	IPPROTO_SCTP = 132,
};

struct ipv4 {
	__u8 version_ihl, tos;
	__u16 length, id, fragment;
	__u8 ttl, protocol;
	__u16 checksum;
	__u32 source, destination;
};

struct ipv6 {
	__u8 version_class, class_flow, flow[2];
	__u16 length;
	__u8 next, hops;
	__u32 source[4], destination[4];
};
