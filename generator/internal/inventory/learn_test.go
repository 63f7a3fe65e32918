// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// pod reads "shop/web-1 Deployment/web app=web tier=front" as what a flow says of a pod; "-" is no workload.
func pod(text string) flows.Endpoint {
	words := strings.Fields(text)
	e := flows.Endpoint{}
	e.Namespace, e.Pod, _ = strings.Cut(words[0], "/")
	if len(words) > 1 && words[1] != "-" {
		e.Kind, e.Workload, _ = strings.Cut(words[1], "/")
	}
	for _, l := range words[min(2, len(words)):] {
		e.Labels = append(e.Labels, "k8s:"+l)
	}
	return e
}

func record(id uint64, from, to flows.Endpoint) *flows.Record {
	return &flows.Record{
		ID: id, Time: hour.Add(time.Duration(id%3600) * time.Second), Node: "node-1", Oriented: true, Side: flows.Egress,
		Verdict: flows.Forwarded, Protocol: "TCP", DestinationPort: 443, Source: from, Destination: to,
	}
}

// learn reads the records and returns what is known then.
func learn(t *testing.T, records []*flows.Record) (*inventory.Inventory, *edge.Fold) {
	t.Helper()
	inv := inventory.Learning()
	fold, _, err := settle(t, inv, records)
	if err == nil {
		fold, err = inv.Conclude(fold)
	}
	if err != nil {
		t.Fatal(err)
	}
	return inv, fold
}

// outside is an end that is no pod.
var outside = flows.Endpoint{Addr: netip.MustParseAddr("192.0.2.1"), Entity: "world"}

// described is the workloads in lines: "Deployment shop/web app=web", or with the advice in brackets.
func described(inv *inventory.Inventory) (lines []string) {
	for _, w := range inv.Workloads() {
		line := w.Endpoint().String()
		if w.Selector != nil {
			line += " " + metav1.FormatLabelSelector(w.Selector)
		} else {
			line += " [" + w.Advice + "]"
		}
		if len(w.Also) > 0 {
			line += " also " + strings.Join(w.Also, ", ")
		}
		lines = append(lines, line)
	}
	return lines
}

