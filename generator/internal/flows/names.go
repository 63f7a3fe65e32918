// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Names come from whoever sends flows, and end up in files, in Markdown and on terminals. What Kubernetes
// would not take as a name is not taken here.

// check returns what is wrong with the record's names and time.
func (r *Record) check() error { return r.checkBut(false, false) }

// checkBut does not look at the names of a pod at an end where they are known.
func (r *Record) checkBut(source, destination bool) error {
	if year := r.Time.Year(); year < 2015 || year > 2100 { // Kubernetes is of 2015
		return fmt.Errorf("time: the year %d cannot be", year)
	}
	if !isNode(r.Node) {
		return fmt.Errorf("node_name: %q is not the name of a node", clip(r.Node))
	}
	if err := r.Source.checkBut(source); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if err := r.Destination.checkBut(destination); err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	return nil
}

func (e *Endpoint) check() error { return e.checkBut(false) }

// checkBut does not look at the names of a pod that is known.
func (e *Endpoint) checkBut(known bool) error {
	if e.Service != "" && (!isName(e.Service, 253, true) || !isName(e.ServiceNamespace, 63, false)) {
		return fmt.Errorf("%q in %q is not the name of a Service", clip(e.Service), clip(e.ServiceNamespace))
	}
	if e.Pod == "" || known {
		return nil
	}
	switch {
	case !isName(e.Namespace, 63, false):
		return fmt.Errorf("%q is not the name of a namespace", clip(e.Namespace))
	case !isPod(e.Pod):
		return fmt.Errorf("%q is not the name of a pod", clip(e.Pod))
	case e.Workload != "" && !isName(e.Workload, 253, true):
		return fmt.Errorf("%q is not the name of a workload", clip(e.Workload))
	case (e.Workload != "" || e.Kind != "") && !isKind(e.Kind):
		return fmt.Errorf("%q is not the kind of a workload", clip(e.Kind))
	}
	return nil
}

// isName reports whether Kubernetes takes the name of an object: lower case, digits, "-" within, and "." if
// dots are allowed. Where a name follows from another, as a pod's does, some controllers leave other parts
// out, so that the parts between dots are not looked at one by one.
func isName(s string, longest int, dots bool) bool {
	if s == "" || len(s) > longest || s[0] == '-' || s[0] == '.' || s[len(s)-1] == '-' || s[len(s)-1] == '.' {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.' && dots:
		default:
			return false
		}
	}
	return true
}

// isPod also takes the beginning of several pods' names with a "*" after it.
func isPod(s string) bool {
	if begin, several := strings.CutSuffix(s, "*"); several {
		s = strings.TrimRight(begin, "-.")
	}
	return isName(s, 253, true)
}

func isKind(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && (i == 0 || s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// isNode takes the names of nodes, also with the cluster's before it, as Hubble's relay writes them.
func isNode(s string) bool {
	return len(s) <= 400 && isPlain(s, "-./_") && strings.Count(s, "/") <= 1 && !strings.Contains(s, "..")
}

// isDNS takes names of DNS, which in the wild have more than the standard allows.
func isDNS(s string) bool { return s != "" && len(s) <= 255 && isPlain(s, "-._*") }

// isPlain reports whether a text has letters, digits and the given characters only.
func isPlain(s, also string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && !strings.Contains(also, s[i:i+1]) {
			return false
		}
	}
	return true
}

// dnsNames leaves out what is no name of DNS. Names are shown to people; nothing is decided by them.
func dnsNames(names []string) []string {
	for i, name := range names {
		if isDNS(name) {
			continue
		}
		kept := names[:i:i]
		for _, other := range names[i:] {
			if isDNS(other) {
				kept = append(kept, other)
			}
		}
		return kept
	}
	return names
}

var errTime = errors.New("missing, or not in RFC 3339 form")

// parseTime reads RFC 3339, in UTC.
func parseTime(b []byte) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return time.Time{}, errTime
	}
	return t.UTC(), nil
}
