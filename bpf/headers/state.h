/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "kernel.h"

/* Values shared with userspace. Go reads their layout from this file (bpf2go). Addresses are
 * 16 bytes: IPv6, or IPv4 mapped into ::ffff:0:0/96. Ports in keys are in host byte order. */

enum direction { INGRESS = 0, EGRESS = 1 };
enum mode { AUDIT = 0, ENFORCE = 1 };
enum protocol { TCP = 0, UDP = 1, SCTP = 2, OTHER = 3 };

enum verdict {
	DENIED = 0,
	ALLOWED = 1,
	WOULD_DENY = 2, /* denied by the rules, let pass by the endpoint's mode */
	DEFERRED = 3,   /* to a Service or the node: judged once it is translated */
};

enum reason {
	BY_NOTHING = 0,
	BY_RULE,             /* a rule of the endpoint's policy set allows it */
	BY_DENY_RULE,        /* a rule of the endpoint's policy set denies it */
	BY_NO_ISOLATION,     /* no rule decides, and no policy isolates the endpoint in this direction */
	BY_ISOLATION,        /* isolated, and no rule allows it */
	BY_OWN_NODE,         /* comes from an address of the endpoint's node */
	BY_ITSELF,           /* the endpoint talks to its own address */
	BY_SERVICE,          /* goes to a Service's address: judged after translation */
	BY_CONNECTION,       /* belongs to a connection that was judged before */
	BY_LINK_PROTOCOL,    /* ARP, neighbour discovery and multicast listener discovery */
	BY_RELATED_ERROR,    /* ICMP error about a connection that was allowed */
	BY_FIRST_FRAGMENT,   /* its first fragment was let through */
	BY_LOST_FRAGMENT,    /* its first fragment is not known */
	BY_MALFORMATION,     /* headers cut short, inconsistent or hiding the destination */
	BY_ETHERTYPE,        /* neither IPv4, IPv6 nor ARP */
	BY_UNKNOWN_ENDPOINT, /* no endpoint with this interface in the current world */
	BY_NO_WORLD,         /* no policies were loaded yet */
	BY_FOREIGN_SOURCE,   /* sent from an address that is not the endpoint's own */
	BY_UNKNOWN_INTERFACE, /* from or to a pod's interface that no endpoint of the world has */
	REASONS,
};

enum identity_flag {
	IDENTITY_CLASS = 1,   /* class is valid; without it the address is looked up in cidrs */
	IDENTITY_NODE = 2,    /* address of this very node */
	IDENTITY_SERVICE = 4, /* virtual address of a Service */
};

enum connection_flag {
	CONNECTION_ADOPTED = 1, /* its opening was not seen */
	CONNECTION_SERVICE = 2, /* the endpoint's side before translation; the verdict is at the translated one */
	CONNECTION_CLOSING = 4, /* FIN or RST was seen: a SYN opens another connection */
};

enum limit {
	RULE_WORDS = 16, /* 64-bit words of a bitmap of rules */
	PORTS = 3 * 65536,
	DENIAL_DATA = 128,
	DNS_DATA = 512,
};

/* What from_pod leaves in the tc_index of packets that it has judged for good. The node does not change it on the
 * way; what a pod has put there itself is overwritten. */
enum tc_index { JUDGED = 0xb4ed };

#define NO_RULE (-1)
#define NO_SET (~0U)

/* generation is 0 before the first world; its lowest bit is the slot of the world in every array of
 * maps. epoch's lowest bit is the slot of flows that is written. Each is written by one 8-byte store.
 *
 * A world that replaces all of the one before is built in the other slot. One that changes a part of it shares
 * its slot: entries that nothing refers to yet are added, and no entry that is in use changes its meaning, until
 * the new generation puts endpoints under other policy sets, all at once. Sets are never numbered alike. */
struct config {
	__u64 generation;
	__u64 epoch;
	__u64 sets; /* number of the next policy set */
};