func TestLearn(t *testing.T) {
	for _, tt := range []struct {
		name string
		pods []string
		want []string // beginnings of lines
	}{
		{"what flows say", []string{"shop/web-1 Deployment/web app=web", "shop/db-0 StatefulSet/db app=db"}, []string{"StatefulSet shop/db app=db", "Deployment shop/web app=web"}},
		{"by labels of another node's flows", []string{"shop/web-1 Deployment/web app=web", "shop/web-2 - app=web"}, []string{"Deployment shop/web app=web"}},
		{"a rollout with other labels", []string{"shop/web-1 Deployment/web app=web color=red", "shop/web-2 Deployment/web app=web color=blue"}, []string{"Deployment shop/web app=web"}},
		{"versions are left out", []string{"shop/web-1 Deployment/web app=web version=1", "shop/db-0 StatefulSet/db app=db"}, []string{"StatefulSet shop/db app=db", "Deployment shop/web app=web"}},
		{"unless they tell workloads apart", []string{"shop/v1 Deployment/v1 app=web version=1", "shop/v2 Deployment/v2 app=web version=2"}, []string{"Deployment shop/v1 app=web,version=1", "Deployment shop/v2 app=web,version=2"}},
		{"a canary", []string{"shop/web-1 Deployment/web app=web", "shop/canary-1 Deployment/canary app=web track=canary"}, []string{"Deployment shop/canary app=web,track=canary", "Deployment shop/web app=web,track notin (canary)"}},
		{"revisions are no labels", []string{"shop/db-0 StatefulSet/db app=db statefulset.kubernetes.io/pod-name=db-0", "shop/db-1 StatefulSet/db app=db statefulset.kubernetes.io/pod-name=db-1"}, []string{"StatefulSet shop/db app=db"}},
		{"a ReplicaSet's Deployment", []string{"shop/web-1 ReplicaSet/web-5d8f7c6b9d app=web"}, []string{"Deployment shop/web app=web"}},
		{"a Job's CronJob", []string{"shop/run-1 Job/run-29384756 app=run", "shop/run-2 Job/run-29384757 app=run"}, []string{"CronJob shop/run app=run"}},
		{"the same labels", []string{"shop/a-1 Deployment/a app=web", "shop/b-1 Deployment/b app=web"}, []string{"Pod shop/a-1 [pods of Deployment shop/a and of Deployment shop/b have the same labels (app=web)"}},
		{"a bare pod with a workload's labels and more", []string{"shop/web-1 Deployment/web app=web", "shop/debug Pod/debug app=web by=hand"}, []string{"Pod shop/debug app=web,by=hand", "Deployment shop/web app=web also Pod shop/debug"}},
		{"pods with nothing in common", []string{"shop/a-1 Deployment/a x=1", "shop/a-2 Deployment/a x=2"}, []string{"Deployment shop/a [its pods have no lasting label in common"}},
		{"no labels", []string{"shop/a-1 Deployment/a"}, []string{"Deployment shop/a [flows do not say what labels"}},
		{"nothing but a name", []string{"shop/a-1"}, nil},
		{"nothing but names and labels", []string{"shop/web-5d8f7c6b9d-x2vq8 - app=web", "shop/web-5d8f7c6b9d-x2vq9 - app=web", "shop/db-0 - app=db"}, []string{"Workload shop/db app=db", "Deployment shop/web app=web"}},
		{"a name that flows of other pods explain", []string{"shop/db-0 - app=db role=replica", "shop/db-1 StatefulSet/db app=db role=primary"}, []string{"StatefulSet shop/db app=db"}},
		{"a kind that only some labels tell", []string{"shop/db-0 - app=db", "shop/db-1 - app=db statefulset.kubernetes.io/pod-name=db-1"}, []string{"StatefulSet shop/db app=db"}},
		{"and the other way round", []string{"shop/db-1 - app=db statefulset.kubernetes.io/pod-name=db-1", "shop/db-0 - app=db"}, []string{"StatefulSet shop/db app=db"}},
		{"pods that cannot be told apart, with a workload's labels and more", []string{"shop/web-1 Deployment/web app=web", "shop/a-1 Deployment/a app=web x=1", "shop/b-1 Deployment/b app=web x=1"}, []string{
			"Pod shop/a-1 [pods of Deployment shop/a", "Deployment shop/web [the labels of its pods (app=web) are also those of pods of Pod shop/a-1",
		}},
		{"names that do not agree", []string{"shop/a - app=web", "shop/b - app=web"}, []string{"Pod shop/a [pods of Pod shop/a and of Pod shop/b have the same labels"}},
		{"another cluster", []string{"shop/a-1 Deployment/a app=a io.cilium.k8s.policy.cluster=west", "shop/b-1 Deployment/b app=b io.cilium.k8s.policy.cluster=west", "shop/c-1 Deployment/c app=c io.cilium.k8s.policy.cluster=east"}, []string{"Deployment shop/a app=a", "Deployment shop/b app=b"}},
		{"the same in two namespaces", []string{"shop/a-1 Deployment/a app=a", "bank/b-1 Deployment/b app=a"}, []string{"Deployment bank/b app=a", "Deployment shop/a app=a"}},
		{"labels that cannot be", []string{"shop/a-1 Deployment/a app=<b>"}, []string{"Deployment shop/a [flows do not say"}},
		{"a name that cannot be a policy's", []string{"shop/a.-1 - app=a"}, []string{"Workload shop/a. [its name cannot be that of a policy"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var records []*flows.Record
			for i, p := range tt.pods {
				records = append(records, record(uint64(i), pod(p), outside))
			}
			inv, fold := learn(t, records)
			got := described(inv)
			if len(got) != len(tt.want) {
				t.Fatalf("%q, want %q", got, tt.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tt.want[i]) {
					t.Errorf("%s, want %s", got[i], tt.want[i])
				}
			}
			for _, e := range fold.Edges() {
				if strings.Contains(e.From.Name, "+") {
					t.Errorf("%s is not a name", e.From)
				}
			}
		})
	}
}

