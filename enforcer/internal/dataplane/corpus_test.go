// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// fewestSides is how many sides of the corpus' lines are decided at a pod's device, at the least.
const fewestSides = 1000

// corpusDevices is more than a node of the corpus has addresses of pods.
const corpusDevices = 40

// TestAgreesWithEvaluatorOnCorpus puts the corpus' clusters into the kernel, node by node, and compares verdict,
// reason and rule of every pod with every address that occurs, one pod in mode enforce and the next in mode audit.
// What a line of the corpus expects of a pod is among them, and is compared with the line as well.
func TestAgreesWithEvaluatorOnCorpus(t *testing.T) {
	files, err := corpus.Load("../../../policies/netpol/testdata/corpus")
	if err != nil {
		t.Fatal(err)
	}
	seen := &corpusTally{reached: map[string]int{}}
	work := make(chan *corpus.File, len(files))
	for _, f := range files {
		work <- f
	}
	close(work)
	var labs errgroup.Group
	for range 4 * runtime.GOMAXPROCS(0) {
		config := newConfig(t)
		config.Flows, config.Connections = 1<<16, 1<<16
		labs.Go(func() error {
			l, err := newLab(config, corpusDevices)
			if err != nil {
				return err
			}
			defer l.Close()
			for f := range work {
				if err := l.compareFile(t, f, seen); err != nil {
					return fmt.Errorf("%s: %w", filepath.Base(f.Path), err)
				}
			}
			return nil
		})
	}
	err = labs.Wait()
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	seen.check(t)
}

// corpusTally counts what the corpus has reached.
type corpusTally struct {
	mu        sync.Mutex
	reached   map[string]int
	questions int
	sides     int // of lines
}

func (s *corpusTally) check(t *testing.T) {
	t.Helper()
	t.Logf("%d decisions, among them %d sides of lines: %v", s.questions, s.sides, s.reached)
	if s.sides < fewestSides {
		t.Errorf("%d sides of lines, want at least %d", s.sides, fewestSides)
	}
	for _, reason := range []Reason{ByRule, ByDenyRule, ByIsolation, ByNoIsolation, ByOwnNode, ByItself} {
		for _, passed := range []bool{false, true} {
			if key := fmt.Sprintf("%s, passed %v", reason, passed); s.reached[key] == 0 && (!passed || reason != ByOwnNode && reason != ByItself) {
				t.Errorf("no decision by %s", key)
			}
		}
	}
}

// compareFile asks every node of a file's cluster.
func (l *lab) compareFile(t *testing.T, f *corpus.File, seen *corpusTally) error {
	full, err := netpol.Compile(f.Objects)
	if err != nil && len(f.Faults) == 0 {
		return err
	}
	without := f.Objects
	without.Services = nil // the datapath judges addresses
	plain, _ := netpol.Compile(without)
	virtual := map[netip.Addr]bool{}
	for _, s := range f.Objects.Services {
		for _, addr := range netpol.ServiceAddresses(s) {
			virtual[addr] = true
		}
	}
	nodes := map[string]map[types.NamespacedName]*localPod{}
	for e := range full.Endpoints() {
		node := nodeOf(f.Objects.Pods, e.Pod())
		if nodes[node] == nil {
			nodes[node] = map[types.NamespacedName]*localPod{}
		}
		if nodes[node][e.Pod()] == nil {
			nodes[node][e.Pod()] = &localPod{name: e.Pod(), mode: plan.Mode(len(nodes[node]) % 2)}
		}
		nodes[node][e.Pod()].addrs = append(nodes[node][e.Pod()].addrs, e.Addr)
	}
	for _, pods := range nodes {
		c := &corpusNode{
			file: f, full: full, plain: plain, pods: pods, virtual: virtual,
			wanted: map[uint32]map[question]netpol.Decision{}, owners: map[uint32]*localPod{}, local: map[uint32]netip.Addr{},
		}
		if err := c.compare(t, l, seen); err != nil {
			return err
		}
	}
	return nil
}

func nodeOf(pods []*corev1.Pod, name types.NamespacedName) string {
	for _, p := range pods {
		if p.Namespace == name.Namespace && p.Name == name.Name {
			return p.Spec.NodeName
		}
	}
	return ""
}

// corpusNode is a node of a file's cluster. Each address of each of its pods is behind a device of its own.
type corpusNode struct {
	file        *corpus.File
	full, plain *netpol.Snapshot
	pods        map[types.NamespacedName]*localPod
	virtual     map[netip.Addr]bool   // cluster addresses of Services
	owners      map[uint32]*localPod  // by device
	local       map[uint32]netip.Addr // by device
	wanted      map[uint32]map[question]netpol.Decision
}

