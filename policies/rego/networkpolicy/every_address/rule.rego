# A policy does not reach all addresses there are, however they are written down.
package bulkhead.rules.networkpolicy.every_address

# A family of addresses is judged by its /8s that are in use: who reaches into each of them
# reaches everything. Left out are this-network, loopback and multicast, and what nobody has
# been given; so leaving out such a range does not hide that all the rest is open.
cells := {
	"IPv4": [cell |
		some first in numbers.range(1, 223)
		first != 127
		cell := sprintf("%d.0.0.0/8", [first])
	],
	"IPv6": [cell |
		some first in array.concat(numbers.range(32, 63), [252, 253])
		cell := sprintf("%x00::/8", [first])
	],
}

# The cells of a family less one, as numbers: most policies are far from it, and finding that out
# should not cost making the cells.
enough := {"IPv4": 221, "IPv6": 33}

# Addresses in a range by the length of its prefix, in /8s; nothing worth counting beyond.
sizes := [256, 128, 64, 32, 16, 8, 4, 2, 1, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]

exempt := object.get(input.params, "exemptNamespaces", [])

violation contains {
	"message": sprintf("%s reaches every %s address (%s)", [allow.path, family, listed([allow], family)]),
	"path": allow.path,
	"severity": "high",
	"fix": fix(allow.direction),
} if {
	changed
	some allow in input.policy.allows
	some family in near
	everything([allow], family)
}

# No rule does it alone, all of one direction do it together.
violation contains {
	"message": sprintf("the %s rules together reach every %s address (%s)", [lower(direction), family, listed(allows, family)]),
	"path": sprintf("spec.%s", [lower(direction)]),
	"severity": "high",
	"fix": fix(direction),
} if {
	changed
	some direction in input.policy.isolates
	some family in near
	allows := [allow | some allow in input.policy.allows; allow.direction == direction]
	everything(allows, family)
	every allow in allows {
		not everything([allow], family)
	}
}

# An update that leaves the spec as it is (a label, a finalizer) is no new opening.
changed if {
	not input.policy.namespace in exempt
	input.operation == "CREATE"
}

changed if {
	not input.policy.namespace in exempt
	input.operation == "UPDATE"
	input.policy != input.oldPolicy
}

fix(direction) := sprintf(
	"under %s, list the ranges that are needed, or leave out at least the private ranges with except",
	[{"Ingress": "from", "Egress": "to"}[direction]],
)

# The families of which the policy names so much that looking closer is worth its while. Most name little.
near contains family if {
	some family, most in enough
	sum([size(peer.cidr) |
		some allow in input.policy.allows
		some peer in allow.peers
		family_of(peer.cidr) == family
	]) > most
}

# The usual way to write it needs no cells.
everything(allows, family) if {
	some range in ranges(allows, family)
	whole(range)
}

everything(allows, family) if {
	found := ranges(allows, family)
	every range in found { not whole(range) }
	sum([size(range.cidr) | some range in found]) > enough[family]
	every cell in cells[family] {
		reached(cell, found)
	}
}

whole(range) if {
	prefix_length(range.cidr) == 0
	count(range.except) == 0
}

ranges(allows, family) := [range |
	some allow in allows
	some peer in allow.peers
	family_of(peer.cidr) == family
	range := {"cidr": peer.cidr, "except": net.cidr_merge(object.get(peer, "except", []))}
]

family_of(cidr) := "IPv6" if contains(cidr, ":")

family_of(cidr) := "IPv4" if not contains(cidr, ":")

size(cidr) := sizes[prefix_length(cidr)]

size(cidr) := 0 if prefix_length(cidr) >= count(sizes)

prefix_length(cidr) := to_number(split(cidr, "/")[1])

reached(cell, found) if {
	some range in found
	net.cidr_intersects(range.cidr, cell)
	not left_out(cell, range)
}

left_out(cell, range) if {
	some block in range.except
	net.cidr_contains(block, cell)
}

# The largest ranges are enough to recognise the rule by.
listed(allows, family) := concat(", ", array.slice(
	[cidr |
		some cidr in sort([range.cidr | some range in ranges(allows, family)])
		size(cidr) >= 1
	],
	0, 8,
))
