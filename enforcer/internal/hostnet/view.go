// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
)

// namespace is another network namespace as it is seen from the node's.
type namespace struct {
	veths []link // the node's ends of the pairs that lead there, sorted by index; never empty
	addrs []netip.Addr
}

func (ns *namespace) interfaces() []uint32 { return indices(ns.veths) }

func indices(links []link) []uint32 {
	all := make([]uint32, 0, len(links))
	for _, l := range links {
		all = append(all, l.index)
	}
	return all
}

// table is the node's interfaces and where they lead, at one moment. It is never changed, only replaced.
type table struct {
	links      []link
	namespaces map[int32]*namespace // by the kernel's id
	byAddr     map[netip.Addr][]*namespace
	complete   bool // every namespace has an address
}

func newTable(links []link, namespaces map[int32]*namespace) *table {
	t := &table{links: links, namespaces: namespaces, byAddr: make(map[netip.Addr][]*namespace, len(namespaces)), complete: true}
	for _, ns := range namespaces {
		t.complete = t.complete && len(ns.addrs) > 0
		for _, addr := range ns.addrs {
			if !slices.Contains(t.byAddr[addr], ns) { // one interface may have it twice, with two masks
				t.byAddr[addr] = append(t.byAddr[addr], ns)
			}
		}
	}
	return t
}

// View is which of the node's interfaces lead to which addresses, at one moment. It is for one goroutine.
type View struct {
	network *Network
	table   *table
	fresh   bool  // all addresses were read for this view
	err     error // why addresses of other namespaces could not be read; nil: they could
}

// View reads where the node's veth pairs lead. It costs next to nothing if no interface of the node changed
// since the last call. What cannot be read is missing from the view, and Interfaces says why.
func (n *Network) View() *View {
	t, err := n.refresh(false)
	return &View{network: n, table: t, err: err}
}

// passes is how often interfaces are listed again because some came or went meanwhile.
const passes = 3

// refresh brings n.table up to date; all: also addresses that are known. After addresses were read the
// interfaces are listed again, and are the same: the kernel gives the id of a namespace that is gone to
// the next one. On failure the table is as before, or lacks the addresses that could not be read.
func (n *Network) refresh(all bool) (*table, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if changed := n.changes.drain(); !changed && !all && n.err == nil && n.table.complete {
		return n.table, nil
	}
	for range passes {
		var again bool
		if again, n.err = n.read(all); n.err != nil || !again {
			break
		}
		all = false
	}
	return n.table, n.err // if things go on changing, whoever watches is told
}

// read reports whether anything changed that was read.
func (n *Network) read(all bool) (changed bool, err error) {
	links, err := n.socket.links()
	if err != nil {
		return false, err
	}
	namespaces := map[int32]*namespace{}
	for id, group := range groupByNamespace(links) {
		old := n.table.namespaces[id]
		same := old != nil && slices.Equal(old.veths, group)
		if same && !all && len(old.addrs) > 0 {
			namespaces[id] = old
			continue
		}
		addrs, readErr := n.socket.addrsIn(id)
		err = errors.Join(err, readErr)
		namespaces[id] = &namespace{veths: group, addrs: addrs}
		changed = changed || !same || !slices.Equal(old.addrs, addrs)
	}
	n.table = newTable(links, namespaces)
	return changed, err
}

func groupByNamespace(links []link) map[int32][]link {
	groups := map[int32][]link{}
	for _, l := range links {
		if l.kind == "veth" && l.foreign && l.namespace >= 0 {
			groups[l.namespace] = append(groups[l.namespace], l)
		}
	}
	for _, group := range groups {
		slices.SortFunc(group, func(a, b link) int { return cmp.Compare(a.index, b.index) })
	}
	return groups
}
