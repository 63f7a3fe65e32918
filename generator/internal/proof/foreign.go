// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// maxForeign bounds the foreign policies of a report.
const maxForeign = 100

// Foreign is a policy that the cluster has and Git has not, and what it opens beyond the policies that were judged.
type Foreign struct {
	Policy string `json:"policy"` // "NetworkPolicy shop/allow-all"
	// Tier is that of a policy for the whole cluster, Admin or Baseline, which was not judged; empty: a NetworkPolicy.
	Tier string `json:"tier,omitempty"`
	// AllIn are the workloads that it lets everything in to, and AllOut those that it lets out to everything: the
	// policies that were judged restrict nothing there.
	AllIn  []string `json:"allIn,omitempty"`
	AllOut []string `json:"allOut,omitempty"`
	// Count is the number of (source, destination, protocol, range of ports) that only it allows and that were not
	// seen, and Pairs how many sources and destinations these are of.
	Count    int      `json:"count"`
	Pairs    int      `json:"pairs"`
	Examples []Unseen `json:"examples,omitempty"` // the first of them
	// Future and Ranges are its rules that allow pods that do not exist, and more addresses than one at a time.
	Future []Future `json:"future,omitempty"`
	Ranges []Range  `json:"ranges,omitempty"`
	// Fault says why it could not be judged; empty: it was.
	Fault string `json:"fault,omitempty"`
}

// Blocked is an observed connection that the judged policies allow and foreign ones deny, at either end: nothing else
// isolates that end, and no policy of its namespace allows the connection.
type Blocked struct {
	Connection string   `json:"connection"`
	Direction  string   `json:"direction"` // Ingress or Egress: the side that denies it
	Namespace  string   `json:"namespace"` // of that side
	By         []string `json:"by"`        // "NetworkPolicy data/isolate"
}

// Words say who denies it until when. quote is how names from outside are written.
func (b *Blocked) Words(quote func(string) string) string {
	return fmt.Sprintf("its %s is denied by %s until a policy of namespace %s allows it", strings.ToLower(b.Direction), quote(wording.Some(b.By)), quote(b.Namespace))
}

// Words say what a foreign policy does, the worst first; never nil. quote is how names from outside are written.
func (f *Foreign) Words(quote func(string) string) (words []string) {
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	const so = "the other policies restrict nothing there until it is removed"
	if n := len(f.AllIn); n > 0 {
		add("lets everything in to %d workloads (%s): "+so, n, quote(wording.Some(f.AllIn)))
	}
	if n := len(f.AllOut); n > 0 {
		add("lets %d workloads (%s) out to everything: "+so, n, quote(wording.Some(f.AllOut)))
	}
	everything := len(words) > 0
	if f.Count > 0 {
		u := f.Examples[0]
		add("allows %d combinations of %d pairs of workloads and ports that were not seen, such as %s", f.Count, f.Pairs, quote(fmt.Sprintf("%s → %s %s/%s", u.From, u.To, u.Protocol, u.Ports)))
	}
	var pods, ranges []string
	for _, x := range f.Future {
		pods = append(pods, x.Pods)
	}
	for _, x := range f.Ranges {
		ranges = append(ranges, x.Range)
	}
	if len(pods) > 0 && !everything {
		add("allows pods that do not exist: %s", quote(wording.Some(pods)))
	}
	if len(ranges) > 0 && !everything {
		add("allows %s", quote(wording.Some(ranges)))
	}
	switch {
	case f.Tier == string(policyv1alpha2.AdminTier):
		add("was not judged, and decides before NetworkPolicies do: what is written here can be denied all the same, and anything else allowed")
	case f.Tier != "":
		add("was not judged; of tier %s, it decides where no NetworkPolicy isolates", quote(f.Tier))
	case f.Fault != "":
		add("cannot be judged: %s", quote(f.Fault))
	case len(words) == 0:
		add("opens nothing beyond the other policies")
	}
	return words
}

