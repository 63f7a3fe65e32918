// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Question is about a connection that would be opened now.
type Question struct {
	// Ifindex is of the endpoint's device.
	Ifindex uint32
	// Local is the endpoint's address, Remote the other side's; both are of one family.
	Local, Remote netip.Addr
	// Direction is Egress if the endpoint opens the connection.
	Direction netpol.Direction
	Protocol  uint8 // IP protocol number
	// Port is the destination's; 0 for protocols without ports.
	Port uint16
	// Translated: as after Service translation, where the endpoint's packets are forwarded. Otherwise as at the
	// endpoint's device, where what goes to a Service is Deferred.
	Translated bool
}

// Judgement is what the datapath says to a Question. Verdict and Reason are those of the flow that would be
// recorded.
type Judgement struct {
	Verdict Verdict
	Reason  Reason
	// Rule is the number of the deciding rule in Set; -1 when none decided.
	Rule int
	// Set is the policy set that judged, NoSet when none did.
	Set uint32
	// Generation is the world's that judged; 0: none was ever loaded.
	Generation uint32
	// Staged is what the endpoint's staged policies say; nil when it has none, or no policies were asked.
	Staged *StagedJudgement
}

// ethernetHeader is what the kernel wants in front of the data of a test run.
const ethernetHeader = 14

// Judge asks the maps that packets are judged by, with the code that judges packets. Nothing is recorded or
// remembered. It may be called at any time before Close.
func (d *Dataplane) Judge(q Question) (Judgement, error) {
	if err := q.check(); err != nil {
		return Judgement{}, err
	}
	question := bpf.DatapathQuestion{
		Local: q.Local.Unmap().As16(), Remote: q.Remote.Unmap().As16(), Ifindex: q.Ifindex,
		Port: q.Port, Protocol: q.Protocol, Direction: uint8(q.Direction),
	}
	if q.Translated {
		question.Translated = 1
	}
	var a bpf.DatapathAnswer
	if err := call(d.objs.Ask, question, &a); err != nil {
		return Judgement{}, fmt.Errorf("ask the datapath about %s with %s: %w", q.Local, q.Remote, err)
	}
	return Judgement{
		Verdict: Verdict(a.Verdict), Reason: Reason(a.Reason), Rule: int(a.Rule), Set: a.Set, Generation: uint32(a.Generation),
		Staged: stagedJudgement(a.StagedVerdict, a.StagedRule, a.StagedSet),
	}, nil
}

func (q *Question) check() error {
	switch {
	case !q.Local.IsValid() || !q.Remote.IsValid():
		return errors.New("ask the datapath: both addresses must be given")
	case q.Local.Unmap().Is4() != q.Remote.Unmap().Is4():
		return fmt.Errorf("ask the datapath: %s and %s are of different families", q.Local, q.Remote)
	case q.Direction != netpol.Ingress && q.Direction != netpol.Egress:
		return fmt.Errorf("ask the datapath: there is no direction %d", q.Direction)
	}
	return nil
}

// call runs a program that is on no hook on a question, and reads its answer, which lies behind it.
func call(p *ebpf.Program, question, answer any) error {
	var data bytes.Buffer
	data.Write(make([]byte, ethernetHeader))
	if err := binary.Write(&data, binary.NativeEndian, question); err != nil {
		return err
	}
	at := data.Len()
	data.Write(make([]byte, binary.Size(answer)))
	run := ebpf.RunOptions{Data: data.Bytes(), DataOut: make([]byte, data.Len())}
	ret, err := p.Run(&run)
	if err != nil {
		return err
	}
	if ret != 0 || len(run.DataOut) < data.Len() {
		return fmt.Errorf("the program returned %d and %d bytes", ret, len(run.DataOut))
	}
	return binary.Read(bytes.NewReader(run.DataOut[at:]), binary.NativeEndian, answer)
}