// TestLearnedServices: an address that a flow gives to a Service is one in all flows; a node's is the node's.
func TestLearnedServices(t *testing.T) {
	at := func(addr, entity, service string) flows.Endpoint {
		return flows.Endpoint{Addr: netip.MustParseAddr(addr), Entity: entity, Service: service, ServiceNamespace: "shop"}
	}
	from := pod("shop/web-1 Deployment/web app=web")
	var records []*flows.Record
	for i, to := range []flows.Endpoint{
		at("10.96.0.5", "world", ""), at("10.96.0.5", "world", "api"), at("10.96.0.5", "", ""),
		at("172.18.0.5", "remote-node", "kubernetes"), at("192.0.2.1", "world", ""),
	} {
		records = append(records, record(uint64(i), from, to))
	}
	_, fold := learn(t, records)
	var got []string
	for _, e := range fold.Edges() {
		got = append(got, e.To.String())
	}
	if want := []string{"service 10.96.0.5", "remote-node 172.18.0.5", "192.0.2.1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestLearnedScan: a workload that tries more ports than are kept pushes out its own edges, and what it did is one that stands
// for many.
func TestLearnedScan(t *testing.T) {
	web, db, api := pod("shop/web-1 Deployment/web app=web"), pod("shop/db-0 StatefulSet/db app=db"), pod("shop/api-1 Deployment/api app=api")
	var records []*flows.Record
	for port := range 6000 {
		r := record(uint64(port), web, db)
		r.DestinationPort = uint16(port + 1)
		records = append(records, r)
	}
	for port := range 1000 {
		r := record(uint64(port), api, db)
		r.DestinationPort = uint16(port + 1)
		records = append(records, r)
	}
	inv := inventory.Learning()
	read, _, err := settle(t, inv, records)
	if err != nil {
		t.Fatal(err)
	}
	all := edge.NewSample(edge.Limits{})
	for _, e := range slices.Concat(read.Edges(), []edge.Edge{read.Overflows()[0].Edge()}) {
		if err := all.Put(e.Key, &e); err != nil {
			t.Fatal(err)
		}
	}
	fold, err := inv.Conclude(all)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, e := range fold.Edges() {
		count[fmt.Sprint(e.From.Name, " ", e.To.Name, " ", e.To.Entity)]++
	}
	if want := map[string]int{"web db ": edge.DefaultLimits.Group, "web db others": 1, "api db ": 1000}; !maps.Equal(count, want) {
		t.Errorf("%v, want %v", count, want)
	}
}

// TestLearnedSample: a pod that was seen with different labels stands for itself twice.
func TestLearnedSample(t *testing.T) {
	inv, _ := learn(t, []*flows.Record{
		record(1, pod("shop/db-0 StatefulSet/db app=db color=red"), outside), record(2, pod("shop/db-0 StatefulSet/db app=db color=blue"), outside),
	})
	named := map[string]string{}
	for _, p := range inv.Sample().Pods {
		named[p.Name] = p.Labels["color"]
	}
	if colors := slices.Sorted(maps.Values(named)); !slices.Equal(colors, []string{"blue", "blue", "red", "red"}) {
		t.Errorf("the sample has %v", named)
	}
}

// TestLearnCalico: pods of Calico's logs are learned, aggregated or not, by their names and labels.
func TestLearnCalico(t *testing.T) {
	const line = `{"start_time":1795168800,"end_time":1795169100,"source_ip":IP,"source_name":"NAME","source_name_aggr":"web-5d8f7c6b9d-*","source_namespace":"shop","source_port":null,` +
		`"source_type":"wep","source_labels":{"labels":["app=web","pod-template-hash=5d8f7c6b9d","projectcalico.org/namespace=shop"]},"dest_ip":null,"dest_name":"-","dest_name_aggr":"db-*","dest_namespace":"shop",` +
		`"dest_port":5432,"dest_type":"wep","dest_labels":{"labels":["app=db"]},"proto":"tcp","action":"allow","reporter":"src","num_flows_started":2}`
	for _, source := range []string{`null "-"`, `"10.0.0.1" "web-5d8f7c6b9d-x2vq8"`} {
		ip, name, _ := strings.Cut(source, " ")
		inv := inventory.Learning()
		edges := readLearning(t, inv, strings.NewReplacer("IP", ip, `"NAME"`, name).Replace(line))
		if got, want := described(inv), []string{"Workload shop/db app=db", "Deployment shop/web app=web"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
		if len(edges) != 1 || edges[0].Key.String() != "Deployment shop/web → Workload shop/db TCP/5432" {
			t.Errorf("%s: %v", source, edges)
		}
	}
}

// TestLearnedOrder: what is learned is a matter of what flows say, not of their order or number.
func TestLearnedOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 100 {
		records := someRecords(r)
		inv, fold := learn(t, records)
		want := fmt.Sprintf("%q %+v %v", described(inv), *inv.Learned(), fold.Edges())
		for range 10 {
			again := slices.Concat(records, records[:r.IntN(len(records))])
			r.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
			inv, fold := learn(t, again)
			if got := fmt.Sprintf("%q %+v %v", described(inv), *inv.Learned(), fold.Edges()); got != want {
				t.Fatalf("another order gives\n%s\nwant\n%s", got, want)
			}
		}
	}
}

// someRecords are of pods that have little to do with each other: everything that can be unclear is.
func someRecords(r *rand.Rand) (records []*flows.Record) {
	of := func(words ...string) string { return words[r.IntN(len(words))] }
	end := func() flows.Endpoint {
		switch r.IntN(6) {
		case 0:
			return outside
		case 1: // named by others, or a Service's
			return flows.Endpoint{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(9))}), Entity: "world", Service: of("", "", "web"), ServiceNamespace: "shop"}
		}
		e := pod(of("shop", "bank", "ci") + "/" + of("web-5d8f7c6b9d-x2vq8", "web-1", "db-0", "db-1", "x", "run-29384756-x2vq8") + " " +
			of("-", "-", "Deployment/web", "StatefulSet/db", "Pod/x", "Job/run-29384756", "Deployment/api"))
		for range r.IntN(4) {
			e.Labels = append(e.Labels, of("k8s:app=web", "k8s:app=db", "k8s:version=1", "k8s:tier=a", "k8s:pod-template-hash=5d8f7c6b9d", "k8s:controller-revision-hash=db-1", "k8s:io.cilium.k8s.policy.cluster=west", "k8s:io.cilium.k8s.policy.cluster=east", "k8s:x=?"))
		}
		e.Addr = netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(9))})
		return e
	}
	for range 3 + r.IntN(40) {
		records = append(records, record(r.Uint64(), end(), end()))
	}
	return records
}

