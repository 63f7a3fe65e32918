// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Want is an expected verdict.
type Want struct {
	Allowed         bool
	Egress, Ingress Side
	// Resolved is "namespace/service:port@namespace/pod" for a Service, with "~address" after it where
	// the pod sees a node's address as the source, without port and pod when nothing stands behind it;
	// empty when To is no Service.
	Resolved string
}

// Side is the decision of one side with its reason.
type Side struct {
	Reason netpol.Reason
	// Origins are the rule that decided, or the policies that isolate a pod which no rule allows, then
	// "passed" and the rule that left it to the next tier, separated by ", "; empty for none.
	Origins string
}

// WantOf puts a verdict in the form in which it can be compared with an expected one.
func WantOf(v netpol.Verdict) Want {
	return Want{Allowed: v.Allowed, Egress: sideOf(v.Egress), Ingress: sideOf(v.Ingress), Resolved: resolved(v.Resolved)}
}

func sideOf(d netpol.Decision) Side {
	origins := d.By
	if d.Rule != nil {
		origins = append([]*netpol.Origin{d.Rule}, d.By...)
	}
	var names []string
	for _, o := range origins {
		names = append(names, o.String())
	}
	if d.Passed != nil {
		names = append(names, "passed "+d.Passed.String())
	}
	return Side{Reason: d.Reason, Origins: strings.Join(names, ", ")}
}

func resolved(r *netpol.Resolution) string {
	switch {
	case r == nil:
		return ""
	case r.Backend == types.NamespacedName{}:
		return r.Service.String()
	}
	source := ""
	if r.Source.IsValid() {
		source = "~" + r.Source.String()
	}
	return fmt.Sprintf("%s:%d@%s%s", r.Service, r.Port, r.Backend, source)
}

// String is the expectation as a connection line ends.
func (w Want) String() string {
	verb, tail := "deny", ""
	if w.Allowed {
		verb = "allow"
	}
	if w.Resolved != "" {
		tail = " resolved=" + w.Resolved
	}
	return fmt.Sprintf("%s egress=%s ingress=%s%s", verb, w.Egress, w.Ingress, tail)
}

// String is the side as a connection line gives it: "NoRule(NetworkPolicy shop/deny spec)".
func (s Side) String() string {
	if s.Origins == "" {
		return string(s.Reason)
	}
	return fmt.Sprintf("%s(%s)", s.Reason, s.Origins)
}

var connectionLine = regexp.MustCompile(`^(allow|deny)\s+(\S+)\s+->\s+(\S+)\s+(\w+)/(\d+)` +
	`\s+egress=(\w+)(?:\(([^)]+)\))?\s+ingress=(\w+)(?:\(([^)]+)\))?(?:\s+resolved=(\S+))?$`)

func parseConnection(line string) (Connection, error) {
	m := connectionLine.FindStringSubmatch(line)
	if m == nil {
		return Connection{}, fmt.Errorf("%q is not of the form: allow|deny <from> -> <to> <protocol>/<port> egress=<reason> ingress=<reason>", line)
	}
	c := Connection{Want: Want{
		Allowed: m[1] == "allow", Resolved: m[10],
		Egress:  Side{Reason: netpol.Reason(m[6]), Origins: m[7]},
		Ingress: Side{Reason: netpol.Reason(m[8]), Origins: m[9]},
	}}
	port, err := strconv.ParseUint(m[5], 10, 16)
	if err != nil {
		return c, fmt.Errorf("port: %w", err)
	}
	c.Protocol, c.Port = corev1.Protocol(m[4]), uint16(port)
	if c.From, err = parsePeer(m[2]); err != nil {
		return c, err
	}
	c.To, err = parsePeer(m[3])
	return c, err
}

func parsePeer(s string) (p netpol.Peer, err error) {
	if service, ok := strings.CutPrefix(s, "svc:"); ok {
		p.Service.Namespace, p.Service.Name, _ = strings.Cut(service, "/")
		return p, nil
	}
	name, addr := "", s
	if strings.Contains(s, "/") {
		name, addr, _ = strings.Cut(s, "@")
		p.Pod.Namespace, p.Pod.Name, _ = strings.Cut(name, "/")
	}
	if addr == "" {
		return p, nil
	}
	if p.Addr, err = netip.ParseAddr(addr); err != nil {
		return p, fmt.Errorf("%q is neither namespace/pod, nor an address, nor namespace/pod@address, nor svc:namespace/service", s)
	}
	return p, nil
}
