// SPDX-License-Identifier: Apache-2.0

package simulation_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bulkhead-dev/bulkhead/test/simulation"
)

var (
	randomApps = flag.Int("simulation.apps", 12, "how many random applications TestRandom makes")
	firstApp   = flag.Uint64("simulation.first", 1, "the seed of the first of them")
)

// TestRandom: of applications that nobody thought of, too, just what is true is allowed.
func TestRandom(t *testing.T) {
	for seed := *firstApp; seed < *firstApp+uint64(*randomApps); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			g := generator{rand.New(rand.NewPCG(seed, 6))}
			folder := g.application()
			app, err := simulation.Load("random", folder)
			if err != nil {
				t.Fatalf("%v\n%s%s", err, folder["app.yaml"].Data, folder["truth.yaml"].Data)
			}
			options, form := g.observation(seed)
			trace, err := simulation.Run(app, options)
			if err != nil {
				t.Fatal(err)
			}
			got := judge(t, trace, form)
			if len(got.Missing)+len(got.Excess)+len(got.NoPolicy)+len(got.NoDNS) > 0 {
				t.Errorf("%s\ndenied, and true: %q\nallowed, and not true: %q\nwithout a policy: %q\nwithout DNS: %q\n%+v %+v\n%s%s",
					got, got.Missing, got.Excess, got.NoPolicy, got.NoDNS, options, form, folder["app.yaml"].Data, folder["truth.yaml"].Data)
			}
		})
	}
}

// generator makes what people might install.
type generator struct{ *rand.Rand }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

// observation is how an application is observed, well enough to see all of it.
func (g generator) observation(seed uint64) (simulation.Options, simulation.Form) {
	o := simulation.Options{
		Seed: seed, Rollouts: g.IntN(3), Nodes: 1 + g.IntN(4), KubeProxy: g.chance(40), IPv6: g.chance(25), AllPoints: g.chance(25),
		DNSPort: pick(g, uint16(53), 5353),
	}
	if g.chance(40) {
		o.Duplicates, o.Disorder, o.Skew = 0.2, 20*time.Second, time.Second/2
	}
	if g.chance(30) {
		o.Noise = simulation.Noise{Denied: 20, ICMP: 20, Hairpins: g.IntN(2)}
	}
	return o, simulation.Form{Bare: g.chance(30), NoWorkloads: g.chance(30)}
}

// part is a workload of a random application.
type part struct {
	kind, namespace, name string
	selector, template    string // labels
	ports                 []port
	service               bool
}

type port struct {
	name            string // empty: it has none
	protocol        string
	number, outside int
}

func (g generator) application() fstest.MapFS {
	var manifests, truth strings.Builder
	var parts []part
	for n := range 1 + g.IntN(4) {
		namespace := fmt.Sprintf("ns-%d", n)
		fmt.Fprintf(&manifests, "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n---\n", namespace)
		for range 1 + g.IntN(4) {
			parts = append(parts, g.group(namespace, len(parts))...)
		}
	}
	for _, p := range parts {
		p.write(&manifests)
	}
	g.truth(&truth, parts)
	return fstest.MapFS{
		"app.yaml":   {Data: []byte(strings.TrimSuffix(manifests.String(), "---\n"))},
		"truth.yaml": {Data: []byte(truth.String())},
	}
}

// group is one workload, or some that share labels in one of the ways that people have.
func (g generator) group(namespace string, n int) []part {
	name := fmt.Sprintf("part-%d", n)
	one := func(suffix, selector, template string) part {
		return g.part(namespace, name+suffix, selector, template)
	}
	app := "app: " + name
	extra := pick(g, "", ", tier: back", ", helm.sh/chart: store-1.2.3", ", app.kubernetes.io/version: \"7\"")
	switch g.IntN(6) {
	case 0: // a release and its canary, which the release's selector and its Service select, too
		release, canary := one("", app, app+extra), one("-canary", app+", track: canary", app+", track: canary"+extra)
		canary.kind, canary.ports, canary.service = release.kind, slices.Clone(release.ports), false
		for i := range canary.ports {
			if canary.ports[i].name != "" {
				canary.ports[i].number++
			}
		}
		return []part{release, canary}
	case 1: // two tracks
		return []part{one("", app+", track: stable", app+", track: stable"+extra), one("-canary", app+", track: canary", app+", track: canary")}
	case 2: // two versions beside each other
		return []part{one("-v1", app+", version: v1", app+", version: v1"), one("-v2", app+", version: v2", app+", version: v2"+extra)}
	case 3: // the parts of a chart, of which the first forgot to say which it is
		role := func(name string) string { return app + ", component: " + name }
		return []part{one("", app, role("web")+extra), one("-worker", role("worker"), role("worker")+extra), one("-cache", role("cache"), role("cache"))}
	}
	return []part{one("", app, app+extra)}
}

