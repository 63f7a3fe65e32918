package bulkhead.rules.networkpolicy.every_address_test

import data.bulkhead.rules.networkpolicy.every_address

test_enough_is_the_cells_less_one if {
	every family, cells in every_address.cells {
		every_address.enough[family] == count(cells) - 1
	}
}

# Not a table test: the runner records every step of those, and these are the longest.
test_everything if {
	every peers in everything {
		found := every_address.violation with input as created([peers])
		{v.path | some v in found} == {"spec.egress[0]"}
	}
}

everything := {
	"IPv4": [block("0.0.0.0/0", [])],
	"IPv6": [block("::/0", [])],
	"halves": [block("0.0.0.0/1", []), block("128.0.0.0/1", [])],
	"IPv6 halves": [block("::/1", []), block("8000::/1", [])],
	"one half in quarters": [block("0.0.0.0/1", []), block("128.0.0.0/2", []), block("192.0.0.0/2", [])],
	"overlapping": [block("0.0.0.0/1", []), block("64.0.0.0/2", []), block("128.0.0.0/1", [])],
	"an address left out": [block("0.0.0.0/0", ["169.254.169.254/32"])],
	"unusable addresses left out": [block("0.0.0.0/0", ["240.0.0.0/4", "127.0.0.0/8"])],
	"what is left out comes back": [block("0.0.0.0/0", ["10.0.0.0/8"]), block("10.0.0.0/8", [])],
	"halves, an address left out of each": [block("0.0.0.0/1", ["1.1.1.1/32"]), block("128.0.0.0/1", ["192.0.2.1/32"])],
	"unused IPv6 left out": [block("::/0", ["8000::/2", "4000::/2"])],
	"among others": [block("10.0.0.0/8", []), block("0.0.0.0/0", []), block("2001:db8::/32", [])],
}

test_not_everything if {
	every peers in not_everything {
		found := every_address.violation with input as created([peers])
		{v.path | some v in found} == set()
	}
}

not_everything := {
	"nothing": [],
	"a range": [block("203.0.113.0/24", [])],
	"a half": [block("0.0.0.0/1", [])],
	"the same half twice": [block("0.0.0.0/1", []), block("0.0.0.0/1", [])],
	"private ranges left out": [block("0.0.0.0/0", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"])],
	"a /8 left out in halves": [block("0.0.0.0/0", ["10.0.0.0/9", "10.128.0.0/9"])],
	"private IPv6 left out": [block("::/0", ["fc00::/7"])],
	"pods": [{"path": "p", "allNamespaces": true, "allPods": true}],
	"a half of each family": [block("0.0.0.0/1", []), block("8000::/1", [])],
}

test_both_families if {
	found := every_address.violation with input as created([[block("0.0.0.0/0", []), block("::/0", [])]])
	count(found) == 2
}

test_all_the_eighths if {
	peers := [block(sprintf("%d.0.0.0/8", [first]), []) | some first in numbers.range(0, 255)]
	count(every_address.violation) == 1 with input as created([peers])
}

test_split_over_rules if {
	doc := created([[block("0.0.0.0/1", [])], [block("128.0.0.0/1", [])]])
	some v in every_address.violation with input as doc
	v.path == "spec.egress"
	contains(v.message, "0.0.0.0/1, 128.0.0.0/1")
}

test_split_over_directions_is_none if {
	doc := created([[block("0.0.0.0/1", [])]])
	policy := object.union(doc.policy, {
		"isolates": ["Ingress", "Egress"],
		"allows": array.concat(doc.policy.allows, [{
			"path": "spec.ingress[0]", "direction": "Ingress",
			"peers": [block("128.0.0.0/1", [])],
		}]),
	})
	count(every_address.violation) == 0 with input as object.union(doc, {"policy": policy})
}

test_message_names_rule_and_range if {
	some v in every_address.violation with input as created([[block("0.0.0.0/0", [])]])
	v.message == "spec.egress[0] reaches every IPv4 address (0.0.0.0/0)"
	contains(v.fix, "under to")
}

test_exempt_namespace if {
	doc := object.union(created([[block("0.0.0.0/0", [])]]), {"params": {"exemptNamespaces": ["shop"]}})
	count(every_address.violation) == 0 with input as doc
}

test_update_opens if {
	doc := created([[block("0.0.0.0/0", [])]])
	update := object.union(doc, {"operation": "UPDATE", "oldPolicy": created([]).policy})
	count(every_address.violation) == 1 with input as update
}

test_update_of_metadata_only if {
	doc := created([[block("0.0.0.0/0", [])]])
	update := object.union(doc, {"operation": "UPDATE", "oldPolicy": doc.policy})
	count(every_address.violation) == 0 with input as update
}

test_delete if {
	doc := {"operation": "DELETE", "params": {}, "object": null, "policy": null}
	count(every_address.violation) == 0 with input as doc
}

block(cidr, except) := {"path": "p", "allNamespaces": false, "allPods": false, "cidr": cidr, "except": except}

created(rules) := {
	"operation": "CREATE", "params": {}, "oldPolicy": null,
	"policy": {
		"namespace": "shop", "name": "p", "selectsAll": true, "isolates": ["Egress"],
		"allows": [
		{"direction": "Egress", "index": i, "path": sprintf("spec.egress[%d]", [i]), "everyone": false, "peers": peers} |
			some i, peers in rules
		],
	},
}
