// SPDX-License-Identifier: Apache-2.0

package readiness

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

var monday = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func at(day int) time.Time { return monday.Add(time.Duration(day) * 24 * time.Hour) }

func end(kind, name string) edge.Endpoint {
	return edge.Endpoint{Kind: kind, Namespace: "shop", Name: name}
}

// seen is a connection of Deployment web to some port, seen on these days.
func seen(port int, from edge.Endpoint, days ...int) evidence.Connection {
	fold := edge.NewFold(1)
	k := edge.Key{From: from, To: end("Deployment", "api"), Port: uint16(port)}
	for i, day := range days {
		_ = fold.Add(k, edge.Observation{ID: uint64(i), Time: at(day)}) // it fits
	}
	return evidence.Connection{From: k.From, To: k.To, Port: k.Port, Evidence: &fold.Edges()[0].Evidence}
}

func daily(n int) (days []int) {
	for i := range n {
		days = append(days, i)
	}
	return days
}

func shop(more ...runtime.Object) *inventory.Inventory {
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "shop", Name: name} }
	pod := func(owner, name string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, Labels: map[string]string{"app": owner},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Deployment", Name: owner, Controller: new(true)}},
		}}
	}
	return inventory.New(append(more, &appsv1.Deployment{ObjectMeta: meta("web")}, &appsv1.Deployment{ObjectMeta: meta("api")}, pod("web", "web-1"), pod("api", "api-1")))
}

func cronJob(spec batchv1.CronJobSpec) runtime.Object {
	return &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "report"}, Spec: spec}
}

func TestJudge(t *testing.T) {
	web := end("Deployment", "web")
	for name, c := range map[string]struct {
		days        int
		connections []evidence.Connection
		more        []runtime.Object
		why         string // part of the summary
	}{
		"a week":               {7, []evidence.Connection{seen(80, web, daily(7)...)}, nil, "ready to be enforced: observed on 7 days"},
		"two days":             {2, []evidence.Connection{seen(80, web, 0, 1)}, nil, "not ready to be enforced: observed on 2 of 7 days"},
		"nothing":              {7, nil, nil, "Deployment shop/api: no connection was learned of it"},
		"one new connection":   {8, []evidence.Connection{seen(80, web, daily(8)...), seen(81, web, 7)}, nil, "1 of 2 connections are new within the last day"},
		"many seen once":       {8, []evidence.Connection{seen(80, web, daily(8)...), seen(81, web, 1), seen(82, web, 2), seen(83, web, 3)}, nil, "an estimated 72.7 % of what it does was seen, 95 % are wanted; about 3 connections"},
		"one seen once of lot": {20, []evidence.Connection{seen(80, web, daily(20)...), seen(82, web, daily(20)...), seen(81, web, 1)}, nil, "ready to be enforced"},
		"it did not run yet": {
			7,
			[]evidence.Connection{seen(80, web, daily(7)...)},
			[]runtime.Object{cronJob(batchv1.CronJobSpec{Schedule: "0 3 1 * *", TimeZone: new("Europe/Zurich")})},
			`CronJob shop/report: it runs at "0 3 1 * *" and was not seen yet: next at 2026-12-01T02:00:00Z`,
		},
		"it never runs": {
			7, []evidence.Connection{seen(80, web, daily(7)...)}, []runtime.Object{cronJob(batchv1.CronJobSpec{Schedule: "0 3 31 2 *"})}, "it never will",
		},
		"it is suspended": {
			7, []evidence.Connection{seen(80, web, daily(7)...)}, []runtime.Object{cronJob(batchv1.CronJobSpec{Schedule: "@daily", Suspend: new(true)})}, "it is suspended",
		},
		"it ran": {
			7, []evidence.Connection{seen(80, web, daily(7)...), seen(80, end("CronJob", "report"), 2, 3)}, []runtime.Object{cronJob(batchv1.CronJobSpec{Schedule: "@daily"})}, "ready to be enforced",
		},
		"scaled to nothing": {
			7, []evidence.Connection{seen(80, web, daily(7)...)}, []runtime.Object{&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "idle"}}}, "ready to be enforced",
		},
	} {
		r := Judge("shop", baseline.BothDirections(), c.connections, shop(c.more...), evidence.Span{First: at(0), Last: at(c.days - 1)}, DefaultThresholds())
		if got := r.Summary(); !strings.Contains(got, c.why) || strings.HasPrefix(c.why, "ready") != r.Ready {
			t.Errorf("%s: %s; want %s", name, got, c.why)
		}
	}
}

