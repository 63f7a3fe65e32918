// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// The kinds of policies.
const (
	kindPolicy        = "NetworkPolicy"
	kindClusterPolicy = "ClusterNetworkPolicy"
)

// The limits of the API on a ClusterNetworkPolicy. What is beyond them is a fault, and is evaluated all the
// same.
const (
	maxPriority  = 1000
	maxListItems = 25 // rules a direction, peers, protocols and networks
	maxRuleName  = 100
)

// clusterPolicy is one compiled ClusterNetworkPolicy.
type clusterPolicy struct {
	name       string
	tier       Tier
	priority   int32
	namespaces labels.Selector // subject: which namespaces
	pods       labels.Selector // and which of their pods
	rules      [2][]*Rule      // by Direction
}

func (p *clusterPolicy) key() string { return p.name }

// compare is the order of precedence.
func (p *clusterPolicy) compare(q *clusterPolicy) int {
	return cmp.Or(cmp.Compare(p.tier, q.tier), cmp.Compare(p.priority, q.priority), cmp.Compare(p.name, q.name))
}

// compileClusterPolicy returns nil for a policy that cannot take part: where it stands or whom it is about
// is not known.
func compileClusterPolicy(cnp *policyv1alpha2.ClusterNetworkPolicy) (*clusterPolicy, []*ObjectError) {
	c := &clusterPolicyCompiler{cnp: cnp, compiler: compiler{origin: Origin{
		Kind: kindClusterPolicy, Name: cnp.Name, Commit: cnp.Annotations[CommitAnnotation],
	}}}
	p := c.compile()
	return p, c.faults
}

// clusterPolicyCompiler collects the faults of one ClusterNetworkPolicy while it is compiled.
type clusterPolicyCompiler struct {
	compiler
	cnp *policyv1alpha2.ClusterNetworkPolicy
}

func (c *clusterPolicyCompiler) compile() *clusterPolicy {
	spec := &c.cnp.Spec
	p := &clusterPolicy{name: c.cnp.Name, priority: spec.Priority}
	c.checkName()
	if c.cnp.Namespace != "" {
		c.fault("metadata.namespace", "it is about the whole cluster and has no namespace; remove it")
	}
	c.leave()
	sound := c.place(p)
	sound = c.subject(p) && sound
	c.count("ingress", len(spec.Ingress))
	for i := range spec.Ingress {
		r := &spec.Ingress[i]
		c.enter(Ingress, i)
		peers := make([]clusterPeer, len(r.From))
		for j, f := range r.From {
			peers[j] = clusterPeer{namespaces: f.Namespaces, pods: f.Pods}
		}
		p.rules[Ingress] = c.rule(p.rules[Ingress], clusterRule{r.Name, r.Action, peers, r.Protocols})
	}
	c.leave()
	c.count("egress", len(spec.Egress))
	for i := range spec.Egress {
		r := &spec.Egress[i]
		c.enter(Egress, i)
		peers := make([]clusterPeer, len(r.To))
		for j, t := range r.To {
			peers[j] = clusterPeer{t.Namespaces, t.Pods, t.Nodes, t.Networks, t.DomainNames}
		}
		p.rules[Egress] = c.rule(p.rules[Egress], clusterRule{r.Name, r.Action, peers, r.Protocols})
	}
	if !sound {
		return nil
	}
	return p
}

// count checks the length of a list below the present place.
func (c *clusterPolicyCompiler) count(list string, n int) {
	if n > maxListItems {
		c.fault(list, "%d entries, more than the %d that the API allows", n, maxListItems)
	}
}

func (c *clusterPolicyCompiler) place(p *clusterPolicy) bool {
	before := len(c.faults)
	switch c.cnp.Spec.Tier {
	case policyv1alpha2.AdminTier:
		p.tier = Admin
	case policyv1alpha2.BaselineTier:
		p.tier = Baseline
	default:
		c.fault("tier", "%q is neither Admin nor Baseline; the policy takes no part", c.cnp.Spec.Tier)
	}
	if p.priority < 0 || p.priority > maxPriority {
		c.fault("priority", "%d is not between 0 and %d; the policy takes no part", p.priority, maxPriority)
	}
	return len(c.faults) == before
}

