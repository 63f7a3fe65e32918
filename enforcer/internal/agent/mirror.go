// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// mirror is what the agent keeps of the API server's objects, brought up to date change by change.
type mirror struct {
	node     string
	snapshot *netpol.Snapshot
	stage    netpol.Stage
	pods     map[types.NamespacedName]*corev1.Pod // of this node, with a network of their own
	modes    map[string]plan.Mode                 // of namespaces that are enforced; others are audited
	reject   bool                                 // what is denied is answered, where a namespace does not say
	rejects  map[string]bool                      // by namespace that says
	services map[types.NamespacedName][]netip.Addr
	virtual  []netip.Addr // addresses of all Services, sorted; nil: to be collected again
	nodes    map[string]*corev1.Node
	faults   map[netpol.Key]fault
}

// fault is what is wrong with a policy.
type fault struct {
	policy runtime.Object
	errs   []*netpol.ObjectError
}

func newMirror(node string, reject bool) *mirror {
	return &mirror{
		node: node, reject: reject, rejects: make(map[string]bool), snapshot: new(netpol.Snapshot),
		pods: make(map[types.NamespacedName]*corev1.Pod), modes: make(map[string]plan.Mode),
		services: make(map[types.NamespacedName][]netip.Addr), nodes: make(map[string]*corev1.Node),
		faults: make(map[netpol.Key]fault),
	}
}

// apply brings the mirror up to date.
func (m *mirror) apply(c netpol.Change) {
	snapshot, err := m.snapshot.Apply(c)
	m.snapshot = snapshot
	for _, k := range c.Deleted {
		m.delete(k)
	}
	for _, ns := range c.Set.Namespaces {
		m.setMode(ns)
		m.setReject(ns)
	}
	for _, p := range c.Set.Pods {
		m.setPod(p)
	}
	for _, s := range c.Set.Services {
		m.virtual = nil
		// What the node does not translate of these is judged for what it is.
		addrs := slices.Concat(netpol.ServiceAddresses(s), netpol.ExternalAddresses(s))
		m.services[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}] = addrs
	}
	for _, n := range c.Set.Nodes {
		m.nodes[n.Name] = n
	}
	m.setFaults(&c.Set, append(netpol.ObjectErrors(err), m.setStage(&c.Set)...))
}

// setStage returns the faults of policies that are only staged.
func (m *mirror) setStage(set *netpol.Objects) (errs []*netpol.ObjectError) {
	for _, p := range set.Policies {
		errs = append(errs, m.stage.Set(p)...)
	}
	for _, p := range set.ClusterPolicies {
		errs = append(errs, m.stage.SetCluster(p)...)
	}
	return errs
}

// staged is the snapshot with the staged policies as if they were live; nil: there are none.
func (m *mirror) staged() *netpol.Snapshot {
	if m.stage.IsEmpty() {
		return nil
	}
	return m.stage.On(m.snapshot)
}

func (m *mirror) delete(k netpol.Key) {
	name := types.NamespacedName{Namespace: k.Namespace, Name: k.Name}
	switch k.Kind {
	case "Namespace":
		delete(m.modes, k.Name)
		delete(m.rejects, k.Name)
	case "Pod":
		delete(m.pods, name)
	case "Service":
		delete(m.services, name)
		m.virtual = nil
	case "Node":
		delete(m.nodes, k.Name)
	default:
		delete(m.faults, k)
		m.stage.Delete(k)
	}
}

// setMode enforces a namespace only if its label says so: another one, also with a label that is no mode, is
// audited.
func (m *mirror) setMode(ns *corev1.Namespace) {
	delete(m.modes, ns.Name)
	if mode, err := baseline.ModeOf(ns.Labels); err == nil && mode == baseline.Enforce {
		m.modes[ns.Name] = plan.Enforce
	}
}

func (m *mirror) setReject(ns *corev1.Namespace) {
	switch ns.Annotations[baseline.AnnotationDenyWith] {
	case DenyByReject:
		m.rejects[ns.Name] = true
	case DenyByDrop:
		m.rejects[ns.Name] = false
	default:
		delete(m.rejects, ns.Name)
	}
}

// input is what is known of a pod's interface.
func (m *mirror) input(pod types.NamespacedName, ifindex uint32, addrs []netip.Addr) plan.EndpointInput {
	reject, said := m.rejects[pod.Namespace]
	if !said {
		reject = m.reject
	}
	return plan.EndpointInput{Pod: pod, Ifindex: ifindex, Mode: m.modes[pod.Namespace], Addrs: addrs, Reject: reject}
}

func (m *mirror) setPod(p *corev1.Pod) {
	name := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
	if p.Spec.NodeName != m.node || !netpol.HasIdentity(p) {
		delete(m.pods, name)
		return
	}
	m.pods[name] = p
}

func (m *mirror) setFaults(set *netpol.Objects, errs []*netpol.ObjectError) {
	byObject := make(map[string][]*netpol.ObjectError)
	for _, e := range errs {
		byObject[e.Object] = append(byObject[e.Object], e)
	}
	note := func(k netpol.Key, name string, policy runtime.Object) {
		delete(m.faults, k)
		if errs := byObject[name]; len(errs) > 0 {
			m.faults[k] = fault{policy, errs}
		}
	}
	for _, p := range set.Policies {
		note(netpol.Key{Kind: "NetworkPolicy", Namespace: p.Namespace, Name: p.Name}, "NetworkPolicy "+p.Namespace+"/"+p.Name, p)
	}
	for _, p := range set.ClusterPolicies {
		note(netpol.Key{Kind: "ClusterNetworkPolicy", Name: p.Name}, "ClusterNetworkPolicy "+p.Name, p)
	}
}

// localPods are the node's pods by name.
func (m *mirror) localPods() []*corev1.Pod {
	return slices.SortedFunc(maps.Values(m.pods), func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// serviceAddrs are those of all Services, sorted.
func (m *mirror) serviceAddrs() []netip.Addr {
	if m.virtual == nil {
		for _, of := range m.services {
			m.virtual = append(m.virtual, of...)
		}
		slices.SortFunc(m.virtual, netip.Addr.Compare)
		m.virtual = slices.Compact(m.virtual)
	}
	return m.virtual
}
