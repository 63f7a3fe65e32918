// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// entrance is where a Service is asked for: a port of one of its addresses, or, of no address, a port of this node.
type entrance struct {
	addr     netip.Addr
	port     uint16
	protocol uint8 // IP protocol number
}

// lease is an entrance that a Service had for a time.
type lease struct {
	service *flowpb.Service
	until   time.Time // zero: still has it
}

// services tell who has, and lately had, each entrance.
type services struct {
	leases map[entrance][]lease
	have   map[types.NamespacedName][]entrance
}

// set makes the entrances those of the Service as of now; none: it is gone.
func (s *services) set(name types.NamespacedName, entrances []entrance, now time.Time) {
	for _, e := range s.have[name] {
		if !slices.Contains(entrances, e) {
			s.end(e, name, now)
		}
	}
	service := &flowpb.Service{Namespace: name.Namespace, Name: name.Name} // shared by all flows to it
	for _, e := range entrances {
		if !slices.Contains(s.have[name], e) {
			s.leases[e] = append(s.leases[e], lease{service: service})
		}
	}
	s.have[name] = entrances
	if len(entrances) == 0 {
		delete(s.have, name)
	}
}

func (s *services) end(e entrance, name types.NamespacedName, now time.Time) {
	for i := range s.leases[e] {
		if l := &s.leases[e][i]; l.until.IsZero() && l.isOf(name) {
			l.until = now
		}
	}
}

func (l *lease) isOf(name types.NamespacedName) bool {
	return l.service.Namespace == name.Namespace && l.service.Name == name.Name
}

// forget drops what is long past.
func (s *services) forget(now time.Time) {
	for e, all := range s.leases {
		left := slices.DeleteFunc(all, func(l lease) bool { return !l.until.IsZero() && now.Sub(l.until) > remember })
		if s.leases[e] = left; len(left) == 0 {
			delete(s.leases, e)
		}
	}
}

// at is the Service that an entrance belonged to at a time; nil if it was nobody's. Of those that ended since, it is the
// one that did first; where several have it, the last by name, as netpol has it.
func (s *services) at(e entrance, when time.Time) *flowpb.Service {
	var found *lease
	for i := range s.leases[e] {
		l := &s.leases[e][i]
		if (l.until.IsZero() || !when.After(l.until)) && (found == nil || l.precedes(found)) {
			found = l
		}
	}
	if found == nil {
		return nil
	}
	return found.service
}

func (l *lease) precedes(o *lease) bool {
	switch {
	case l.until.IsZero() != o.until.IsZero():
		return o.until.IsZero()
	case !l.until.IsZero():
		return l.until.Before(o.until)
	case l.service.Namespace != o.service.Namespace:
		return l.service.Namespace > o.service.Namespace
	}
	return l.service.Name > o.service.Name
}

// entrances are those of a Service, each once.
func entrances(s *corev1.Service) (all []entrance) {
	addrs := slices.Concat(netpol.ServiceAddresses(s), netpol.ExternalAddresses(s))
	onNodes := s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer
	for _, p := range s.Spec.Ports {
		protocol := protocolNumber(p.Protocol)
		for _, addr := range addrs {
			all = append(all, entrance{addr, uint16(p.Port), protocol})
		}
		if onNodes && p.NodePort != 0 {
			all = append(all, entrance{port: uint16(p.NodePort), protocol: protocol})
		}
	}
	slices.SortFunc(all, entrance.compare)
	return slices.Compact(all)
}

func (e entrance) compare(o entrance) int {
	return cmp.Or(e.addr.Compare(o.addr), cmp.Compare(e.port, o.port), cmp.Compare(e.protocol, o.protocol))
}

// Services writes down Services that are new or changed, and those that are gone, as of now.
func (b *Book) Services(changed []*corev1.Service, gone []types.NamespacedName, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range gone {
		b.services.set(name, nil, now)
	}
	for _, s := range changed {
		b.services.set(types.NamespacedName{Namespace: s.Namespace, Name: s.Name}, entrances(s), now)
	}
}

// serviceOf is the Service that the pod asked for when it opened a connection; nil: none, or it is not known.
func (b *Book) serviceOf(r *dataplane.Flow) *flowpb.Service {
	if r.Direction != netpol.Egress {
		return nil
	}
	asked := r.Service
	if !asked.IsValid() { // nobody translated it
		asked = netip.AddrPortFrom(r.Remote, r.Port)
	}
	if s := b.services.at(entrance{asked.Addr(), asked.Port(), r.Protocol}, r.Last); s != nil {
		return s
	}
	if r.Service.IsValid() && b.own[r.Service.Addr()] {
		return b.services.at(entrance{port: asked.Port(), protocol: r.Protocol}, r.Last)
	}
	return nil
}

func protocolNumber(p corev1.Protocol) uint8 {
	switch p {
	case corev1.ProtocolUDP:
		return unix.IPPROTO_UDP
	case corev1.ProtocolSCTP:
		return unix.IPPROTO_SCTP
	}
	return unix.IPPROTO_TCP
}
