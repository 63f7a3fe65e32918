// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// portClasses cut the ports of one protocol into ranges that every rule treats alike.
type portClasses struct {
	starts  []uint16 // first port of each range, ascending, from 0
	classes []uint16 // of each range
	next    int      // number of the next class
}

// portClass is a class of ports, and one of its ports.
type portClass struct {
	protocol Protocol
	class    uint16
	port     uint16
}

func newPortClasses() portClasses {
	return portClasses{starts: []uint16{0}, classes: []uint16{0}, next: 1}
}

// cut makes a range begin at port, and says whether none did before.
func (c *portClasses) cut(port uint16) (class uint16, cut bool) {
	i, found := slices.BinarySearch(c.starts, port)
	if found {
		return 0, false
	}
	class = uint16(c.next)
	c.starts = slices.Insert(c.starts, i, port)
	c.classes = slices.Insert(c.classes, i, class)
	c.next++
	return class, true
}

// within are the indices of the ranges in a range of ports, whose ends were cut.
func (c *portClasses) within(r portRange) (from, to int) {
	from, _ = slices.BinarySearch(c.starts, r.from)
	to = from
	for to < len(c.starts) && c.starts[to] <= r.to {
		to++
	}
	return from, to
}

// cutPorts makes classes for the ports of the new sets' rules.
func (t *tables) cutPorts() error {
	for _, s := range t.sets[t.new.sets:] {
		for _, rows := range s.rows {
			for i := range rows {
				for _, r := range rows[i].ports {
					t.cutRange(r)
				}
			}
		}
	}
	for protocol := range t.ports {
		if n := t.ports[protocol].next; n > 65536 {
			return fmt.Errorf("%d different port ranges of %s are in use, more than the 65536 that fit", n, protocols[protocol])
		}
	}
	if len(t.new.ports) > 0 || t.new.complete {
		t.new.world.PortClasses = t.table()
	}
	return nil
}

func (t *tables) cutRange(r portRange) {
	starts := []uint16{r.from}
	if r.to < 65535 {
		starts = append(starts, r.to+1)
	}
	for _, start := range starts {
		if class, cut := t.ports[r.protocol].cut(start); cut {
			t.new.ports = append(t.new.ports, portClass{r.protocol, class, start})
		}
	}
}

func (t *tables) table() *PortClasses {
	table := new(PortClasses)
	for protocol := range t.ports {
		c := &t.ports[protocol]
		for i, start := range c.starts {
			end := 65536
			if i+1 < len(c.starts) {
				end = int(c.starts[i+1])
			}
			for port := int(start); port < end; port++ {
				table[protocol][port] = c.classes[i]
			}
		}
	}
	return table
}

// lowerPorts adds the rows of new classes of ports for the sets of before, and of all classes for new sets.
func (t *tables) lowerPorts() {
	for i, s := range t.sets {
		for d := range s.rows {
			if i >= t.new.sets {
				t.lowerAllPorts(uint32(i), s, d)
			} else {
				t.lowerNewPorts(uint32(i), s, d)
			}
		}
	}
}

func (t *tables) lowerAllPorts(i uint32, s *policySet, d int) {
	for row := range s.rows[d] {
		for _, r := range s.rows[d][row].ports {
			c := &t.ports[r.protocol]
			for from, to := c.within(r); from < to; from++ {
				t.addPort(PortKey{t.firstSet + i, c.classes[from], netpol.Direction(d), r.protocol}, s, row)
			}
		}
	}
}

// lowerNewPorts gives a class that was cut out of another what that one has.
func (t *tables) lowerNewPorts(i uint32, s *policySet, d int) {
	for _, p := range t.new.ports {
		for row := range s.rows[d] {
			if s.rows[d][row].names(p.protocol, p.port) {
				t.addPort(PortKey{t.firstSet + i, p.class, netpol.Direction(d), p.protocol}, s, row)
			}
		}
	}
}

func (t *tables) addPort(key PortKey, s *policySet, row int) {
	bits, found := t.new.world.Ports[key]
	if !found {
		bits = s.entry.AllPorts[key.Direction]
	}
	bits.Set(row)
	t.new.world.Ports[key] = bits
}

// names says whether one of the rule's ranges has the port.
func (r *row) names(protocol Protocol, port uint16) bool {
	return slices.ContainsFunc(r.ports, func(p portRange) bool {
		return p.protocol == protocol && p.from <= port && port <= p.to
	})
}