func (c *clusterPolicyCompiler) subject(p *clusterPolicy) bool {
	s := &c.cnp.Spec.Subject
	before := len(c.faults)
	switch {
	case (s.Namespaces == nil) == (s.Pods == nil):
		c.fault("subject", "exactly one of namespaces and pods is required; the policy takes no part")
	case s.Namespaces != nil:
		p.namespaces, _ = c.selector("subject.namespaces", s.Namespaces)
		p.pods = labels.Everything()
	default:
		p.namespaces, _ = c.selector("subject.pods.namespaceSelector", &s.Pods.NamespaceSelector)
		p.pods, _ = c.selector("subject.pods.podSelector", &s.Pods.PodSelector)
	}
	return len(c.faults) == before
}

// clusterRule is a rule of either direction.
type clusterRule struct {
	name      string
	action    policyv1alpha2.ClusterNetworkPolicyRuleAction
	peers     []clusterPeer
	protocols []policyv1alpha2.ClusterNetworkPolicyProtocol
}

// clusterPeer is a peer of either direction. One of its fields is to be set.
type clusterPeer struct {
	namespaces *metav1.LabelSelector
	pods       *policyv1alpha2.NamespacedPod
	nodes      *metav1.LabelSelector
	networks   []policyv1alpha2.CIDR
	domains    []policyv1alpha2.DomainName
}

func (p *clusterPeer) fields() (n int) {
	for _, set := range []bool{p.namespaces != nil, p.pods != nil, p.nodes != nil, p.networks != nil, p.domains != nil} {
		if set {
			n++
		}
	}
	return n
}

// hasNamedPorts: only pods name their ports.
func (p *clusterPeer) hasNamedPorts() bool {
	return p.nodes == nil && p.networks == nil && p.domains == nil
}

// rule appends the compiled rule. A rule with a fault fails closed as the API reference asks: one that
// accepts matches nothing, any other denies everything.
func (c *clusterPolicyCompiler) rule(rules []*Rule, given clusterRule) []*Rule {
	c.origin.Rule = given.name
	defer func() { c.origin.Rule = "" }()
	r := &Rule{Origin: c.origin}
	sound := c.action(r, given.action)
	if n := utf8.RuneCountInString(given.name); n > maxRuleName {
		c.fault("name", "%d characters, more than the %d that the API allows", n, maxRuleName)
	}
	sound = c.peers(r, given.peers) && sound
	sound = c.protocols(r, &given) && sound
	switch {
	case sound:
		return append(rules, r)
	case r.Action == Allow:
		return rules
	}
	return append(rules, &Rule{Origin: r.Origin, Action: Deny})
}

func (c *clusterPolicyCompiler) action(r *Rule, given policyv1alpha2.ClusterNetworkPolicyRuleAction) bool {
	for _, a := range []Action{Allow, Deny, Pass} {
		if string(given) == a.String() {
			r.Action = a
			return true
		}
	}
	c.fault("action", "%q is none of Accept, Deny and Pass; the rule denies everything", given)
	r.Action = Deny
	return false
}

// peers are sound when there are some and none has a fault.
func (c *clusterPolicyCompiler) peers(r *Rule, given []clusterPeer) bool {
	field := peersField(r.Origin.Direction)
	if len(given) == 0 {
		c.fault(field, "at least one peer is required; namespaces: {} means every pod")
		return false
	}
	c.count(field, len(given))
	sound := true
	c.list = field
	for c.item = range given {
		sound = c.peer(r, &given[c.item]) && sound
	}
	c.list = ""
	return sound
}

func (c *clusterPolicyCompiler) peer(r *Rule, p *clusterPeer) bool {
	m := PeerMatch{Index: c.item}
	valid := true
	switch {
	case p.fields() != 1:
		c.fault("", "exactly one of namespaces, pods, and for egress nodes and networks is required")
		return false
	case p.networks != nil:
		return c.networks(r, p.networks)
	case p.domains != nil:
		c.fault("domainNames", "names are not supported; list the addresses under networks")
		return false
	case p.nodes != nil:
		m.Nodes, valid = c.selector("nodes", p.nodes)
	case p.namespaces != nil:
		m.Namespaces, valid = c.selector("namespaces", p.namespaces)
		m.Pods = labels.Everything()
	default:
		var all bool
		m.Namespaces, all = c.selector("pods.namespaceSelector", &p.pods.NamespaceSelector)
		m.Pods, valid = c.selector("pods.podSelector", &p.pods.PodSelector)
		valid = valid && all
	}
	if valid {
		r.Peers = append(r.Peers, m)
	}
	return valid
}