// Meet adds to a report what policies do beside the judged ones that the cluster has and Git has not: in the same
// namespaces, and in those of peers. Policies for the whole cluster are named and not judged. git are policies that Git has
// beside the judged ones. The others are as they were given to Prove. Whether the judged policies are proven does not depend
// on it: they have to hold also when the foreign ones are gone.
func (r *Report) Meet(inv *inventory.Inventory, git, policies []*networkingv1.NetworkPolicy, connections []evidence.Connection, sample *inventory.Sample, dns baseline.DNSTargets) error {
	m := meeting{Report: r, inv: inv, connections: connections, sample: sample, dns: dns, foreign: map[string]bool{}}
	err := m.beside(policies, slices.Concat(git, policies))
	m.aboveAll(Namespaces(policies))
	return err
}

// beside judges the foreign NetworkPolicies.
func (m *meeting) beside(policies, known []*networkingv1.NetworkPolicy) error {
	var own []*networkingv1.NetworkPolicy
	for _, name := range Namespaces(policies) {
		own = append(own, m.inv.Foreign(name, known)...)
	}
	peers := m.ofPeers(Namespaces(policies))
	if len(own)+len(peers) == 0 {
		return nil
	}
	judged, err := newJudge(policies, m.sample, m.dns)
	if err != nil {
		return err // Prove has said so
	}
	judged.governed = m.governed
	return m.together(judged, m.each(judged, m.bound(own)), peers)
}

// meeting is Meet's work.
type meeting struct {
	*Report
	inv         *inventory.Inventory
	connections []evidence.Connection
	sample      *inventory.Sample
	dns         baseline.DNSTargets
	foreign     map[string]bool // by name, as it is in the report
}

func nameOf(p *networkingv1.NetworkPolicy) string {
	return "NetworkPolicy " + p.Namespace + "/" + p.Name
}

// bound leaves out what is too much, and counts it. What looks as if it allowed the most comes first: nobody hides a
// policy behind many.
func (m *meeting) bound(own []*networkingv1.NetworkPolicy) []*networkingv1.NetworkPolicy {
	slices.SortStableFunc(own, func(a, b *networkingv1.NetworkPolicy) int { return cmp.Compare(breadth(b), breadth(a)) })
	m.ForeignOmitted = max(0, len(own)-maxForeign)
	return own[:len(own)-m.ForeignOmitted]
}

func breadth(p *networkingv1.NetworkPolicy) (n int) {
	v := netpol.View(p)
	if v.SelectsAll {
		n++
	}
	if slices.ContainsFunc(v.Allows, func(r netpol.RuleView) bool { return r.Everyone }) {
		n += 2
	}
	return n
}

// each judges the foreign policies one by one, and returns those that could be: what the others would do is not known.
func (m *meeting) each(judged *judge, own []*networkingv1.NetworkPolicy) (sound []*networkingv1.NetworkPolicy) {
	before := judged.residents()
	for _, p := range own {
		f := Foreign{Policy: nameOf(p)}
		alone, err := newJudge([]*networkingv1.NetworkPolicy{p}, m.sample, m.dns)
		if err != nil {
			f.Fault = err.Error()
		} else {
			f.weigh(judged, alone, before, m.connections)
			sound, m.foreign[f.Policy] = append(sound, p), true
		}
		m.Foreign = append(m.Foreign, f)
	}
	slices.SortStableFunc(m.Foreign, func(a, b Foreign) int { return slices.Compare(b.harm(), a.harm()) })
	return sound
}

// aboveAll names the policies for the whole cluster that are about pods of the namespaces. Those of tier Admin win over all others,
// so they come first.
func (m *meeting) aboveAll(namespaces []string) {
	var all []Foreign
	named := map[string]bool{}
	for _, namespace := range namespaces {
		for _, p := range m.inv.ClusterPolicies(namespace) {
			switch f := (Foreign{Policy: p.String(), Tier: cmp.Or(p.Tier, "unknown")}); {
			case named[f.Policy]:
			case len(all) == maxForeign:
				m.ForeignOmitted++
			default:
				all = append(all, f)
			}
			named[p.String()] = true
		}
	}
	slices.SortStableFunc(all, func(a, b Foreign) int { return cmp.Compare(a.Tier, b.Tier) })
	m.Foreign = slices.Concat(all, m.Foreign)
}

