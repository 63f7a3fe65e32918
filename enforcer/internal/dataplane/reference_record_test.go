// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// record is a flow, without the number of its rule.
type record struct {
	device        uint32
	local, remote netip.Addr
	protocol      byte
	port          uint16
	direction     netpol.Direction
	verdict       Verdict
	reason        Reason
	staged        bool // what staged policies say; without any, what the live ones say
}

func recordOf(t tuple, d netpol.Direction, v Verdict, j judgement) record {
	port := t.localPort
	if d == netpol.Egress {
		port = t.remotePort
	}
	if protocolNames[t.protocol] == "" {
		port = 0
	}
	return record{t.device, t.local, t.remote, t.protocol, port, d, v, j.reason, j.passes && v == Allowed}
}

// recorded is the same of what the datapath has recorded.
func recorded(flows []Flow) map[record]uint64 {
	records := map[record]uint64{}
	for _, f := range flows {
		staged := f.Verdict == Allowed
		if f.Staged != nil {
			staged = f.Staged.Verdict == Allowed
		}
		records[record{f.Ifindex, f.Local, f.Remote, f.Protocol, f.Port, f.Direction, f.Verdict, f.Reason, staged}] += f.Connections
	}
	return records
}