func (c *corpusNode) compare(t *testing.T, l *lab, seen *corpusTally) error {
	in := plan.Input{}
	for _, pod := range c.pods {
		for _, addr := range pod.addrs {
			if len(c.owners) == len(l.devices) {
				return fmt.Errorf("a node has more than %d addresses of pods", len(l.devices))
			}
			device := l.devices[len(c.owners)]
			c.owners[device], c.local[device] = pod, addr
			in.Endpoints = append(in.Endpoints, plan.EndpointInput{Pod: pod.name, Ifindex: device, Mode: pod.mode})
			c.wanted[device] = map[question]netpol.Decision{}
			c.addQuestions(device, pod)
		}
	}
	sides := c.addLines(t)
	in.NodeAddrs = c.ownNode()
	world, err := plan.Build(c.full, in)
	if err != nil {
		return err
	}
	if err := l.forget(); err != nil {
		return err
	}
	if _, err := l.Load(world); err != nil {
		return err
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	seen.sides += sides
	return c.askAll(t, l, world, seen)
}

// ownNode are the addresses that some pod's questions show to be the node's.
func (c *corpusNode) ownNode() (own []netip.Addr) {
	for _, wanted := range c.wanted {
		for q, want := range wanted {
			if want.Reason == netpol.OwnNode && !slices.Contains(own, q.remote) {
				own = append(own, q.remote)
			}
		}
	}
	return own
}

// addQuestions are about every address and port that occurs in the file.
func (c *corpusNode) addQuestions(device uint32, pod *localPod) {
	ports, addrs := map[uint16]bool{}, map[netip.Addr]bool{}
	for e := range c.full.Endpoints() {
		addrs[e.Addr] = true
	}
	for _, line := range c.file.Connections {
		ports[line.Port] = true
		addrs[line.From.Addr.Unmap()], addrs[line.To.Addr.Unmap()] = true, true
	}
	for addr := range addrs {
		if !addr.IsValid() || addr.Is4() != c.local[device].Is4() {
			continue
		}
		for port := range ports {
			for number := range protocolNames {
				c.add(device, pod, addr, number, port)
			}
		}
		c.add(device, pod, addr, map[bool]byte{true: icmp4, false: icmp6}[addr.Is4()], 0)
	}
}

// add asks about one peer, both ways.
func (c *corpusNode) add(device uint32, pod *localPod, addr netip.Addr, number byte, port uint16) {
	protocol := protocolNames[number]
	if protocol == "" {
		protocol = "ICMP"
	}
	me, other := netpol.Peer{Pod: pod.name, Addr: c.local[device]}, netpol.Peer{Addr: addr}
	in := c.plain.Evaluate(netpol.Connection{From: other, To: me, Protocol: protocol, Port: port})
	out := c.plain.Evaluate(netpol.Connection{From: me, To: other, Protocol: protocol, Port: port})
	c.wanted[device][question{netpol.Ingress, addr, number, port}] = in.Ingress
	c.wanted[device][question{netpol.Egress, addr, number, port}] = out.Egress
}

// addLines adds the sides of the file's lines that these pods decide, and returns how many there are.
func (c *corpusNode) addLines(t *testing.T) (sides int) {
	for _, line := range c.file.Connections {
		for _, side := range c.sides(line) {
			if number := protocolNumber(line.Protocol); number != 0 {
				sides += c.addSide(t, line.Pos, number, side)
			}
		}
	}
	return sides
}

// corpusSide is what one side of a line decides.
type corpusSide struct {
	d         netpol.Direction
	me, other netpol.Peer
	port      uint16
	want      corpus.Side
}

// sides are those that packets between the two ends show.
func (c *corpusNode) sides(line corpus.Connection) (sides []corpusSide) {
	unknown := func(r netpol.Reason) bool { return r == netpol.UnknownPod || r == netpol.UnknownBackend }
	if unknown(line.Want.Egress.Reason) || unknown(line.Want.Ingress.Reason) {
		return nil // there are no such packets
	}
	from, to, port := line.From, line.To, line.Port
	r := c.full.Evaluate(line.Connection).Resolved
	if r != nil {
		to, port = netpol.Peer{Pod: r.Backend}, r.Port
	}
	from.Addr, to.Addr = c.address(from, line.To.Addr, line.From.Addr), c.address(to, line.To.Addr, line.From.Addr)
	from.Addr, to.Addr = c.address(from, to.Addr), c.address(to, from.Addr)
	egress := corpusSide{netpol.Egress, from, to, port, line.Want.Egress}
	ingress := corpusSide{netpol.Ingress, to, from, port, line.Want.Ingress}
	switch {
	case line.To.Service.Name != "" && len(c.addresses(from.Pod)) > 1:
		return nil // the Service chooses the family
	case r == nil || line.To.Service.Name != "" || c.virtual[line.To.Addr.Unmap()]:
		return []corpusSide{egress, ingress}
	case r.Source.IsValid(): // from outside, or through a node's port
		ingress.other = netpol.Peer{Addr: r.Source}
		return []corpusSide{ingress}
	}
	return nil
}

// addSide returns how many devices decide the side.
func (c *corpusNode) addSide(t *testing.T, pos string, number byte, s corpusSide) (n int) {
	identity := c.full.Endpoint(s.other.Pod).Pod() // none on the host network
	if !s.other.Addr.IsValid() || s.me.Addr.Is4() != s.other.Addr.Is4() || c.full.EndpointAt(s.other.Addr).Pod() != identity && s.other.Pod.Name != "" {
		return 0
	}
	for device, local := range c.local {
		if pod := c.owners[device]; pod.name == s.me.Pod && local == s.me.Addr {
			c.add(device, pod, s.other.Addr, number, s.port)
			decision := c.wanted[device][question{s.d, s.other.Addr, number, s.port}]
			if got := corpus.WantOf(netpol.Verdict{Egress: decision}).Egress; got != s.want {
				t.Errorf("%s: the %s side is %s when asked by address", pos, s.d, got)
			}
			n++
		}
	}
	return n
}

// protocolNumber is 0 for protocols without ports.
func protocolNumber(name corev1.Protocol) byte {
	for number, n := range protocolNames {
		if n == name {
			return number
		}
	}
	return 0
}

// address is that of a pod, in the family of the first that is an address; the zero Addr if it has none.
func (c *corpusNode) address(p netpol.Peer, like ...netip.Addr) netip.Addr {
	if p.Addr.IsValid() || p.Pod.Name == "" {
		return p.Addr.Unmap()
	}
	like = slices.DeleteFunc(like, func(a netip.Addr) bool { return !a.IsValid() })
	for _, addr := range c.addresses(p.Pod) {
		if len(like) == 0 || addr.Is4() == like[0].Unmap().Is4() {
			return addr
		}
	}
	return netip.Addr{}
}

// addresses are those in the pod's status.
func (c *corpusNode) addresses(name types.NamespacedName) (all []netip.Addr) {
	for _, pod := range c.file.Objects.Pods {
		if pod.Namespace != name.Namespace || pod.Name != name.Name {
			continue
		}
		for _, ip := range append([]corev1.PodIP{{IP: pod.Status.PodIP}}, pod.Status.PodIPs...) {
			if addr, err := netip.ParseAddr(ip.IP); err == nil && !slices.Contains(all, addr.Unmap()) {
				all = append(all, addr.Unmap())
			}
		}
	}
	return all
}

// askAll sends every question to the datapath.
func (c *corpusNode) askAll(t *testing.T, l *lab, world *plan.World, seen *corpusTally) error {
	type asked struct {
		device uint32
		question
	}
	passed, recorded, sent := map[asked]bool{}, map[asked]Flow{}, 0
	own := c.ownNode()
	for device, wanted := range c.wanted {
		for q := range wanted {
			if q.direction == netpol.Egress && slices.Contains(own, q.remote) { // judged where it was not translated
				f, err := l.judged(device, c.local[device], q)
				if err != nil {
					return err
				}
				passed[asked{device, q}], recorded[asked{device, q}] = f.Verdict != Denied, f
				continue
			}
			sent++
			at, packet := q.packet(c.local[device])
			ok, err := l.send(place{hook: at, device: device}, frame(packet))
			if err != nil {
				return err
			}
			passed[asked{device, q}] = ok
		}
	}
	flows, lost, err := l.DrainFlows()
	if err != nil {
		return err
	}
	if len(flows)+int(lost) != sent {
		return fmt.Errorf("%d recorded, %d lost, %d sent", len(flows), lost, sent)
	}
	for _, f := range flows {
		recorded[asked{f.Ifindex, question{f.Direction, f.Remote, f.Protocol, f.Port}}] = f
	}
	for a, ok := range passed {
		want, pod := c.wanted[a.device][a.question], c.owners[a.device]
		seen.questions++
		if problem := differs(world, ok, recorded[a], &want, a.direction, pod.mode); problem != "" {
			t.Errorf("%s: %s at %s, %+v: %s; evaluator %+v", filepath.Base(c.file.Path), pod.name, c.local[a.device], a.question, problem, want)
		}
		seen.reached[fmt.Sprintf("%s, passed %v", reasonOf[want.Reason], want.Passed != nil)]++
	}
	return nil
}

// judged is what would be recorded of a connection that was not translated where it could have been.
func (l *lab) judged(device uint32, local netip.Addr, q question) (Flow, error) {
	j, err := l.Judge(Question{
		Ifindex: device, Local: local, Remote: q.remote, Direction: q.direction, Protocol: q.protocol, Port: q.port, Translated: true,
	})
	return Flow{
		Local: local, Remote: q.remote, Ifindex: device, Direction: q.direction, Protocol: q.protocol, Port: q.port,
		Verdict: j.Verdict, Reason: j.Reason, Rule: j.Rule, Set: j.Set,
	}, err
}

// differs says what of the datapath's judgement is not as wanted; empty: nothing. A record that was lost says nothing.
func differs(world *plan.World, passed bool, f Flow, want *netpol.Decision, d netpol.Direction, mode plan.Mode) string {
	verdict := verdictOf(want.Allowed, mode)
	if passed != (verdict != Denied) {
		return fmt.Sprintf("passed %v", passed)
	}
	if f == (Flow{}) {
		return ""
	}
	if f.Verdict != verdict || f.Reason != reasonOf[want.Reason] {
		return fmt.Sprintf("%s by %s", f.Verdict, f.Reason)
	}
	if rule := world.Rule(f.Set, d, f.Rule); (rule == nil) != (want.Rule == nil) || rule != nil && *rule != *want.Rule {
		return fmt.Sprintf("by rule %v", rule)
	}
	return ""
}
