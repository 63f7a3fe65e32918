// SPDX-License-Identifier: Apache-2.0

package wording_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// What stands in a line cannot steer the terminal, and styles are there only when asked for.
func TestLine(t *testing.T) {
	for _, tc := range []struct {
		colour bool
		style  wording.Style
		text   string
		want   string
	}{
		{false, wording.Red, "denied", "denied\n"},
		{true, wording.Red, "denied", "\x1b[31mdenied\x1b[0m\n"},
		{true, wording.Plain, "denied", "denied\n"},
		{true, wording.Bold, "  ", "\n"},
		{true, wording.Plain, "\x1b[2Ja\nb\u202e", "?[2Ja?b?\n"},
	} {
		var out bytes.Buffer
		p := wording.Printer{Out: &out, Colour: tc.colour}
		p.Line(tc.style, "%s", tc.text)
		if got := out.String(); got != tc.want || p.Err() != nil {
			t.Errorf("%q: %q, %v; want %q", tc.text, got, p.Err(), tc.want)
		}
	}
}

// writes fail the second time only.
type writes struct{ done int }

func (w *writes) Write(p []byte) (int, error) {
	if w.done++; w.done == 2 {
		return 0, errors.New("no space left")
	}
	return len(p), nil
}

func TestFirstErrorStays(t *testing.T) {
	p := wording.Printer{Out: &writes{}}
	for range 3 {
		p.Line(wording.Plain, "text")
	}
	if p.Err() == nil {
		t.Error("a line was not written, and nothing was said")
	}
}

func TestPrint(t *testing.T) {
	for format, want := range map[string]string{"json": "{\n  \"allowed\": true\n}\n", "yaml": "allowed: true\n", "text": "allowed\n"} {
		var out bytes.Buffer
		err := wording.Print(&out, format, map[string]bool{"allowed": true}, func(out io.Writer, colour bool) error {
			if colour {
				t.Error("a buffer is no terminal")
			}
			_, err := io.WriteString(out, "allowed\n")
			return err
		})
		if out.String() != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", format, out.String(), err, want)
		}
	}
}

func TestBecause(t *testing.T) {
	admin := &netpol.Origin{Kind: "ClusterNetworkPolicy", Name: "first"}
	baseline := &netpol.Origin{Kind: "ClusterNetworkPolicy", Name: "last"}
	side := &netpol.Side{Policies: []netpol.Governor{{Origin: *admin, Tier: netpol.Admin}, {Origin: *baseline, Tier: netpol.Baseline}}}
	for _, tc := range []struct {
		reason netpol.Reason
		by     []*netpol.Origin
		want   string
	}{
		{netpol.RuleMatched, []*netpol.Origin{admin}, "a rule allows it"},
		{netpol.RuleDenied, []*netpol.Origin{admin}, "a rule of the Admin tier denies it, which no NetworkPolicy can overrule"},
		{netpol.RuleDenied, []*netpol.Origin{baseline}, "a rule of the Baseline tier denies it, and no NetworkPolicy isolates the pod"},
		{netpol.RuleDenied, nil, "a rule of the Admin tier denies it, which no NetworkPolicy can overrule"},
		{netpol.NoRule, []*netpol.Origin{{}}, "a policy isolates the pod, and no rule of it matches"},
		{netpol.NoRule, []*netpol.Origin{{}, {}}, "2 policies isolate the pod, and no rule of theirs matches"},
		{netpol.NotIsolated, nil, "no policy isolates the pod in this direction"},
		{netpol.UnknownBackend, nil, "the Service has no pod or no such port"},
		{netpol.NotAPod, nil, ""},
		{"ForeignSource", nil, ""},
	} {
		if got := wording.Because(side, tc.reason, tc.by); got != tc.want {
			t.Errorf("%s by %v: %q; want %q", tc.reason, tc.by, got, tc.want)
		}
	}
}

func TestNotAPod(t *testing.T) {
	addr, agent := netip.MustParseAddr("192.0.2.1"), types.NamespacedName{Namespace: "kube-system", Name: "agent"}
	for _, tc := range []struct {
		end  netpol.End
		want string
	}{
		{netpol.End{HostPod: agent, Addr: addr, Node: "here"}, "Pod kube-system/agent is on the network of its node, where no policy selects it"},
		{netpol.End{Addr: addr, Node: "here"}, "policies select only pods, and 192.0.2.1 of node here is none"},
		{netpol.End{Addr: addr}, "policies select only pods, and 192.0.2.1 is none"},
		{netpol.End{}, "policies select only pods"},
	} {
		if got := wording.NotAPod(&tc.end, wording.Pod); got != tc.want {
			t.Errorf("%+v: %q; want %q", tc.end, got, tc.want)
		}
	}
}

func TestPlace(t *testing.T) {
	for _, tc := range []struct {
		origin netpol.Origin
		want   string
	}{
		{netpol.Origin{Kind: "NetworkPolicy", Namespace: "shop", Name: "api", Index: -1, Path: "spec"}, "NetworkPolicy shop/api"},
		{netpol.Origin{Kind: "NetworkPolicy", Namespace: "shop", Name: "api", Direction: netpol.Egress, Commit: "c0ffee"}, "NetworkPolicy shop/api, egress rule 0, approved by c0ffee"},
		{netpol.Origin{Kind: "ClusterNetworkPolicy", Name: "first", Index: 2, Rule: "no-smtp"}, `ClusterNetworkPolicy first, ingress rule 2 "no-smtp"`},
	} {
		place := wording.PlaceOf(&tc.origin)
		if got := place.Text(); got != tc.want {
			t.Errorf("%q; want %q", got, tc.want)
		}
	}
}