func (g generator) part(namespace, name, selector, template string) part {
	p := part{kind: pick(g, "Deployment", "Deployment", "Deployment", "StatefulSet", "DaemonSet", "CronJob"), namespace: namespace, name: name, selector: selector, template: template}
	if p.kind == "CronJob" {
		return p
	}
	for i := range g.IntN(4) {
		number := 1024 + g.IntN(40000)
		if g.chance(20) {
			number = 80 + i
		}
		p.ports = append(p.ports, port{pick(g, "", fmt.Sprintf("port-%d", i)), pick(g, "TCP", "TCP", "TCP", "UDP", "SCTP"), number, 80 + 10*i})
	}
	p.service = g.chance(70)
	return p
}

func (p part) write(out *strings.Builder) {
	pod := fmt.Sprintf("{metadata: {labels: {%s}}, spec: {containers: [{name: main, image: registry.example/main, ports: [", p.template)
	for _, o := range p.ports {
		pod += "{"
		if o.name != "" {
			pod += "name: " + o.name + ", "
		}
		pod += fmt.Sprintf("containerPort: %d, protocol: %s}, ", o.number, o.protocol)
	}
	pod += "]}]"
	meta := fmt.Sprintf("metadata: {namespace: %s, name: %s}", p.namespace, p.name)
	if p.kind == "CronJob" {
		fmt.Fprintf(out, "apiVersion: batch/v1\nkind: CronJob\n%s\nspec: {schedule: \"7 * * * *\", jobTemplate: {spec: {template: %s, restartPolicy: Never}}}}}\n---\n", meta, pod)
		return
	}
	fmt.Fprintf(out, "apiVersion: apps/v1\nkind: %s\n%s\nspec: {%s selector: {matchLabels: {%s}}, template: %s}}}\n---\n",
		p.kind, meta, map[string]string{"Deployment": "replicas: 2,", "StatefulSet": "replicas: 2, serviceName: none,"}[p.kind], p.selector, pod)
	if len(p.ports) == 0 || !p.service {
		return
	}
	fmt.Fprintf(out, "apiVersion: v1\nkind: Service\n%s\nspec:\n  selector: {%s}\n  ports:\n", meta, p.template)
	for _, o := range p.ports {
		target := fmt.Sprint(o.number)
		if o.name != "" {
			target = o.name
		}
		fmt.Fprintf(out, "  - {name: p%d, port: %d, protocol: %s, targetPort: %s}\n", o.outside, o.outside, o.protocol, target)
	}
	out.WriteString("---\n")
}

// truth lists who talks to whom.
func (g generator) truth(out *strings.Builder, parts []part) {
	out.WriteString("externals:\n  a: {addresses: [203.0.113.10, 203.0.113.11]}\n  b: {addresses: [198.51.100.9], names: [b.example]}\nedges:\n")
	fmt.Fprintf(out, "- {from: %s/%s, to: external a, port: 443, perRun: 4}\n", parts[0].namespace, parts[0].name)
	for _, from := range parts {
		for range g.IntN(4) {
			line := fmt.Sprintf("- {from: %s/%s, perRun: 4, ", from.namespace, from.name)
			to := pick(g, parts...)
			switch {
			case g.chance(10):
				fmt.Fprintf(out, "%sto: external %s, port: %d}\n", line, pick(g, "a", "b"), pick(g, 443, 8443))
			case g.chance(5):
				fmt.Fprintf(out, "%sto: kube-apiserver, port: 6443}\n", line)
			case len(to.ports) > 0 && to.service:
				o := pick(g, to.ports...)
				fmt.Fprintf(out, "%sto: service %s/%s, protocol: %s, port: %d}\n", line, to.namespace, to.name, o.protocol, o.outside)
			case len(to.ports) > 0:
				o := pick(g, to.ports...)
				fmt.Fprintf(out, "%sto: %s/%s, protocol: %s, port: %d}\n", line, to.namespace, to.name, o.protocol, o.number)
			}
		}
	}
}
