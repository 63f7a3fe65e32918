// SPDX-License-Identifier: Apache-2.0

// Package monitor shows the verdicts of this node's agent as they are given.
package monitor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"
)

// Question says which verdicts are wanted. The zero value is all of them.
type Question struct {
	// Pod and Namespace are of either side. Pod is NAMESPACE/NAME, where NAME may be the beginning of one.
	Pod, Namespace string
	// From and To are NAMESPACE/NAME, NAMESPACE/ for all of a namespace, an address or a CIDR.
	From, To string
	// Verdict is allowed, denied or audit.
	Verdict string
	// Protocol is TCP, UDP, SCTP or ICMP, in any case.
	Protocol string
	// Port at the destination; 0: any.
	Port uint16
}

var verdicts = map[string]flowpb.Verdict{
	"allowed": flowpb.Verdict_FORWARDED, "denied": flowpb.Verdict_DROPPED, "audit": flowpb.Verdict_AUDIT,
}

// Request is the question as the Observer API understands it, for verdicts from now on.
func (q *Question) Request() (*observerpb.GetFlowsRequest, error) {
	base, err := q.base()
	if err != nil {
		return nil, err
	}
	request := &observerpb.GetFlowsRequest{Follow: true, Whitelist: []*flowpb.FlowFilter{base()}}
	either := q.Pod
	switch {
	case q.Pod != "" && q.Namespace != "", either+q.Namespace != "" && q.From+q.To != "":
		return nil, errors.New("give one of --pod, --namespace, and --from with --to")
	case q.Namespace != "" && strings.Contains(q.Namespace, "/"):
		return nil, fmt.Errorf("--namespace %q is not a namespace", q.Namespace)
	case q.Namespace != "":
		either = q.Namespace + "/"
	case q.Pod != "" && !isPod(q.Pod):
		return nil, fmt.Errorf("--pod %q: give NAMESPACE/NAME", q.Pod)
	}
	if either != "" {
		source, destination := base(), base()
		source.SourcePod, destination.DestinationPod = []string{either}, []string{either}
		request.Whitelist = []*flowpb.FlowFilter{source, destination}
	}
	return request, nil
}

// base makes filters of all but what may be of either side.
func (q *Question) base() (func() *flowpb.FlowFilter, error) {
	verdict, known := verdicts[q.Verdict]
	switch protocol := strings.ToLower(q.Protocol); {
	case q.Verdict != "" && !known:
		return nil, fmt.Errorf("--verdict %q is not one of allowed, denied, audit", q.Verdict)
	case q.Protocol != "" && !slices.Contains([]string{"tcp", "udp", "sctp", "icmp"}, protocol):
		return nil, fmt.Errorf("--protocol %q is not one of TCP, UDP, SCTP, ICMP", q.Protocol)
	}
	fromPod, fromAddr, err := end("--from", q.From)
	if err != nil {
		return nil, err
	}
	toPod, toAddr, err := end("--to", q.To)
	if err != nil {
		return nil, err
	}
	return func() *flowpb.FlowFilter {
		f := &flowpb.FlowFilter{SourcePod: fromPod, SourceIp: fromAddr, DestinationPod: toPod, DestinationIp: toAddr}
		if known {
			f.Verdict = []flowpb.Verdict{verdict}
		}
		if q.Protocol != "" {
			f.Protocol = []string{q.Protocol}
		}
		if q.Port != 0 {
			f.DestinationPort = []string{strconv.Itoa(int(q.Port))}
		}
		return f
	}, nil
}

// end is a pod or an address; both are nil for no text.
func end(flag, text string) (pods, addrs []string, err error) {
	_, prefixErr := netip.ParsePrefix(text)
	_, addrErr := netip.ParseAddr(text)
	namespace, _, slash := strings.Cut(text, "/")
	switch {
	case text == "":
		return nil, nil, nil
	case prefixErr == nil || addrErr == nil:
		return nil, []string{text}, nil
	case slash && namespace != "":
		return []string{text}, nil, nil
	}
	return nil, nil, fmt.Errorf("%s %q: give NAMESPACE/NAME, NAMESPACE/, an address or a CIDR", flag, text)
}

func isPod(text string) bool {
	namespace, name, _ := strings.Cut(text, "/")
	return namespace != "" && name != ""
}