// TestGovernedOnly: what a workload does in a direction that nobody governs is not counted, and it is not silent.
func TestGovernedOnly(t *testing.T) {
	web := end("Deployment", "web")
	objects := shop(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}})
	connections := []evidence.Connection{seen(80, web, daily(8)...), seen(81, web, 7)} // to api
	for _, tt := range []struct {
		governed baseline.Directions
		want     string // workload, connections, new, ready
	}{
		{baseline.BothDirections(), "Deployment shop/api 2 1 false; Deployment shop/web 2 1 false"},
		{baseline.Directions{Ingress: true}, "Deployment shop/api 2 1 false; Deployment shop/web 0 0 true"},
		{baseline.Directions{Egress: true}, "Deployment shop/api 0 0 true; Deployment shop/web 2 1 false"},
	} {
		r := Judge("shop", tt.governed, connections, objects, evidence.Span{First: at(0), Last: at(7)}, DefaultThresholds())
		var got []string
		for _, w := range r.Workloads {
			got = append(got, fmt.Sprint(w.Workload, " ", w.Connections, " ", w.New, " ", w.Ready))
		}
		if strings.Join(got, "; ") != tt.want || len(r.Silent()) > 0 {
			t.Errorf("%v: got %s, silent %v, want %s", tt.governed, got, r.Silent(), tt.want)
		}
	}
}

// TestEstimate: over many workloads, the estimated coverage is the true one on average, and Chao's number is no more
// than what is unseen.
func TestEstimate(t *testing.T) {
	for _, days := range []int{7, 30} {
		var errors, estimates, truths []float64
		for seed := range uint64(400) {
			r := rand.New(rand.NewPCG(seed, uint64(days)))
			var once, twice, all, unseen int
			var known, total float64
			for range 60 {
				often := math.Pow(r.Float64(), 3) // a few on most days, many hardly ever
				n := 0
				for range days {
					if r.Float64() < often {
						n++
					}
				}
				total += often
				all += n
				switch n {
				case 0:
					unseen++
					known -= often
				case 1:
					once++
				case 2:
					twice++
				}
				known += often
			}
			coverage, missing := estimate(once, twice, all, days)
			errors = append(errors, coverage-known/total)
			estimates, truths = append(estimates, missing), append(truths, float64(unseen))
		}
		if bias := mean(errors); math.Abs(bias) > 0.01 {
			t.Errorf("%d days: the coverage is off by %.3f on average", days, bias)
		}
		if got, most := mean(estimates), mean(truths); got > most || got < most/6 {
			t.Errorf("%d days: an estimated %.1f unseen of %.1f", days, got, most)
		}
	}
}

func mean(all []float64) (m float64) {
	for _, v := range all {
		m += v / float64(len(all))
	}
	return m
}

func TestSummaryIsShort(t *testing.T) {
	r := &Report{}
	for i := range 9 {
		r.Workloads = append(r.Workloads, Workload{Workload: fmt.Sprint("w", i), Silent: true, Why: []string{"because"}})
	}
	if got := r.Summary(); !strings.HasSuffix(got, "w4: because; and 4 more reasons") {
		t.Error(got)
	}
	if got := r.Silent(); !slices.Contains(got, "w8") || len(got) != 9 {
		t.Error(got)
	}
}
