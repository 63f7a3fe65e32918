// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// intruders are pods that do what they should not.
func (t *traffic) intruders() {
	r := t.stream("intruders")
	for range t.Noise.Denied {
		if c, ok := t.between(r); ok {
			c.protocol, c.toPort, c.outcome = corev1.ProtocolTCP, uint16(20000+r.IntN(1000)), denied
			t.open(r, c)
		}
	}
	for range t.Noise.ICMP {
		if c, ok := t.between(r); ok {
			t.open(r, c)
		}
	}
	for range t.Noise.Scans {
		if c, ok := t.between(r); ok {
			t.scan(r, c)
		}
	}
	for range t.Noise.Strays {
		t.stray(r)
	}
	for range t.Noise.Strangers {
		t.stranger(r)
	}
	for range t.Noise.Hairpins {
		t.hairpin(r)
	}
}

// moment is any time of the simulation.
func (c *cluster) moment(r *rand.Rand) time.Time {
	return c.Start.Add(time.Duration(r.Int64N(int64(c.Duration))).Truncate(time.Microsecond))
}

// stray is one connection to a port that is open, by hand: from a shell in a pod.
func (t *traffic) stray(r *rand.Rand) {
	c, ok := t.between(r)
	if !ok {
		return
	}
	if port, protocol, ok := c.to.pod.open(r); ok {
		c.toPort, c.protocol = port, protocol
		t.open(r, c)
	}
}

// open is one of the ports that the workload declares; false: there is none.
func (w *workload) open(r *rand.Rand) (uint16, corev1.Protocol, bool) {
	var ports []corev1.ContainerPort
	for _, c := range w.template.Spec.Containers {
		ports = append(ports, c.Ports...)
	}
	if len(ports) == 0 {
		return 0, "", false
	}
	p := pick(r, ports)
	return uint16(p.ContainerPort), protocolOr(p.Protocol), true
}

// stranger is one connection of somebody outside who comes once, through a published Service that lets clients keep their
// address. That is what the Service is for: the edge is a true one.
func (t *traffic) stranger(r *rand.Rand) {
	for _, s := range t.app.services {
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer && !s.snat() {
			c := connection{at: t.moment(r), from: end{addr: t.address(198, 18, byte(r.IntN(256)), byte(r.IntN(256)))}, protocol: corev1.ProtocolTCP}
			w, p := s.backends[0], s.Spec.Ports[0]
			if alive := t.alive(w, c.at); len(alive) > 0 {
				c.to = endOf(pick(r, alive))
				c.toPort, _ = s.target(w, uint16(p.Port), p.Protocol) // one of its own ports
				t.ledger.use(&c)
				t.open(r, c)
			}
			return
		}
	}
}

// hairpin is a connection of a pod to itself, through its own Service, behind which it is alone. Translated at the socket
// it is on no wire. Behind kube-proxy it leaves for the Service, and comes back from the pod's node.
func (t *traffic) hairpin(r *rand.Rand) {
	for _, s := range t.app.services {
		if len(s.backends) != 1 || s.headless() || s.backends[0].isSystem() || s.backends[0].replicas > 1 || !t.KubeProxy {
			continue
		}
		at, p := t.moment(r), s.Spec.Ports[0]
		alive := t.alive(s.backends[0], at)
		if len(alive) == 0 {
			continue
		}
		self := endOf(pick(r, alive))
		port, _ := s.target(s.backends[0], uint16(p.Port), p.Protocol) // one of its own ports
		t.open(r, connection{at: at, from: self, to: end{addr: s.addr}, protocol: p.Protocol, toPort: uint16(p.Port)})
		t.open(r, connection{at: at, from: self.node.end(), to: self, protocol: p.Protocol, toPort: port})
	}
}

// between is a connection between any two pods at any time; false: there were none.
func (t *traffic) between(r *rand.Rand) (connection, bool) {
	at := t.moment(r)
	var alive []*pod
	for _, p := range t.pods {
		if p.alive(at) && !p.hostNetwork() && !p.isSystem() {
			alive = append(alive, p)
		}
	}
	if len(alive) < 2 {
		return connection{}, false
	}
	r.Shuffle(len(alive), func(i, j int) { alive[i], alive[j] = alive[j], alive[i] })
	return connection{at: at, from: endOf(alive[0]), to: endOf(alive[1])}, true
}

// scan tries ports of every pod that lives, from one of them. Nothing listens at them.
func (t *traffic) scan(r *rand.Rand, c connection) {
	const ports, first = 40, 21000
	for _, p := range t.pods {
		if p == c.from.pod || !p.alive(c.at) || p.hostNetwork() || p.isSystem() {
			continue
		}
		for i := range ports {
			probe := c
			probe.at, probe.to = c.at.Add(time.Duration(i)*time.Millisecond), endOf(p)
			probe.protocol, probe.toPort, probe.outcome = corev1.ProtocolTCP, uint16(first+i), refused
			t.open(r, probe)
		}
	}
}
