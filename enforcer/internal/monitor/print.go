// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// Printer writes events, one line each.
type Printer struct {
	wording.Printer
	format string
	begun  bool
}

// NewPrinter writes in a format: compact, table or json. colour is for people at a terminal.
func NewPrinter(out io.Writer, format string, colour bool) (*Printer, error) {
	switch format {
	case "compact", "table", "json":
		return &Printer{Printer: wording.Printer{Out: out, Colour: colour}, format: format}, nil
	}
	return nil, fmt.Errorf("--output %q is not one of compact, table, json", format)
}

const tableFormat = "%-12s  %-7s  %-7s  %-40s  %-40s  %-10s  %6s  %s"

// Print writes an event; line is what the agent sent.
func (p *Printer) Print(line []byte, event *observerpb.GetFlowsResponse) error {
	if p.format == "json" {
		_, err := fmt.Fprintf(p.Out, "%s\n", line)
		return err
	}
	if p.format == "table" && !p.begun {
		p.begun = true
		p.Line(wording.Bold, tableFormat, "TIME", "VERDICT", "SIDE", "FROM", "TO", "PORT", "COUNT", "BY")
	}
	at := event.GetTime().AsTime().Local().Format("15:04:05.000")
	if f := event.GetFlow(); f != nil {
		p.flow(at, f)
	}
	if lost := event.GetLostEvents(); lost != nil {
		p.Line(wording.BoldYellow, "%s  %d records were lost: %s", at, lost.GetNumEventsLost(), lossReason(lost.GetSource()))
	}
	return p.Err() // node status and the like are for relays
}

func lossReason(source flowpb.LostEventSource) string {
	if source == flowpb.LostEventSource_HUBBLE_RING_BUFFER {
		return "the agent kept newer ones (--flow-buffer)"
	}
	return "the kernel had no room for more kinds of flow at once"
}

var colours = map[flowpb.Verdict]wording.Style{
	flowpb.Verdict_FORWARDED: wording.Green, flowpb.Verdict_DROPPED: wording.Red, flowpb.Verdict_AUDIT: wording.Yellow,
}

func (p *Printer) flow(at string, f *flowpb.Flow) {
	side, by := "ingress", policiesText(f, f.GetIngressAllowedBy(), f.GetIngressDeniedBy())
	count := f.GetAggregate().GetIngressFlowCount()
	if f.GetTrafficDirection() == flowpb.TrafficDirection_EGRESS {
		side, by = "egress", policiesText(f, f.GetEgressAllowedBy(), f.GetEgressDeniedBy())
		count = f.GetAggregate().GetEgressFlowCount()
	}
	from, to := endText(f.GetSource(), f.GetIP().GetSource()), endText(f.GetDestination(), f.GetIP().GetDestination())
	port, protocol := portOf(f)
	by += hints(f)
	text := fmt.Sprintf(tableFormat, at, verdictWord(f.GetVerdict()), side, from, to, protocol+port, strconv.Itoa(int(count)), by)
	if p.format == "compact" {
		if port = strings.TrimPrefix(port, "/"); port != "" {
			to = net.JoinHostPort(to, port)
		}
		text = fmt.Sprintf("%s  %-7s  %-7s  %s → %s %s", at, verdictWord(f.GetVerdict()), side, from, to, protocol)
		if count != 1 {
			text += fmt.Sprintf(" ×%d", count)
		}
		if by = strings.TrimSpace(by); by != "" {
			text += "  " + by
		}
	}
	p.Line(colours[f.GetVerdict()], "%s", text)
}

func verdictWord(v flowpb.Verdict) string {
	for word, verdict := range verdicts {
		if verdict == v {
			return word
		}
	}
	return strings.ToLower(v.String())
}

func endText(e *flowpb.Endpoint, addr string) string {
	if e.GetPodName() != "" {
		return e.GetNamespace() + "/" + e.GetPodName()
	}
	return addr
}

// hints are what else the other side is called: the Service that was asked for, and names of DNS.
func hints(f *flowpb.Flow) string {
	var all []string
	if s := f.GetDestinationService(); s.GetName() != "" {
		all = append(all, "through Service "+s.GetNamespace()+"/"+s.GetName())
	}
	if names := slices.Concat(f.GetSourceNames(), f.GetDestinationNames()); len(names) > 0 {
		all = append(all, "known as "+strings.Join(names, ", "))
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, "; ") + ")"
}

// portOf is "/8080" and "TCP"; the port is empty for protocols without any.
func portOf(f *flowpb.Flow) (port, protocol string) {
	number, l4 := uint32(0), f.GetL4()
	switch l4.GetProtocol().(type) {
	case *flowpb.Layer4_TCP:
		number, protocol = l4.GetTCP().GetDestinationPort(), "TCP"
	case *flowpb.Layer4_UDP:
		number, protocol = l4.GetUDP().GetDestinationPort(), "UDP"
	case *flowpb.Layer4_SCTP:
		number, protocol = l4.GetSCTP().GetDestinationPort(), "SCTP"
	case *flowpb.Layer4_ICMPv4:
		return "", "ICMPv4"
	case *flowpb.Layer4_ICMPv6:
		return "", "ICMPv6"
	default:
		return "", "other"
	}
	return "/" + strconv.Itoa(int(number)), protocol
}

// policiesText names what decided: rules, or the policies that isolate the pod. Staged policies that say otherwise
// stand behind it.
func policiesText(f *flowpb.Flow, allowing, denying []*flowpb.Policy) string {
	live := append(policyTexts(allowing, false), policyTexts(denying, false)...)
	if f.GetDropReasonDesc() == flowpb.DropReason_NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION {
		live = append(live, "no policies are loaded for this interface")
	}
	text := strings.Join(live, "; ")
	if by := policyTexts(allowing, true); len(by) > 0 {
		text += " [staged: allowed by " + strings.Join(by, "; ") + "]"
	}
	if by := policyTexts(denying, true); len(by) > 0 {
		text += " [staged: denied by " + strings.Join(by, "; ") + "]"
	}
	return strings.TrimSpace(text)
}

// policyTexts are those of the staged policies, or of the others.
func policyTexts(policies []*flowpb.Policy, staged bool) (texts []string) {
	for _, p := range policies {
		if text, isStaged := policyText(p); isStaged == staged {
			texts = append(texts, text)
		}
	}
	return texts
}

func policyText(p *flowpb.Policy) (text string, staged bool) {
	text = p.GetKind() + " " + strings.TrimPrefix(p.GetNamespace()+"/"+p.GetName(), "/")
	for _, label := range p.GetLabels() {
		key, value, _ := strings.Cut(label, "=")
		switch {
		case key == "bulkhead.dev/rule" && value != "spec":
			text += " " + value
		case key == baseline.AnnotationApprovedCommit:
			text += ", approved by " + value
		case key == netpol.AnnotationStaged:
			staged = true
		}
	}
	return text, staged
}