/* What an interface is that no endpoint is behind. */
enum device {
	DEVICE_EXEMPT = 1, /* a veth that is no pod's */
	DEVICE_SHARED = 2, /* a bridge whose every port is a pod's */
	DEVICE_GATE = 3,   /* no interface, at number GATE: pods' devices without an endpoint are cut off */
};

#define GATE 0

/* The rules of one direction, numbered in order of precedence: those of the Admin tier, and then those of
 * one other tier. It is NetworkPolicies where one isolates the endpoint, and Baseline where none does. */
struct tiers {
	__u16 rules; /* bits in use in the bitmaps */
	__u16 admin; /* how many of them are of the Admin tier */
	__u8 isolated;
	__u8 pad;
};

struct endpoint_key {
	__u64 generation;
	__u32 ifindex;
	__u32 pad;
};

/* The policy set that an endpoint is under, and what of it is needed to ask its rules. */
struct policies {
	__u32 set;
	struct tiers tiers[2]; /* by direction */
};

struct endpoint {
	struct policies live;
	struct policies staged; /* judged beside the live ones, and only recorded; of set NO_SET: there are none */
	__u32 main; /* the pod's first interface, which its addresses' identities name */
	__u8 mode;
	__u8 reject; /* denials are told to userspace, which answers them */
	__u8 pad[2];
};

struct identity {
	__u32 class;
	__u32 ifindex; /* first interface of the local pod that has the address; 0: it is not a local pod's */
	__u8 flags;
	__u8 pad[3];
};

struct cidr_key {
	__u32 bits;
	__u8 address[16];
};

struct peer_key {
	__u32 set;
	__u32 class;
	__u8 direction;
	__u8 pad[3];
};

struct port_key {
	__u32 set;
	__u16 class;
	__u8 direction;
	__u8 protocol;
};

struct bitmap {
	__u64 words[RULE_WORDS];
};

/* What a policy set says of its rules, by direction. Those that neither deny nor pass allow. */
struct policy_set {
	struct bitmap deny[2];
	struct bitmap pass[2];
	struct bitmap everyone[2];  /* matches whatever peer; what a class without an entry in peers gets */
	struct bitmap all_ports[2]; /* matches whatever port; what a class without an entry in ports gets */
};

/* class of protocol*65536 + port */
struct port_class_table {
	__u16 classes[PORTS];
};

/* The endpoint's side is local whichever way the packet goes, so one entry serves both directions. */
struct connection_key {
	__u8 local[16];
	__u8 remote[16];
	__u32 ifindex;
	__u16 local_port;
	__u16 remote_port;
	__u8 protocol; /* IP protocol number */
	__u8 pad[3];
};

struct connection { /* carried over to the maps of other versions: new members go to the end */
	__u64 last_seen; /* monotonic ns */
	__u64 generation;
	__s16 rule;
	__u8 origin; /* direction in which it was opened */
	__u8 verdict;
	__u8 flags;
	__u8 reason;
	__u8 pad[2];
};

struct fragment_key {
	__u8 source[16];
	__u8 destination[16];
	__u32 ifindex;
	__u32 id;
	__u8 protocol;
	__u8 pad[3];
};

/* What a first fragment that was let through has shown. */
struct fragment {
	__u64 seen; /* monotonic ns */
	__u16 source_port;
	__u16 destination_port;
	__u16 judged; /* how much of the datagram was read */
	__u8 protocol;
	__u8 has_ports;
};

struct flow_key {
	__u8 local[16];
	__u8 remote[16];
	__u8 service[16]; /* what the endpoint sent to before translation; zero: it was not translated */
	__u32 ifindex;
	__u32 set;
	__u32 staged_set; /* NO_SET if no staged policies were asked */
	__u16 port; /* at the side that was connected to; 0 for protocols without ports */
	__u16 service_port; /* of service */
	__s16 rule;
	__s16 staged_rule;
	__u8 protocol; /* IP protocol number */
	__u8 direction;
	__u8 verdict;
	__u8 reason;
	__u8 staged_verdict;
	__u8 pad[3];
};

