// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// attempt is one connection of the demo: from a host, to a name or address and port.
type attempt struct {
	from     string // host: namespace/workload, or node
	protocol string
	to       string // what the host dials: an address, or a name for DNS to resolve
	port     int
	label    string // how the table names the destination; empty: as it was dialled
	keep     string // name of a connection that stays open between attempts; empty: a new one

	allowed bool   // expected
	policy  string // expected to decide, namespace/name; empty: none need
}

// outcome is what became of an attempt.
type outcome struct {
	attempt
	reached bool
	decided string // the deciding policy, by the enforcer's flow
	err     error
}

func (o *outcome) asExpected() bool {
	return o.reached == o.allowed && strings.Contains(o.decided, o.policy)
}

func (a *attempt) destination() string {
	name := cmp.Or(a.label, strings.TrimSuffix(a.to, clusterDomain))
	if a.port == 53 {
		return fmt.Sprintf("DNS for %s over %s", name, strings.ToUpper(a.protocol))
	}
	return fmt.Sprintf("%s %s/%d", name, strings.ToUpper(a.protocol), a.port)
}

// dialTimeout is how long a connection is waited for. A packet in this node takes microseconds; a
// lost SYN is sent again after a second.
const dialTimeout = 2500 * time.Millisecond

// try makes all attempts, those of a host one after the other.
func (n *network) try(ctx context.Context, attempts []attempt) []outcome {
	outcomes := make([]outcome, len(attempts))
	queues := make(map[string][]int)
	for i, a := range attempts {
		outcomes[i].attempt = a
		queues[a.from] = append(queues[a.from], i)
	}
	var wg sync.WaitGroup
	for from, queue := range queues {
		wg.Go(func() {
			for _, i := range queue {
				outcomes[i].err = n.dial(ctx, n.hosts[from], &outcomes[i].attempt)
				outcomes[i].reached = outcomes[i].err == nil
			}
		})
	}
	wg.Wait()
	return outcomes
}

// dial makes an attempt from its host; without a host, from the node itself.
func (n *network) dial(ctx context.Context, from *host, a *attempt) (err error) {
	target := &dialTarget{Protocol: a.protocol, Host: a.to, Port: a.port, DNS: dnsAddress + ":53", Timeout: dialTimeout, Keep: a.keep}
	if from == nil {
		_, err = new(client).exchange(ctx, target)
	} else {
		_, err = from.ask(ctx, request{Dial: target})
	}
	return err
}

// writeTable prints the outcomes as a table and returns how many were as expected.
func writeTable(w io.Writer, outcomes []outcome) (good int) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  FROM\tTO\tEXPECTED\tACTUAL\tDECIDED BY\t")
	for i := range outcomes {
		o := &outcomes[i]
		mark := ""
		if o.asExpected() {
			good++
		} else {
			mark = fmt.Sprintf("<-- NOT AS EXPECTED (wanted %q; %v)", o.policy, o.err)
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\t%s\n", o.from, o.destination(), word(o.allowed), word(o.reached), o.decided, mark)
	}
	_ = table.Flush() // a report to a broken pipe has no reader
	return good
}

func word(allowed bool) string {
	if allowed {
		return "allowed"
	}
	return "denied"
}

// network is the node's pods and what is outside.
type network struct {
	hosts map[string]*host
}

func (n *network) address(name string, six bool) string {
	for _, a := range n.hosts[name].addrs {
		if a.Is6() == six {
			return a.String()
		}
	}
	return netip.Addr{}.String()
}
