// SPDX-License-Identifier: Apache-2.0

package simulation_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/test/simulation"
)

// bulkhead is the generator's binary, as users run it.
var bulkhead string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "simulation")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	bulkhead = filepath.Join(dir, "bulkhead")
	if out, err := exec.Command("go", "build", "-o", bulkhead, "../../generator").CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}

// Ways to observe an application.
var (
	busy         = simulation.Options{Seed: 9, Rollouts: 1, Loss: simulation.Loss{BusyNode: true}}
	churn        = simulation.Options{Seed: 10, Duration: time.Hour, Rollouts: 260} // 10,000 pod starts
	full         = simulation.Options{Seed: 1, Rollouts: 2}
	lossy        = simulation.Options{Seed: 2, Rollouts: 2, Loss: simulation.Loss{Rate: 0.3, Handshakes: true}}
	kubeProxy    = simulation.Options{Seed: 3, Rollouts: 2, KubeProxy: true}
	packetLB     = simulation.Options{Seed: 20, Rollouts: 1, PacketLB: true, AllPoints: true}
	tunnel       = simulation.Options{Seed: 21, Rollouts: 1, Tunnel: true}
	mistracked   = simulation.Options{Seed: 22, Rollouts: 1, Mistracked: 0.02}
	otherDNS     = simulation.Options{Seed: 4, DNSPort: 5353}
	allPoints    = simulation.Options{Seed: 5, AllPoints: true}
	disorderly   = simulation.Options{Seed: 6, Rollouts: 2, Duplicates: 0.2, Disorder: 20e9, Skew: 0.5e9}
	denied       = simulation.Options{Seed: 7, Noise: simulation.Noise{Denied: 40, ICMP: 40}}
	wrongClocks  = simulation.Options{Seed: 101, Duration: 10 * time.Minute, Rollouts: 8, Rate: 100, Skew: 3 * time.Second}
	noChurn      = simulation.Options{Seed: 11}
	byHand       = simulation.Options{Seed: 14, Noise: simulation.Noise{Strays: 3}}
	visited      = simulation.Options{Seed: 15, Noise: simulation.Noise{Strangers: 3}}
	hairpins     = simulation.Options{Seed: 16, KubeProxy: true, Noise: simulation.Noise{Hairpins: 1}}
	scannedAgain = simulation.Options{Seed: 18, Noise: simulation.Noise{Scans: 4}}
	scannedSeen  = simulation.Options{Seed: 8, AllPoints: true, Noise: simulation.Noise{Scans: 1}}
	ipv6         = simulation.Options{Seed: 19, IPv6: true, KubeProxy: true, Rollouts: 1, Noise: simulation.Noise{ICMP: 20, Denied: 20}}
	scanned      = simulation.Options{Seed: 8, Noise: simulation.Noise{Scans: 1}}
	hubble       = simulation.Form{}
	bare         = simulation.Form{Bare: true}
	noWorkloads  = simulation.Form{NoWorkloads: true}
	noPods       = simulation.Form{NoPods: true}
	noReply      = simulation.Form{NoReply: true}
)

