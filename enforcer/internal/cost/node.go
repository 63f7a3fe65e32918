// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// twoPods is a node with two pods, each a network namespace; it routes between them.
type twoPods struct {
	host       *space
	pods       [2]*space // client and server
	interfaces [2]uint32 // the host's ends
	services   *services
}

func newTwoPods() (*twoPods, error) {
	n := &twoPods{}
	var err error
	if n.host, err = newSpace(); err != nil {
		return nil, err
	}
	if err := n.host.do(node.Configure); err != nil {
		return nil, err
	}
	for i := range n.pods {
		if n.pods[i], err = newSpace(); err != nil {
			return nil, err
		}
		err = n.host.do(func() (err error) {
			n.interfaces[i], err = node.Connect(fmt.Sprintf("pod%d", i), n.pods[i].handle, addr(i, "IPv4"), addr(i, "IPv6"))
			return err
		})
		if err == nil {
			err = n.pods[i].do(reusePorts)
		}
		if err != nil {
			return nil, fmt.Errorf("make pod %d: %w", i, err)
		}
	}
	return n, nil
}

// reusePorts lets a client connect as often as it can: ports of closed connections are free after a second.
func reusePorts() error {
	return errors.Join(
		os.WriteFile("/proc/sys/net/ipv4/tcp_tw_reuse", []byte("1"), 0o644),
		os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("1024 65535"), 0o644))
}

// segment makes the pods send packets of up to so many segments, each of the MTU.
func (n *twoPods) segment(segments int) error {
	for _, pod := range n.pods {
		err := pod.do(func() error {
			eth0, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.LinkSetGSOMaxSegs(eth0, segments)
		})
		if err != nil {
			return fmt.Errorf("set the size of packets: %w", err)
		}
	}
	return nil
}

// close ends the threads; links and sockets go with the namespaces.
func (n *twoPods) close() {
	n.services.close()
	for _, pod := range n.pods {
		pod.close()
	}
	n.host.close()
}

// enforcement is the datapath of one node, with an agent that drains its flows.
type enforcement struct {
	node      *twoPods
	dataplane *dataplane.Dataplane
	stop      chan struct{}
	drained   chan error
}

func (n *twoPods) enforce(snapshot *netpol.Snapshot, pods int) (*enforcement, error) {
	world, err := plan.Build(snapshot, input(pods, n.interfaces))
	if err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp("", "cost")
	if err != nil {
		return nil, err
	}
	e := &enforcement{node: n, stop: make(chan struct{}), drained: make(chan error, 1)}
	err = n.host.do(func() error {
		if e.dataplane, err = dataplane.Open(dataplane.Config{PinPath: path}); err != nil {
			return err
		}
		_, err := e.dataplane.Load(world)
		return errors.Join(err, e.dataplane.Attach(n.interfaces[0]), e.dataplane.Attach(n.interfaces[1]))
	})
	if err != nil {
		return nil, fmt.Errorf("enforce: %w", err)
	}
	go func() { e.drained <- e.drain() }()
	return e, nil
}

// drain takes flows as often as the agent does.
func (e *enforcement) drain() error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return nil
		case <-tick.C:
			if _, _, err := e.dataplane.DrainFlows(); err != nil {
				return err
			}
		}
	}
}

// end takes the datapath away. It errs if packets were not judged by rules and connections: what was measured then
// was not enforcement.
func (e *enforcement) end() error {
	close(e.stop)
	err := <-e.drained
	counters, counted := e.dataplane.Counters()
	if counted == nil && counters.Passed[dataplane.ByRule] == 0 {
		counted = errors.New("no packet was allowed by a rule: what was measured is not enforcement")
	}
	return errors.Join(err, counted, e.node.host.do(e.dataplane.Remove))
}

func to(family string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(addr(server, family), port)
}
