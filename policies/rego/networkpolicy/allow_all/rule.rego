# A policy does not open a namespace to everyone.
package bulkhead.rules.networkpolicy.allow_all

# How many ports may be open to everyone. A server on the edge needs a few; "all of them" and
# "all but one" are the same mistake.
most := object.get(input.params, "maxPorts", 1000)

exempt := object.get(input.params, "exemptNamespaces", [])

violation contains {
	"message": sprintf("%s: %s on %s", [opening, concat(", ", phrases(open)), amount(open)]),
	"path": place(direction, open),
	"severity": "high",
	"fix": sprintf(
		"name the peers under %s (a namespaceSelector on kubernetes.io/metadata.name with a podSelector) and the ports that they need",
		[list],
	),
} if {
	changed
	not input.policy.namespace in exempt
	some direction in input.policy.isolates
	opening := verb[direction]
	list := side[direction]
	open := [allow |
		some allow in input.policy.allows
		allow.direction == direction
		to_everyone(allow)
	]
	size(open) > most
}

verb := {"Ingress": "the policy lets everyone in", "Egress": "the policy lets its pods reach everyone"}

side := {"Ingress": "from", "Egress": "to"}

# An update that leaves the spec as it is (a label, a finalizer) is no new opening.
changed if input.operation == "CREATE"

changed if {
	input.operation == "UPDATE"
	input.policy != input.oldPolicy
}

to_everyone(allow) if allow.everyone

to_everyone(allow) if {
	some peer in allow.peers
	every_pod(peer)
}

# Pods of any namespace, or of any but a few: also those that are made tomorrow.
every_pod(peer) if {
	any_namespace(peer)
	any_pod(peer)
}

any_namespace(peer) if peer.allNamespaces

any_namespace(peer) if regex.match(
	`^(,?(![^,()=]+|[^,()=]+ notin \([^()]*\)|kubernetes\.io/metadata\.name))+$`,
	peer.namespaceSelector,
)

any_pod(peer) if peer.allPods

any_pod(peer) if regex.match(`^(,?(![^,()=]+|[^,()=]+ notin \([^()]*\)))+$`, peer.podSelector)

size(open) := sum([ports(allow) | some allow in open])

ports(allow) := 65535 if allow.allPorts

ports(allow) := sum([width(port) | some port in allow.ports]) if not allow.allPorts

width(port) := 1 if object.get(port, "name", "") != ""

width(port) := 65535 if {
	object.get(port, "name", "") == ""
	port.from == 0
}

width(port) := (port.to - port.from) + 1 if port.from > 0

amount(open) := "all ports" if size(open) >= 65535

amount(open) := sprintf("%d ports", [size(open)]) if size(open) < 65535

phrases(open) := [sprintf("%s %s", [allow.path, why(allow)]) | some allow in open]

why(allow) := "names no peer" if allow.everyone

why(allow) := sprintf("selects every pod of the cluster (%s)", [concat(", ", paths)]) if {
	not allow.everyone
	paths := [peer.path | some peer in allow.peers; every_pod(peer)]
}

place(_, open) := open[0].path if count(open) == 1

place(direction, open) := sprintf("spec.%s", [lower(direction)]) if count(open) > 1
