// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// probesPerHour is how often the kubelet is seen to probe a port. It probes more often than that, with nothing more to
// learn from it.
const probesPerHour = 0.5

// probes come from a pod's own node.
func (t *traffic) probes() error {
	for _, p := range t.pods {
		ports, err := p.probed()
		if err != nil {
			return err
		}
		if p.hostNetwork() {
			continue
		}
		r := t.stream("probes", p.name, p.start.String())
		for _, port := range ports {
			t.during(r, p, probesPerHour, func(at time.Time) {
				t.open(r, connection{at: at, from: p.node.end(), to: endOf(p), protocol: corev1.ProtocolTCP, toPort: port})
			})
		}
	}
	return nil
}

// during calls f at random times at which the pod lives, so often an hour, and once soon after its start.
func (t *traffic) during(r *rand.Rand, p *pod, perHour float64, f func(time.Time)) {
	at := p.start.Add(time.Duration(1+r.IntN(3)) * time.Second)
	for at.Before(t.Start) {
		at = at.Add(gap(r, perHour))
	}
	for ; at.Before(t.end) && p.alive(at); at = at.Add(gap(r, perHour)) {
		f(at)
	}
}

// names are what every pod asks the cluster's DNS for.
func (t *traffic) names() error {
	s, err := t.app.service(dnsService)
	if err != nil {
		return err
	}
	dns, err := t.app.workload(dnsWorkload)
	if err != nil {
		return err
	}
	for _, p := range t.pods {
		if p.workload == dns || p.hostNetwork() {
			continue
		}
		r := t.stream("names", p.name, p.start.String())
		t.during(r, p, 0.5, func(at time.Time) {
			c := connection{at: at, from: endOf(p), service: s, servicePort: dnsPort, protocol: corev1.ProtocolUDP}
			if r.IntN(10) == 0 {
				c.protocol = corev1.ProtocolTCP // the answer was truncated
			}
			if servers := t.alive(dns, at); len(servers) > 0 {
				c.to, c.toPort = endOf(pick(r, servers)), t.DNSPort
				t.open(r, c)
			}
		})
	}
	return nil
}