// TestCrowded: of a namespace with more kinds of pods than can be learned nothing is, whichever come first, and the others
// do not suffer.
func TestCrowded(t *testing.T) {
	records := []*flows.Record{record(1, pod("shop/web-1 Deployment/web app=web"), outside)}
	for i := range 1025 {
		records = append(records, record(uint64(i), pod(fmt.Sprintf("ci/run-%d Pod/run-%d run=%d", i, i, i)), outside))
	}
	for range 2 {
		inv, fold := learn(t, records)
		if got := described(inv); !slices.Equal(got, []string{"Deployment shop/web app=web"}) || !slices.Equal(inv.Learned().Crowded, []string{"ci"}) || fold.Len() != 2 {
			t.Errorf("%d workloads, crowded are %q, %d edges", len(got), inv.Learned().Crowded, fold.Len())
		}
		if why := inv.Unknown(edge.Endpoint{Kind: "Pod", Namespace: "ci", Name: "*"}); !strings.Contains(why, "1024 different sets of labels") {
			t.Error(why)
		}
		slices.Reverse(records)
	}
}

// TestNotLearning: an inventory of objects, empty ones too, learns nothing.
func TestNotLearning(t *testing.T) {
	inv := inventory.New(nil)
	fold, _, err := settle(t, inv, []*flows.Record{record(1, pod("shop/web-1 Deployment/web app=web"), outside)})
	if err != nil {
		t.Fatal(err)
	}
	if same, err := inv.Conclude(fold); err != nil || same != fold || inv.Learned() != nil || len(inv.Workloads()) > 0 {
		t.Errorf("%v, %+v", err, inv.Learned())
	}
}