// TestGenerate holds what the generator writes to the truth. A row names the application, how it was observed, and what
// is wrong with the policies: nothing, or what the generator is known to get wrong.
func TestGenerate(t *testing.T) {
	tests := []struct {
		app, how string
		options  simulation.Options
		form     simulation.Form
		missing  []string // true edges that the policies deny
		excess   []string // what they allow and should not
	}{
		{"three-tier", "full", full, hubble, nil, nil},
		{"three-tier", "lossy", lossy, hubble, nil, nil},
		{"three-tier", "kube-proxy", kubeProxy, hubble, nil, nil},
		{"three-tier", "translated at the pod", packetLB, hubble, nil, nil},
		{"three-tier", "late answers", mistracked, hubble, nil, nil},
		{"three-tier", "DNS at 5353", otherDNS, hubble, nil, nil},
		{"three-tier", "all points", allPoints, hubble, nil, nil},
		{"three-tier", "disorderly", disorderly, hubble, nil, nil},
		{"three-tier", "denied", denied, hubble, nil, nil},
		{"three-tier", "scanned", scanned, hubble, nil, nil},
		{"three-tier", "by hand", byHand, hubble, nil, nil},
		// Who came once is listed, and not learned.
		{"three-tier", "visited", visited, hubble, []string{
			"198.18.151.35 → Deployment shop/web TCP/8080", "198.18.178.233 → Deployment shop/web TCP/8080", "198.18.72.209 → Deployment shop/web TCP/8080",
		}, nil},
		{"three-tier", "hairpins", hairpins, hubble, nil, nil},
		{"three-tier", "scanned again", scannedAgain, hubble, nil, nil},
		{"three-tier", "scanned, all points", scannedSeen, hubble, nil, nil},
		{"three-tier", "bare", full, bare, nil, nil},
		{"three-tier", "no workloads", full, noWorkloads, nil, nil},
		{"three-tier", "no pods", full, noPods, nil, nil},
		{"three-tier", "no reply", full, noReply, nil, nil},
		{"boutique", "full", full, hubble, nil, nil},
		{"boutique", "lossy", lossy, hubble, nil, nil},
		{"boutique", "kube-proxy", kubeProxy, hubble, nil, nil},
		{"queue", "full", full, hubble, nil, nil},
		{"queue", "lossy", lossy, hubble, nil, nil},
		{"queue", "kube-proxy", kubeProxy, hubble, nil, nil},
		{"mesh", "full", full, hubble, nil, nil},
		{"mesh", "lossy", lossy, hubble, nil, nil},
		{"mesh", "kube-proxy", kubeProxy, hubble, nil, nil},
		{"mesh", "tunnel", tunnel, hubble, nil, nil},
		{"chart", "full", full, hubble, nil, nil},
		{"chart", "lossy", lossy, hubble, nil, nil},
		{"chart", "kube-proxy", kubeProxy, hubble, nil, nil},
		{"spread", "full", full, hubble, nil, nil},
		{"spread", "lossy", lossy, hubble, nil, nil},
		{"spread", "kube-proxy", kubeProxy, hubble, nil, nil},
		{"spread", "disorderly", disorderly, hubble, nil, nil},
		{"spread", "IPv6", ipv6, hubble, nil, nil},
		{"spread", "churn", churn, hubble, nil, nil},
		{"spread", "all points", allPoints, hubble, nil, nil},
		// What is missing was used before the last rollout only: the inventory has no pod that had these addresses.
		{"spread", "no pods, wrong clocks", wrongClocks, noPods, []string{"Deployment api/gateway → StatefulSet data/postgres TCP/5432"}, nil},
		// Where nobody says what a reply is, the point of observation does, together with the direction.
		{"spread", "no reply", full, noReply, nil, nil},
		{"queue", "no pods", noChurn, noPods, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.app+"/"+tt.how, func(t *testing.T) {
			got := measure(t, tt.app, tt.options, tt.form)
			t.Log(got)
			compare(t, "denied, and true", got.Missing, tt.missing)
			compare(t, "allowed, and not true", got.Excess, tt.excess)
			compare(t, "namespaces without a policy", got.NoPolicy, nil)
			compare(t, "without DNS", got.NoDNS, nil)
		})
	}
}

