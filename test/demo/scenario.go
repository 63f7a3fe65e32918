// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/bulkhead-dev/bulkhead/policies/baseline"

// The machines outside the cluster: two of a range that api needs, and one that nobody does.
var (
	partners = []string{"203.0.113.10", "203.0.113.11"}
	stranger = "198.51.100.66"
)

// clusterDomain ends the names of Services.
const clusterDomain = ".svc.cluster.local."

func name(service string) string { return service + clusterDomain }

// foothold is a connection that an intruder opened before enforcement began.
func (n *network) foothold() attempt {
	return attempt{
		from: "attacker/shell", protocol: "tcp", to: n.address("shop/database", false), port: 5432,
		label: "database pod, a connection open since before,", keep: "foothold", policy: "shop/" + baseline.DefaultDenyName,
	}
}

// traffic is what the application really does: the connections that are observed, with the policy
// that decides them once the policies are enforced.
func (n *network) traffic() []attempt {
	var list []attempt
	add := func(from, protocol, to string, port int, label, policy string) {
		list = append(list, attempt{from: from, protocol: protocol, to: to, port: port, label: label, allowed: true, policy: "shop/" + policy})
	}
	add("shop/frontend", "tcp", name("api.shop"), 80, "", "api")
	add("shop/api", "tcp", name("database.shop"), 5432, "", "database")
	add("ingress-nginx/controller", "tcp", name("frontend.shop"), 80, "", "frontend")
	add("shop/database", "udp", name("database.shop"), 53, "", baseline.AllowDNSName)
	add("shop/api", "tcp", name("database.shop"), 53, "", baseline.AllowDNSName)
	for _, app := range []string{"frontend", "api", "database"} {
		add("monitoring/prometheus", "tcp", n.address("shop/"+app, false), 9090, app, app)
	}
	for _, p := range partners {
		add("shop/api", "tcp", p, 443, "", "api")
	}
	return list
}

// trials are the connections that are tried in mode enforce, with what must become of them.
func (n *network) trials() []attempt {
	list := n.traffic()
	v4 := func(name string) string { return n.address(name, false) }
	v6 := func(name string) string { return n.address(name, true) }
	allow := func(from, to string, port int, label, policy string) {
		list = append(list, attempt{from: from, protocol: "tcp", to: to, port: port, label: label, allowed: true, policy: policy})
	}
	deny := func(from, protocol, to string, port int, label string) {
		list = append(list, attempt{from: from, protocol: protocol, to: to, port: port, label: label, policy: "shop/" + baseline.DefaultDenyName})
	}
	allow("shop/frontend", v4("shop/api"), 3000, "api pod", "shop/api")
	allow("shop/frontend", v6("shop/api"), 3000, "api pod, IPv6", "shop/api")
	allow("node", v4("shop/frontend"), 8080, "frontend pod (probe)", "")

	deny("shop/frontend", "tcp", name("database.shop"), 5432, "")
	deny("shop/frontend", "tcp", v6("shop/database"), 5432, "database pod, IPv6")
	deny("shop/frontend", "tcp", v4("shop/api"), 9090, "api pod")
	deny("shop/database", "tcp", stranger, 443, "")
	deny("shop/database", "udp", stranger, 9999, "")
	deny("shop/database", "tcp", v4("shop/api"), 3000, "api pod")
	deny("shop/api", "tcp", stranger, 443, "")
	deny("shop/api", "tcp", partners[0], 80, "")
	deny("monitoring/prometheus", "tcp", v4("shop/database"), 5432, "database pod")
	deny("ingress-nginx/controller", "tcp", name("api.shop"), 80, "")
	deny("attacker/shell", "tcp", name("database.shop"), 5432, "")
	deny("attacker/shell", "tcp", v6("shop/database"), 5432, "database pod, IPv6")
	deny("attacker/shell", "tcp", v4("shop/frontend"), 8080, "frontend pod")
	list = append(list, n.foothold())
	deny("shop/newcomer", "tcp", name("api.shop"), 80, "")
	deny("shop/newcomer", "tcp", stranger, 443, "")
	list = append(list, attempt{
		from: "shop/newcomer", protocol: "udp", to: name("api.shop"), port: 53, allowed: true, policy: "shop/" + baseline.AllowDNSName,
	})
	return list
}

// zone is what the cluster's DNS answers.
func zone(all []*workload) map[string]string {
	records := make(map[string]string)
	for _, w := range all {
		if w.clusterIP != "" {
			records[name(w.serviceName()+"."+w.namespace)] = w.clusterIP
		}
	}
	return records
}
