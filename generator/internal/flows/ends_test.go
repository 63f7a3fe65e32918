// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"fmt"
	"strings"
	"testing"
)

// TestEntity: who has an address that is no pod's is a label, and what is outside has one name.
func TestEntity(t *testing.T) {
	for labels, want := range map[string]string{
		"reserved:world":                                           "world",
		"reserved:world-ipv4":                                      "world",
		"cidr:203.0.113.9/32 reserved:world-ipv6":                  "world",
		"fqdn:pay.example reserved:world":                          "world",
		"reserved:remote-node reserved:world-ipv4":                 "remote-node",
		"k8s:app=api k8s:io.kubernetes.pod.namespace=shop":         EntityPod,
		"k8s:app=api":                                              "",
		"reserved:host reserved:remote-node":                       "host",
		"reserved:host reserved:kube-apiserver":                    "kube-apiserver",
		"reserved:kube-apiserver reserved:remote-node":             "kube-apiserver",
		"cidr:192.0.2.1/32 reserved:kube-apiserver reserved:world": "kube-apiserver",
		"reserved:ingress reserved:remote-node":                    "ingress",
		"reserved:<script>":                                        "",
	} {
		var e Endpoint
		if e.setLabels(readLabels(strings.Fields(labels))); e.Entity != want || e.Host != strings.Contains(labels, "reserved:host") {
			t.Errorf("%s: entity %q, want %q, host: %v", labels, e.Entity, want, e.Host)
		}
	}
}

// TestOtherCluster: a pod of another cluster has no names that mean anything here.
func TestOtherCluster(t *testing.T) {
	const line = `{"time":"2026-11-20T10:00:00Z","verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"UDP":{}},%s` +
		`"source":{"namespace":"shop","pod_name":"a"%s},"destination":{"namespace":"shop","pod_name":"b"%s},"Type":"L3_L4"}`
	const east, west = `,"cluster_name":"east"`, `,"cluster_name":"west"`
	tests := []struct{ name, state, source, destination, want string }{
		{"one cluster", `"is_reply":false,"traffic_direction":"INGRESS",`, east, east, "Pod shop/a Pod shop/b"},
		{"clusters that are not told", `"is_reply":false,"traffic_direction":"INGRESS",`, east, ``, "Pod shop/a Pod shop/b"},
		{"the client's", `"is_reply":false,"traffic_direction":"INGRESS",`, west, east, "10.0.0.1 Pod shop/b"},
		{"the server's", `"is_reply":false,"traffic_direction":"EGRESS",`, east, west, "Pod shop/a 10.0.0.2"},
		{"the server's, of an answer", `"is_reply":true,"traffic_direction":"EGRESS",`, west, east, "Pod shop/b 10.0.0.1"},
		{"not known whose", ``, west, east, "10.0.0.1 10.0.0.2"},
		{"as others print it", `"isReply":false,"trafficDirection":"INGRESS",`, `,"clusterName":"west"`, east, "10.0.0.1 Pod shop/b"},
	}
	for _, tt := range tests {
		var rec Record
		_, err := newDecoder().decode(fmt.Appendf(nil, line, tt.state, tt.source, tt.destination), &rec)
		if got := rec.Source.String() + " " + rec.Destination.String(); err != nil || got != tt.want {
			t.Errorf("%s: %s, want %s (%v)", tt.name, got, tt.want, err)
		}
	}
}

// TestAnswerOfService: who has an address that is a Service's is not what the labels of an answer say: they are of who gave it.
func TestAnswerOfService(t *testing.T) {
	const line = `{"time":"2026-11-20T10:00:00Z","verdict":"FORWARDED","IP":{"source":"10.96.0.1","destination":"10.0.0.2"},"l4":{"TCP":{"source_port":443}},` +
		`"source":{"labels":[%q]},"source_service":{"name":"kubernetes","namespace":"default"},"is_reply":true,"traffic_direction":"EGRESS"}`
	for _, label := range []string{"reserved:kube-apiserver", "k8s:io.kubernetes.pod.namespace=shop", "reserved:world"} {
		var rec Record
		if _, err := newDecoder().decode(fmt.Appendf(nil, line, label), &rec); err != nil || rec.Destination.Service != "kubernetes" || rec.Destination.Entity != "" {
			t.Errorf("%s: %+v %v", label, rec.Destination, err)
		}
	}
}