struct flow {
	__u64 connections; /* opened, or packets denied; 0 when only re-judged under a new generation */
	__u64 adopted;     /* of these, those whose opening was not seen */
	__u64 first_seen;  /* monotonic ns */
	__u64 last_seen;
	__u16 source_port; /* of the last one */
	__u8 pad[6];
};

/* What userspace asks about a connection that would be opened. */
struct question {
	__u8 local[16];
	__u8 remote[16];
	__u32 ifindex;
	__u16 port; /* of the side that is connected to; 0 for protocols without ports */
	__u8 protocol;
	__u8 direction;
	__u8 translated; /* as after Service translation */
	__u8 pad[7];
};

struct answer {
	__u64 generation;
	__u32 set;
	__u32 staged_set; /* NO_SET if no staged policies were asked */
	__s16 rule;
	__s16 staged_rule;
	__u8 verdict;
	__u8 reason;
	__u8 staged_verdict;
	__u8 pad;
};

/* Entries of maps. */
struct fill {
	__u64 endpoints;
	__u64 devices;
	__u64 connections;
	__u64 deferrals;
	__u64 fragments;
	__u64 flows;
};

/* A packet that was denied, for userspace to answer. */
struct denial {
	__u64 time; /* monotonic ns */
	__u32 ifindex;
	__u32 length;           /* of the packet, from its IP header on */
	__u8 service[16];       /* what it was sent to before translation; zero: it was not translated */
	__u16 service_port;     /* of service */
	__u8 direction;         /* in which it went: EGRESS from the endpoint */
	__u8 captured;          /* bytes of data in use */
	__u8 ethernet[12];      /* receiver and sender of the frame that the endpoint sent; zero: not known */
	__u8 data[DENIAL_DATA]; /* from the IP header on */
};

/* What an endpoint sent to a Service from one of its ports: the packet is denied after translation, when what it
 * was is not to be seen any more. */
struct deferral_key {
	__u8 local[16];
	__u32 ifindex;
	__u16 local_port;
	__u8 protocol;
	__u8 pad;
};

struct deferral {
	__u8 service[16];
	__u16 service_port;
	__u8 ethernet[12];
	__u8 pad[2];
};

/* What an endpoint was answered by the cluster's DNS, over UDP. */
struct dns_answer {
	__u32 ifindex;
	__u16 length;        /* of the message, and of what the frame may have behind it */
	__u16 captured;      /* bytes of data in use */
	__u8 data[DNS_DATA]; /* the message */
};

enum allowed { ALLOWANCE_DENIALS, ALLOWANCE_ANSWERS, ALLOWANCES };

/* How many of a kind may still be told. */
struct allowance {
	__u64 since; /* monotonic ns */
	__u64 left;
};

/* Packets by reason, and what was lost: flow records for want of room, and denials and answers of DNS that were not
 * told, for there were too many or the ring was full. */
struct counter {
	__u64 passed[REASONS];
	__u64 dropped[REASONS];
	__u64 lost_flows;
	__u64 suppressed_denials;
	__u64 lost_denials;
	__u64 suppressed_answers;
	__u64 lost_answers;
};

/* The compiler describes to Go only what an object refers to. */
#define SHARED(kind, name) const kind name *shared_##name __attribute__((unused))
SHARED(enum, direction);
SHARED(enum, mode);
SHARED(enum, protocol);
SHARED(enum, verdict);
SHARED(enum, reason);
SHARED(enum, identity_flag);
SHARED(enum, connection_flag);
SHARED(enum, device);
SHARED(enum, allowed);
SHARED(enum, limit);
SHARED(enum, tc_index);
SHARED(struct, tiers);
SHARED(struct, endpoint_key);
SHARED(struct, policies);
SHARED(struct, endpoint);
SHARED(struct, identity);
SHARED(struct, cidr_key);
SHARED(struct, peer_key);
SHARED(struct, port_key);
SHARED(struct, bitmap);
SHARED(struct, policy_set);
SHARED(struct, port_class_table);
SHARED(struct, flow_key);
SHARED(struct, flow);
SHARED(struct, denial);
SHARED(struct, dns_answer);
SHARED(struct, question);
SHARED(struct, answer);
SHARED(struct, fill);
