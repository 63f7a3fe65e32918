// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// ObjectError is a fault of one object. Compile and Validate return them; an object with a fault never
// matches by accident.
type ObjectError struct {
	Object  string // "NetworkPolicy shop/api"
	Path    string // spec.ingress[0].from[1].ipBlock.cidr
	Problem string // what is wrong and what to do
}

func (e *ObjectError) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Object, e.Path, e.Problem)
}

// ObjectErrors lists the faults that Compile joined into err, also when the caller has wrapped it. Nil
// for a nil error.
func ObjectErrors(err error) []*ObjectError {
	switch e := err.(type) {
	case *ObjectError:
		return []*ObjectError{e}
	case interface{ Unwrap() error }:
		return ObjectErrors(e.Unwrap())
	case interface{ Unwrap() []error }:
		var all []*ObjectError
		for _, one := range e.Unwrap() {
			all = append(all, ObjectErrors(one)...)
		}
		return all
	}
	return nil
}

// compiler is where in an object a compilation is, and the faults that it has found. Paths are put
// together only for a fault: a large cluster has a million of them and hardly a fault.
type compiler struct {
	origin Origin // of the policy; its Path and Index change from rule to rule
	list   string // from, to, ports or protocols of the rule; empty: the rule or policy itself
	item   int    // index in the list
	faults []*ObjectError
}

// fault notes what is wrong at a path below the present place; an empty path is that place.
func (c *compiler) fault(path, format string, args ...any) {
	at := c.origin.Path
	if c.list != "" {
		at += "." + c.list + "[" + strconv.Itoa(c.item) + "]"
	}
	if path != "" {
		at = strings.TrimPrefix(at+"."+path, ".")
	}
	c.faults = append(c.faults, &ObjectError{Object: c.object(), Path: at, Problem: fmt.Sprintf(format, args...)})
}

func (c *compiler) object() string {
	if c.origin.Namespace == "" && c.origin.Kind == kindClusterPolicy {
		return c.origin.Kind + " " + c.origin.Name
	}
	return c.origin.Kind + " " + c.origin.Namespace + "/" + c.origin.Name
}

// enter goes to a rule of the policy.
func (c *compiler) enter(d Direction, index int) {
	c.origin.Direction, c.origin.Index, c.origin.Path = d, index, rulePath(d, index)
	c.list = ""
}

// leave goes back to the policy as a whole.
func (c *compiler) leave() { c.origin.Index, c.origin.Path, c.list = -1, "spec", "" }

func (c *compiler) checkName() {
	if c.origin.Name == "" {
		c.fault("metadata.name", "a name is required")
	} else if problems := validation.IsDNS1123Subdomain(c.origin.Name); problems != nil {
		c.fault("metadata.name", "%q: %s", c.origin.Name, strings.Join(problems, "; "))
	}
}

func (c *compiler) selector(path string, s *metav1.LabelSelector) (labels.Selector, bool) {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		c.fault(path, "invalid label selector: %v", cmp.Or(firstLabelError(s.MatchLabels), err))
		return labels.Nothing(), false
	}
	return selector, true
}

// firstLabelError is that of the first label in order, so that the same object has the same faults; nil when
// all labels are valid.
func firstLabelError(matchLabels map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(matchLabels)) {
		if _, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchLabels: map[string]string{k: matchLabels[k]}}); err != nil {
			return err
		}
	}
	return nil
}

// rulePath is where a rule stands. Policies have few rules, so most paths are the same few strings.
func rulePath(d Direction, index int) string {
	if index < len(rulePaths[d]) {
		return rulePaths[d][index]
	}
	return makeRulePath(d, index)
}

var rulePaths = func() (paths [2][32]string) {
	for _, d := range []Direction{Ingress, Egress} {
		for i := range paths[d] {
			paths[d][i] = makeRulePath(d, i)
		}
	}
	return paths
}()

func makeRulePath(d Direction, index int) string {
	return "spec." + strings.ToLower(d.String()) + "[" + strconv.Itoa(index) + "]"
}

func parsePrefix(s string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return prefix, fmt.Errorf("%q is not a range of addresses such as 10.0.0.0/8 or 2001:db8::/32", s)
	}
	if prefix.Addr().Is4In6() {
		return prefix, fmt.Errorf("%q is an IPv4-mapped IPv6 range; write it as IPv4", s)
	}
	return prefix.Masked(), nil
}
