// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// end of a connection as a person named it.
type end struct {
	given   string
	peer    netpol.Peer
	guessed bool // there is no pod of that name, so it is taken for a Service
}

func (e *end) text() string {
	switch {
	case e.peer.Pod != none:
		return wording.Pod(e.peer.Pod)
	case e.peer.Service != none:
		return "Service " + e.peer.Service.String()
	}
	return e.given
}

var kinds = map[string]string{
	"pod": "Pod", "pods": "Pod", "po": "Pod", "service": "Service", "services": "Service", "svc": "Service",
}

// find takes an address, NAMESPACE/NAME, and NAMESPACE/KIND/NAME or KIND/NAMESPACE/NAME.
func (n *Node) find(flag, text string, services bool) (end, error) {
	e := end{given: text}
	if text == "" {
		return e, fmt.Errorf("%s is missing", flag)
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		e.peer.Addr = addr.Unmap()
		return e, nil
	}
	parts, kind := strings.Split(text, "/"), ""
	if len(parts) == 3 {
		if kind = kinds[strings.ToLower(parts[1])]; kind != "" {
			parts = []string{parts[0], parts[2]}
		} else if kind = kinds[strings.ToLower(parts[0])]; kind != "" {
			parts = parts[1:]
		}
	}
	if len(parts) != 2 || slices.Contains(parts, "") {
		return e, fmt.Errorf("%s %q: give NAMESPACE/NAME of a pod, an address, or for --to NAMESPACE/svc/NAME", flag, text)
	}
	name := types.NamespacedName{Namespace: parts[0], Name: parts[1]}
	switch known := n.knows(name); {
	case kind == "Service" && !services:
		return e, fmt.Errorf("%s %q: a Service opens no connections; name a pod behind it", flag, text)
	case kind == "Service":
		e.peer.Service = name
	case known:
		e.peer.Pod = name
	case kind == "" && services:
		e.peer.Service, e.guessed = name, true
	default:
		return e, fmt.Errorf("%s %q: no pod of that name; `bulkhead explain` takes workloads, too", flag, text)
	}
	return e, nil
}

// knows reports whether there is a pod of that name that has not completed.
func (n *Node) knows(pod types.NamespacedName) bool {
	itself := netpol.Peer{Pod: pod}
	v := n.Snapshot.Evaluate(netpol.Connection{From: itself, To: itself})
	return v.Egress.Reason != netpol.UnknownPod
}