// TestWithoutInventory: flows that carry pods' workloads and labels are enough. What they do not tell is what is published to
// clients outside of the cluster, so that a plan has to accept these.
func TestWithoutInventory(t *testing.T) {
	clients := map[bool][]string{false: {"198.51.100.7", "198.51.100.23"}, true: {"2001:db8::c633:6407", "2001:db8::c633:6417"}} // of IPv6
	outside := map[string]string{"three-tier": "shop/web", "mesh": "istio-system/istio-ingressgateway", "spread": "frontend/web"}
	tests := []struct {
		app, how string
		options  simulation.Options
		form     simulation.Form
		missing  []string
		excess   []string
		noDNS    []string
	}{
		{"three-tier", "full", full, hubble, nil, nil, nil},
		{"three-tier", "bare", full, bare, nil, nil, nil},
		{"three-tier", "lossy", lossy, hubble, nil, nil, nil},
		{"three-tier", "no workloads", full, noWorkloads, nil, nil, nil},
		{"three-tier", "kube-proxy", kubeProxy, hubble, nil, nil, nil},
		// Port 53 is assumed where no Service of DNS is known.
		{"three-tier", "DNS at 5353", otherDNS, hubble, nil, []string{
			"Deployment shop/api → Deployment kube-system/coredns TCP/53 UDP/53", "Deployment shop/web → Deployment kube-system/coredns TCP/53 UDP/53",
			"StatefulSet shop/database → Deployment kube-system/coredns TCP/53 UDP/53",
		}, []string{"Deployment shop/api", "StatefulSet shop/database"}},
		{"three-tier", "scanned", scanned, hubble, nil, nil, nil},
		{"three-tier", "scanned again", scannedAgain, hubble, nil, nil, nil},
		{"three-tier", "by hand", byHand, hubble, nil, nil, nil},
		{"three-tier", "denied", denied, hubble, nil, nil, nil},
		{"boutique", "full", full, hubble, nil, nil, nil},
		{"boutique", "lossy", lossy, hubble, nil, nil, nil},
		{"boutique", "no workloads", full, noWorkloads, nil, nil, nil},
		{"boutique", "kube-proxy", kubeProxy, hubble, nil, nil, nil},
		{"queue", "translated at the pod", packetLB, hubble, nil, nil, nil},
		{"queue", "full", full, hubble, nil, nil, nil},
		{"queue", "lossy", lossy, hubble, nil, nil, nil},
		{"queue", "no workloads", full, noWorkloads, nil, nil, nil},
		// The API server was only seen behind its Service's address, before translation.
		{"queue", "kube-proxy", kubeProxy, hubble, []string{"CronJob orders/cleanup → 172.18.0.5 TCP/6443"}, nil, nil},
		{"mesh", "full", full, hubble, nil, nil, nil},
		{"mesh", "lossy", lossy, hubble, nil, nil, nil},
		{"mesh", "no workloads", full, noWorkloads, nil, nil, nil},
		{"mesh", "kube-proxy", kubeProxy, hubble, []string{"Deployment istio-system/istiod → 172.18.0.5 TCP/6443", "StatefulSet monitoring/prometheus → 172.18.0.5 TCP/6443"}, nil, nil},
		{"spread", "full", full, hubble, nil, nil, nil},
		{"spread", "lossy", lossy, hubble, nil, nil, nil},
		{"spread", "no workloads", full, noWorkloads, nil, nil, nil},
		{"spread", "kube-proxy", kubeProxy, hubble, []string{"Deployment observability/operator → 172.18.0.5 TCP/6443", "StatefulSet observability/prometheus → 172.18.0.5 TCP/6443"}, nil, nil},
		{"spread", "churn", churn, hubble, nil, nil, nil},
		{"spread", "IPv6", ipv6, hubble, []string{"Deployment observability/operator → 2001:db8::ac12:5 TCP/6443", "StatefulSet observability/prometheus → 2001:db8::ac12:5 TCP/6443"}, nil, nil},
		{"spread", "all points", allPoints, hubble, nil, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.app+"/"+tt.how, func(t *testing.T) {
			trace := simulate(t, tt.app, tt.options)
			dir := write(t, trace, tt.form)
			if to := outside[tt.app]; to != "" {
				accept(t, dir, to, clients[tt.options.IPv6]...)
			}
			if out, err := run(dir, "generate", "--cluster", "test", "--out", "policies"); err != nil || !strings.Contains(out, "no inventory: ") {
				t.Fatalf("%v\n%s", err, out)
			}
			got, err := trace.Measure(policies(t, filepath.Join(dir, "policies")))
			if err != nil {
				t.Fatal(err)
			}
			t.Log(got)
			compare(t, "denied, and true", got.Missing, tt.missing)
			compare(t, "allowed, and not true", got.Excess, tt.excess)
			compare(t, "namespaces without a policy", got.NoPolicy, nil)
			compare(t, "without DNS", got.NoDNS, tt.noDNS)
			if out, err := run(dir, "verify", "--policies", "policies"); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// accept writes a plan that lets clients reach a workload, in the folder that policies are written to.
func accept(t *testing.T, dir, to string, clients ...string) {
	t.Helper()
	namespace, _, _ := strings.Cut(to, "/")
	text := "apiVersion: bulkhead.dev/v1alpha1\nkind: Plan\ndecisions:\n"
	for _, c := range clients {
		text += fmt.Sprintf("- accept: {from: '%s', to: %s}\n  reason: it is published\n", c, to)
	}
	plan := filepath.Join(dir, "policies/clusters/test", namespace, "plan.yaml")
	if err := errors.Join(os.MkdirAll(filepath.Dir(plan), 0o755), os.WriteFile(plan, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n  %s\nwant:\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// measure simulates an application and judges what is made of it.
func measure(t *testing.T, name string, o simulation.Options, form simulation.Form) simulation.Result {
	t.Helper()
	return judge(t, simulate(t, name, o), form)
}

// judge lets the generator write policies of what was observed, and measures them.
func judge(t *testing.T, trace *simulation.Trace, form simulation.Form) simulation.Result {
	t.Helper()
	dir := write(t, trace, form)
	if out, err := generate(dir); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	result, err := trace.Measure(policies(t, filepath.Join(dir, "policies")))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// TestLossIsRefused: what a busy node lost is not denied, and whoever allows the loss gets what was seen and no more.
func TestLossIsRefused(t *testing.T) {
	trace := simulate(t, "spread", busy)
	dir := write(t, trace, hubble)
	if out, err := generate(dir); err == nil || !strings.Contains(out, "of the flows are missing") {
		t.Fatalf("not refused: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "policies")); err == nil {
		t.Error("policies are written")
	}
	if out, err := generate(dir, "--max-loss", "90"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	result, err := trace.Measure(policies(t, filepath.Join(dir, "policies")))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(result)
	compare(t, "allowed, and not true", result.Excess, nil)
}

// TestNoDirection: where neither handshakes nor replies are known, nothing is guessed.
func TestNoDirection(t *testing.T) {
	for _, name := range []string{"three-tier", "spread"} {
		trace := simulate(t, name, simulation.Options{Seed: 13, Loss: simulation.Loss{Handshakes: true}})
		dir := write(t, trace, simulation.Form{NoReply: true, NoPoints: true})
		if out, err := generate(dir); err == nil || !strings.Contains(out, "nothing to write") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if _, err := os.Stat(filepath.Join(dir, "policies")); err == nil {
			t.Errorf("%s: policies are written", name)
		}
	}
}

// generate runs the generator in a folder that write made, and returns what it said.
func generate(dir string, more ...string) (string, error) {
	return run(dir, "generate", append([]string{"--inventory", "inventory", "--cluster", "test", "--out", "policies"}, more...)...)
}

// run runs a command on the flows of a folder that write made, and returns what it said.
func run(dir, command string, more ...string) (string, error) {
	cmd := exec.Command(bulkhead, append([]string{command, "--flows", "flows.jsonl"}, more...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// write leaves what the generator reads in a folder.
func write(t *testing.T, trace *simulation.Trace, form simulation.Form) (dir string) {
	t.Helper()
	dir = t.TempDir()
	flows, err := os.Create(filepath.Join(dir, "flows.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := trace.WriteFlows(flows, form); err != nil {
		t.Fatal(err)
	}
	if err := flows.Close(); err != nil {
		t.Fatal(err)
	}
	if err := trace.WriteInventory(filepath.Join(dir, "inventory")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func simulate(t *testing.T, name string, o simulation.Options) *simulation.Trace {
	t.Helper()
	app, err := simulation.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	trace, err := simulation.Run(app, o)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

// policies are all NetworkPolicies below a folder.
func policies(t *testing.T, dir string) []*networkingv1.NetworkPolicy {
	t.Helper()
	all, err := simulation.ReadPolicies(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
