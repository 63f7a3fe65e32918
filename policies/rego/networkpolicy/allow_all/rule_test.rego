package bulkhead.rules.networkpolicy.allow_all_test

import data.bulkhead.rules.networkpolicy.allow_all

everyone := {"path": "spec.ingress[0]", "everyone": true, "allPorts": true, "peers": [], "ports": []}

test_rule_without_peers if {
	some v in allow_all.violation with input as created("Ingress", [everyone])
	v.path == "spec.ingress[0]"
	v.message == "the policy lets everyone in: spec.ingress[0] names no peer on all ports"
}

test_egress if {
	some v in allow_all.violation with input as created("Egress", [object.union(everyone, {"path": "spec.egress[0]"})])
	v.path == "spec.egress[0]"
	contains(v.message, "reach everyone")
	contains(v.fix, "under to")
}

test_every_pod[note] if {
	some note, selectors in {
		"both empty": {"allNamespaces": true, "allPods": true, "namespaceSelector": "", "podSelector": ""},
		"every namespace has its name": {"allPods": true, "namespaceSelector": "kubernetes.io/metadata.name"},
		"all but one namespace": {"allPods": true, "namespaceSelector": "kubernetes.io/metadata.name notin (a,b)"},
		"all without a label": {"allPods": true, "namespaceSelector": "!x"},
		"several exclusions": {"allPods": true, "namespaceSelector": "!x,kubernetes.io/metadata.name,y notin (1)"},
		"pods excluded": {"allNamespaces": true, "podSelector": "!example.com/never"},
	}
	found := allow_all.violation with input as created("Ingress", [to_pods(selectors, true, [])])
	{v.path | some v in found} == {"spec.ingress[0]"}
}

test_some_pods[note] if {
	some note, selectors in {
		"own namespace": {"allPods": true, "namespaceSelector": "kubernetes.io/metadata.name=shop"},
		"one namespace": {"allPods": true, "namespaceSelector": "kubernetes.io/metadata.name in (a,b)"},
		"labelled namespaces": {"allPods": true, "namespaceSelector": "!x,team=web"},
		"labelled pods": {"allNamespaces": true, "podSelector": "app=api"},
	}
	found := allow_all.violation with input as created("Ingress", [to_pods(selectors, true, [])])
	count(found) == 0
}

test_addresses_are_another_rule if {
	peer := {"path": "spec.ingress[0].from[0]", "cidr": "0.0.0.0/0", "allNamespaces": false, "allPods": false}
	rule := object.union(everyone, {"everyone": false, "peers": [peer]})
	count(allow_all.violation) == 0 with input as created("Ingress", [rule])
}

test_many_ports[note] if {
	some note, ports in {
		"whole protocol": [{"protocol": "TCP", "from": 0, "to": 0}],
		"all but one": [{"protocol": "TCP", "from": 1, "to": 65534}],
		"halves": [{"protocol": "TCP", "from": 1, "to": 32767}, {"protocol": "TCP", "from": 32768, "to": 65535}],
	}
	rule := object.union(everyone, {"allPorts": false, "ports": ports})
	found := allow_all.violation with input as created("Ingress", [rule])
	count(found) == 1
}

test_few_ports[note] if {
	some note, ports in {
		"one": [{"protocol": "TCP", "from": 443, "to": 443}],
		"range": [{"protocol": "TCP", "from": 30000, "to": 30999}],
		"named": [{"protocol": "TCP", "from": 0, "to": 0, "name": "https"}],
	}
	rule := object.union(everyone, {"allPorts": false, "ports": ports})
	found := allow_all.violation with input as created("Ingress", [rule])
	count(found) == 0
}

test_ports_spread_over_rules if {
	half := {"allPorts": false, "ports": [{"protocol": "TCP", "from": 1, "to": 600}]}
	other := {"path": "spec.ingress[1]", "allPorts": false, "ports": [{"protocol": "TCP", "from": 601, "to": 1200}]}
	some v in allow_all.violation with input as created("Ingress", [object.union(everyone, half), object.union(everyone, other)])
	v.path == "spec.ingress"
	contains(v.message, "1200 ports")
}

test_max_ports_is_a_parameter if {
	rule := object.union(everyone, {"allPorts": false, "ports": [{"protocol": "TCP", "from": 443, "to": 443}]})
	doc := object.union(created("Ingress", [rule]), {"params": {"maxPorts": 0}})
	count(allow_all.violation) == 1 with input as doc
}

test_exempt_namespace if {
	doc := object.union(created("Ingress", [everyone]), {"params": {"exemptNamespaces": ["shop"]}})
	count(allow_all.violation) == 0 with input as doc
}

test_update_opens if {
	doc := object.union(created("Ingress", [everyone]), {"operation": "UPDATE", "oldPolicy": created("Ingress", []).policy})
	count(allow_all.violation) == 1 with input as doc
}

test_update_of_metadata_only if {
	doc := created("Ingress", [everyone])
	count(allow_all.violation) == 0 with input as object.union(doc, {"operation": "UPDATE", "oldPolicy": doc.policy})
}

test_delete if {
	doc := {"operation": "DELETE", "params": {}, "object": null, "policy": null, "oldPolicy": created("Ingress", [everyone]).policy}
	count(allow_all.violation) == 0 with input as doc
}

test_deny_all if {
	count(allow_all.violation) == 0 with input as created("Ingress", [])
}

to_pods(selectors, all_ports, ports) := object.union(everyone, {
	"everyone": false, "allPorts": all_ports, "ports": ports,
	"peers": [object.union({"path": "spec.ingress[0].from[0]", "allNamespaces": false, "allPods": false}, selectors)],
})

created(direction, rules) := {
	"operation": "CREATE", "params": {}, "oldPolicy": null,
	"policy": {
		"namespace": "shop", "name": "p", "selectsAll": true, "isolates": [direction],
		"allows": [object.union(rule, {"direction": direction}) | some rule in rules],
	},
}