// harm orders foreign policies.
func (f *Foreign) harm() []int {
	return []int{len(f.AllIn) + len(f.AllOut), f.Count, len(f.Future) + len(f.Ranges), len(f.Fault)}
}

// ofPeers are the policies of the other namespaces that connections touch and that have foreign ones. Where there is
// none, Bulkhead decides what is possible, and not the policies of today.
func (m *meeting) ofPeers(own []string) (all []*networkingv1.NetworkPolicy) {
	looked := map[string]bool{"": true}
	for _, name := range own {
		looked[name] = true
	}
	for e := range evidence.Ends(m.connections) {
		if looked[e.Namespace] {
			continue
		}
		looked[e.Namespace] = true
		foreign := m.inv.Foreign(e.Namespace, nil)
		if len(foreign) == 0 {
			continue
		}
		for _, p := range foreign {
			m.foreign[nameOf(p)] = true
		}
		for _, p := range m.inv.Policies(e.Namespace) {
			if _, err := m.sample.Compile([]*networkingv1.NetworkPolicy{p}); err == nil {
				all = append(all, p)
			}
		}
	}
	return all
}

// together judges all of them at once.
func (m *meeting) together(judged *judge, own, peers []*networkingv1.NetworkPolicy) error {
	all, err := newJudge(slices.Concat(judged.policies, own, peers), m.sample, m.dns)
	if err != nil {
		return fmt.Errorf("policies together with those that the cluster has: %w", err)
	}
	for i := range m.connections {
		c := &m.connections[i]
		if !judged.concerns(c.From, netpol.Egress) && !judged.concerns(c.To, netpol.Ingress) {
			continue
		}
		if all.broken(c) == nil {
			all.weigh(c)
		} else if judged.broken(c) == nil {
			m.block(all, c)
		}
	}
	names := map[string]bool{}
	for _, p := range own {
		names[nameOf(p)] = true
	}
	for _, name := range all.idle() {
		if names[name] {
			m.SelectsNothing = append(m.SelectsNothing, name)
		}
	}
	for _, s := range all.shadowed() {
		if policy, _, _ := strings.Cut(s.Rule, " spec."); names[policy] {
			m.Shadowed = append(m.Shadowed, s)
		}
	}
	return nil
}

// block notes a connection that is denied because only foreign policies isolate an end. Where others do so as well, they
// are Bulkhead's, and so is the rule that is missing.
func (m *meeting) block(all *judge, c *evidence.Connection) {
	d, decision := all.denial(c)
	if decision == nil {
		return
	}
	b := Blocked{Connection: c.String(), Direction: d.String()}
	for _, by := range decision.By {
		name := by.Kind + " " + by.Namespace + "/" + by.Name
		if !m.foreign[name] {
			return
		}
		b.Namespace, b.By = by.Namespace, append(b.By, name)
	}
	switch {
	case len(m.Blocked) == maxListed:
		m.BlockedOmitted++
	default:
		m.Blocked = append(m.Blocked, b)
	}
}

// denial is the first decision that denies a connection; nil: an end is not known.
func (j *judge) denial(c *evidence.Connection) (netpol.Direction, *netpol.Decision) {
	sources, destinations, err := j.between(c)
	if err != nil {
		return 0, nil
	}
	for i := range sources {
		for k := range destinations {
			v := j.snapshot.Evaluate(netpol.Connection{From: sources[i].peer, To: destinations[k].peer, Protocol: c.Protocol, Port: c.Port})
			if !v.Allowed {
				return v.Decider()
			}
		}
	}
	return 0, nil
}
