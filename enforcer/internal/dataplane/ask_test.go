// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func judged(t *testing.T, d *Dataplane, q Question) Judgement {
	t.Helper()
	j, err := d.Judge(q)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// What is said of a connection is what its first packet then gets, to the last detail of the record.
func TestJudgeSaysWhatPacketsGet(t *testing.T) {
	d := newDataplane(t)
	questions := randomRulesQuestions()
	for seed := range uint64(20) {
		w, _ := randomRules(rand.New(rand.NewPCG(seed, 2)))
		mode := plan.Mode(seed % 2)
		w.Endpoints[1] = plan.Endpoint{Mode: mode, Main: 1}
		generation := load(t, d, w)
		said := map[question]Judgement{}
		for q := range questions {
			said[q] = judged(t, d, Question{
				Ifindex: 1, Local: netip.MustParseAddr(v4.pod), Remote: q.remote, Direction: q.direction, Protocol: q.protocol, Port: q.port,
			})
		}
		if flows, _ := drained(t, d); len(flows) > 0 {
			t.Fatalf("questions were recorded: %+v", flows)
		}
		for q := range questions {
			if passed := d.ask(t, netip.MustParseAddr(v4.pod), q); passed != (said[q].Verdict != Denied) {
				t.Errorf("seed %d, %+v: passed %v, said was %+v", seed, q, passed, said[q])
			}
		}
		for q, f := range d.answers(t, len(questions)) {
			if got := (Judgement{f.Verdict, f.Reason, f.Rule, f.Set, generation, nil}); said[q] != got {
				t.Errorf("seed %d, %+v: said was %+v, the record says %+v", seed, q, said[q], got)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	d := newDataplane(t)
	q := func(a addresses, local, remote string, direction netpol.Direction, port uint16) Question {
		return Question{
			Ifindex: 1, Local: netip.MustParseAddr(local), Remote: netip.MustParseAddr(remote), Direction: direction, Protocol: tcp, Port: port,
		}
	}
	noWorld := Reason(bpf.DatapathReasonBY_NO_WORLD)
	if j := judged(t, d, q(v4, v4.pod, v4.friend, netpol.Egress, tlsPort)); j != (Judgement{Denied, noWorld, -1, NoSet, 0, nil}) {
		t.Errorf("before the first world: %+v", j)
	}
	byService := Reason(bpf.DatapathReasonBY_SERVICE)
	for _, mode := range []plan.Mode{plan.Enforce, plan.Audit} {
		generation := load(t, d, newWorld(mode))
		for family, a := range families {
			translated, unknown := q(a, a.pod, a.service, netpol.Egress, 80), q(a, a.pod, a.friend, netpol.Egress, tlsPort)
			translated.Translated, unknown.Ifindex = true, 77
			for what, row := range map[string]struct {
				q    Question
				want Judgement
			}{
				"a rule":            {q(a, a.pod, a.friend, netpol.Egress, tlsPort), Judgement{Allowed, ByRule, egressTLS, 0, generation, nil}},
				"a rule of ingress": {q(a, a.pod, a.friend, netpol.Ingress, webPort), Judgement{Allowed, ByRule, ingressWeb, 0, generation, nil}},
				"isolation":         {q(a, a.pod, a.stranger, netpol.Egress, tlsPort), Judgement{denied(mode), ByIsolation, -1, 0, generation, nil}},
				"itself":            {q(a, a.pod, a.pod, netpol.Egress, 1), Judgement{Allowed, ByItself, -1, 0, generation, nil}},
				"the node":          {q(a, a.pod, a.node, netpol.Ingress, 1), Judgement{Allowed, ByOwnNode, -1, 0, generation, nil}},
				"a Service":         {q(a, a.pod, a.service, netpol.Egress, 80), Judgement{Deferred, byService, -1, 0, generation, nil}},
				"translated":        {translated, Judgement{denied(mode), ByIsolation, -1, 0, generation, nil}},
				"a foreign source":  {q(a, a.friend, a.internet, netpol.Egress, 80), Judgement{denied(mode), ByForeignSource, -1, NoSet, generation, nil}},
				"no endpoint":       {unknown, Judgement{Denied, ByUnknownEndpoint, -1, NoSet, generation, nil}},
			} {
				if got := judged(t, d, row.q); got != row.want {
					t.Errorf("%s, mode %d, %s: %+v, want %+v", family, mode, what, got, row.want)
				}
			}
		}
	}
}

func denied(mode plan.Mode) Verdict { return verdictOf(false, mode) }

func TestQuestionsThatMakeNoSense(t *testing.T) {
	d := newDataplane(t)
	four, six := netip.MustParseAddr(v4.pod), netip.MustParseAddr(v6.pod)
	for problem, q := range map[string]Question{
		"both addresses":      {Local: four},
		"different families":  {Local: four, Remote: six},
		"there is no directi": {Local: four, Remote: four, Direction: 2},
	} {
		if _, err := d.Judge(q); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%+v: %v, want %q", q, err, problem)
		}
	}
}

func TestUsage(t *testing.T) {
	config := newConfig(t)
	d := open(t, config)
	usage := func() map[string]string {
		t.Helper()
		all, err := d.Usage()
		if err != nil {
			t.Fatal(err)
		}
		entries := map[string]string{}
		for _, u := range all {
			entries[u.Name] = fmt.Sprintf("%d of %d", u.Entries, u.Capacity)
		}
		return entries
	}
	if u := usage(); u["connections"] != "0 of 4096" || u["flows"] != "0 of 1024" || u["identities"] != "" {
		t.Errorf("before the first world: %v", u)
	}
	w := rejecting(plan.Enforce)
	w.Gate, w.Devices = true, map[uint32]plan.Device{7: plan.Exempt}
	load(t, d, w)
	d.play(t, []step{{fromPod, ipPacket(v4.pod, v4.service, udp, udpDatagram(1, 7)), pass}})
	for port := range uint16(3) {
		d.play(t, []step{
			{fromPod, ipPacket(v4.pod, v4.friend, udp, udpDatagram(port+1, dnsPort)), pass},
			{fromPod, ipPacket(v4.pod, v4.stranger, udp, udpDatagram(1, port)), drop},
		})
	}
	d.play(t, []step{{fromPod, ipv4Fragment(ipPacket(v4.pod, v4.friend, udp, udpDatagram(1, dnsPort)), 1, 0, true), pass}})
	want := map[string]string{
		"connections": "4 of 4096", "deferrals": "1 of 8192", "devices": "2 of 32768", "flows": "4 of 1024", "fragments": "1 of 8192", "endpoints": "2 of 65536", "identities": "10 of 4096",
	}
	got := usage()
	for name, entries := range want {
		if got[name] != entries {
			t.Errorf("%s: %s, want %s; all: %v", name, got[name], entries, got)
		}
	}
	drained(t, d)
	if got := usage()["flows"]; got != "0 of 1024" {
		t.Errorf("after a drain: %s flows", got)
	}
}