// networks are one match each, all with the index of the peer.
func (c *clusterPolicyCompiler) networks(r *Rule, networks []policyv1alpha2.CIDR) bool {
	if len(networks) == 0 {
		c.fault("networks", "at least one range of addresses is required")
		return false
	}
	c.count("networks", len(networks))
	var matches []PeerMatch
	for i, n := range networks {
		prefix, err := parsePrefix(string(n))
		if err != nil {
			c.fault(fmt.Sprintf("networks[%d]", i), "%v", err)
			continue
		}
		matches = append(matches, PeerMatch{Index: c.item, Block: prefix})
	}
	if len(matches) < len(networks) {
		return false
	}
	r.Peers = append(r.Peers, matches...)
	return true
}

func (c *clusterPolicyCompiler) protocols(r *Rule, given *clusterRule) bool {
	if given.protocols != nil && len(given.protocols) == 0 {
		c.fault("protocols", "at least one entry is required; leave protocols out to mean all of them")
		return false
	}
	c.count("protocols", len(given.protocols))
	sound := true
	c.list = "protocols"
	for c.item = range given.protocols {
		m := PortMatch{Index: c.item}
		if !c.protocol(&m, &given.protocols[c.item], given.peers) {
			sound = false
			continue
		}
		r.Ports = append(r.Ports, m)
	}
	c.list = ""
	return sound
}

func (c *clusterPolicyCompiler) protocol(m *PortMatch, p *policyv1alpha2.ClusterNetworkPolicyProtocol, peers []clusterPeer) bool {
	var fields int
	var port *policyv1alpha2.Port
	if p.TCP != nil {
		fields, m.Protocol, port = fields+1, corev1.ProtocolTCP, p.TCP.DestinationPort
	}
	if p.UDP != nil {
		fields, m.Protocol, port = fields+1, corev1.ProtocolUDP, p.UDP.DestinationPort
	}
	if p.SCTP != nil {
		fields, m.Protocol, port = fields+1, corev1.ProtocolSCTP, p.SCTP.DestinationPort
	}
	if p.DestinationNamedPort != "" {
		fields++
	}
	if fields != 1 {
		c.fault("", "exactly one of tcp, udp, sctp and destinationNamedPort is required")
		return false
	}
	if m.Protocol == "" {
		return c.namedPort(m, p.DestinationNamedPort, peers)
	}
	return c.port(m, strings.ToLower(string(m.Protocol)), port)
}

func (c *clusterPolicyCompiler) namedPort(m *PortMatch, name string, peers []clusterPeer) bool {
	m.Name = name
	before := len(c.faults)
	if problems := validation.IsValidPortName(name); problems != nil {
		c.fault("destinationNamedPort", "%q: %s", name, strings.Join(problems, "; "))
	}
	for i := range peers {
		if !peers[i].hasNamedPorts() {
			c.fault("destinationNamedPort", "the rule is about networks, nodes or names, which have no named ports; make it two rules")
			break
		}
	}
	return len(c.faults) == before
}

func (c *clusterPolicyCompiler) port(m *PortMatch, field string, p *policyv1alpha2.Port) bool {
	switch {
	case p == nil:
		c.fault(field, "destinationPort is required; its range 1 to 65535 means every port")
	case (p.Number == 0) == (p.Range == nil):
		c.fault(field+".destinationPort", "exactly one of number and range is required")
	case p.Range == nil && (p.Number < 1 || p.Number > 65535):
		c.fault(field+".destinationPort.number", "%d is not between 1 and 65535", p.Number)
	case p.Range == nil:
		m.From, m.To = uint16(p.Number), uint16(p.Number)
		return true
	case p.Range.Start < 1 || p.Range.End > 65535 || p.Range.Start >= p.Range.End:
		c.fault(field+".destinationPort.range", "%d to %d is not a range between 1 and 65535 that begins before it ends", p.Range.Start, p.Range.End)
	default:
		m.From, m.To = uint16(p.Range.Start), uint16(p.Range.End)
		return true
	}
	return false
}
