// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"hash/maphash"
	"slices"
	"unsafe"
)

// ends are the ends of edges.
type ends struct {
	pool[Endpoint]
	// near has ends by where their words lie in memory, because those of the same end mostly are the same strings:
	// then nothing has to be hashed. It may have an end more than once, or one that is in use no more.
	near index[shared[Endpoint]]
}

// find returns nil when there is none.
func (p *ends) find(e *Endpoint) *shared[Endpoint] {
	if !e.IsPod() {
		return p.pool.find(e.hash(), func(s *shared[Endpoint]) bool { return s.value == *e })
	}
	place := e.place()
	if s := p.near.find(place, func(s *shared[Endpoint]) bool { return s.uses > 0 && s.value == *e }); s != nil {
		return s
	}
	s := p.pool.find(e.hash(), func(s *shared[Endpoint]) bool { return s.value == *e })
	if s == nil {
		return nil
	}
	if p.near.count >= 4*p.count {
		p.near = index[shared[Endpoint]]{} // their strings are new ones each time
	}
	p.near.add(place, s)
	return s
}

func (p *ends) take(e Endpoint) *shared[Endpoint] {
	return p.pool.take(e.hash(), e, func(s *shared[Endpoint]) bool { return s.value == e })
}

// ranks are the places of the ends in the order of Endpoint.Compare.
func (p *ends) ranks() map[*shared[Endpoint]]uint64 {
	out := make(map[*shared[Endpoint]]uint64, p.count)
	for _, s := range slices.SortedFunc(p.all(), func(a, b *shared[Endpoint]) int { return a.value.Compare(b.value) }) {
		out[s] = uint64(len(out))
	}
	return out
}

// hash is of what mostly differs: hashing all of an Endpoint takes longer than all else that folding does.
func (e *Endpoint) hash() uint64 {
	if !e.IsPod() {
		if !e.Addr.IsValid() {
			return 0
		}
		addr := e.Addr.As16()
		return maphash.Bytes(seed, addr[:])
	}
	return maphash.String(seed, e.Name) + maphash.String(seed, e.Namespace)*5
}

// place is a hash of where a pod's words lie. Words that lie elsewhere later, or other words that lie there then, make
// no difference to what is found: words are compared.
func (e *Endpoint) place() uint64 {
	name, namespace := unsafe.StringData(e.Name), unsafe.StringData(e.Namespace)
	return mix(uint64(uintptr(unsafe.Pointer(name))) + uint64(uintptr(unsafe.Pointer(namespace)))*5 + uint64(len(e.Name)))
}
