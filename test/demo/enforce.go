// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// clockTick is how far the kernel's coarse clock, by which flows are dated, may lie behind.
const clockTick = 20 * time.Millisecond

// enforce is step 6: intruders arrive, shop is switched to enforce, and everything is tried.
func (d *demo) enforce(ctx context.Context) error {
	if err := d.startIntruders(ctx); err != nil {
		return err
	}
	if err := d.network.dial(ctx, d.network.hosts["attacker/shell"], new(d.network.foothold())); err != nil {
		return fmt.Errorf("an intruder's connection in mode audit: %w", err)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, baseline.LabelMode, baseline.Enforce)
	_, err := d.api.CoreV1().Namespaces().Patch(ctx, "shop", k8stypes.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("switch shop to enforce: %w", err)
	}
	if err := d.untilModes(ctx, map[string]string{"shop": "enforce"}); err != nil {
		return err
	}
	begin := time.Now().Add(-clockTick)
	outcomes := d.network.try(ctx, d.network.trials())
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	flows, err := d.untilReported(ctx, outcomes, begin)
	if err != nil {
		d.say("%v", err) // the table shows which
	}
	for i := range outcomes {
		outcomes[i].decided = d.decider(&outcomes[i], flows)
	}
	good := writeTable(d.out, outcomes)
	fmt.Fprintf(d.out, "\ndemo: %d/%d connections as expected\n", good, len(outcomes))
	if good < len(outcomes) {
		return fmt.Errorf("%d connections were not as expected", len(outcomes)-good)
	}
	return nil
}

// startIntruders adds a pod in another namespace, and one in shop that no policy was written for.
func (d *demo) startIntruders(ctx context.Context) error {
	labels := map[string]string{baseline.LabelOwner: "unknown", baseline.LabelMode: baseline.Observe.String()}
	if err := createNamespace(ctx, d.api, "attacker", labels); err != nil {
		return err
	}
	for _, w := range []*workload{
		{namespace: "attacker", name: "shell", number: 16},
		{namespace: "shop", name: "newcomer", number: 17},
	} {
		if _, err := w.create(ctx, d.api); err != nil {
			return fmt.Errorf("create %s: %w", w.key(), err)
		}
		if err := d.startPod(ctx, w); err != nil {
			return err
		}
		d.workload = append(d.workload, w)
	}
	return nil
}

// flowsSince asks the enforcer for its flows, as the hubble CLI would.
func (d *demo) flowsSince(ctx context.Context, begin time.Time) ([]*flow.Flow, error) {
	conn, err := grpc.NewClient(d.ports.hubble, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stream, err := observer.NewObserverClient(conn).GetFlows(ctx, &observer.GetFlowsRequest{Since: timestamppb.New(begin)})
	if err != nil {
		return nil, err
	}
	var flows []*flow.Flow
	for {
		resp, err := stream.Recv()
		if err != nil {
			return flows, ignoreEnd(err)
		}
		if f := resp.GetFlow(); f != nil {
			flows = append(flows, f)
		}
	}
}

// ignoreEnd drops the error that ends a complete answer.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// untilReported waits until the enforcer has a flow of every side that took part in the
// connections, and returns its flows since begin.
func (d *demo) untilReported(ctx context.Context, outcomes []outcome, begin time.Time) (flows []*flow.Flow, err error) {
	return flows, d.until(ctx, "the enforcer has reported every connection", func(ctx context.Context) (bool, error) {
		if flows, err = d.flowsSince(ctx, begin); err != nil {
			return false, err
		}
		for i := range outcomes {
			if !d.isReported(&outcomes[i], flows) {
				return false, nil
			}
		}
		return true, nil
	})
}

// isReported says whether both pods of a connection have judged it; a denial by the first is the
// last word.
func (d *demo) isReported(o *outcome, flows []*flow.Flow) bool {
	addr, _ := d.target(&o.attempt)
	sent, received := o.from == "node", slices.Contains(append(slices.Clone(partners), stranger), addr)
	for _, f := range flows {
		if !d.isOf(f, &o.attempt) {
			continue
		}
		if f.GetVerdict() == flow.Verdict_DROPPED {
			return true
		}
		sent = sent || f.GetTrafficDirection() == flow.TrafficDirection_EGRESS
		received = received || f.GetTrafficDirection() == flow.TrafficDirection_INGRESS
	}
	return sent && received
}

// decider names the policies of the side that decided: the one that denied, else the one that
// let in, else the one that let out.
func (d *demo) decider(o *outcome, flows []*flow.Flow) string {
	seen := false
	var deniedBy, letIn, letOut []*flow.Policy
	for _, f := range flows {
		if !d.isOf(f, &o.attempt) {
			continue
		}
		seen = true
		if f.GetVerdict() == flow.Verdict_DROPPED {
			deniedBy = append(append(deniedBy, f.GetEgressDeniedBy()...), f.GetIngressDeniedBy()...)
		}
		letIn = append(letIn, f.GetIngressAllowedBy()...)
		letOut = append(letOut, f.GetEgressAllowedBy()...)
	}
	for _, by := range [][]*flow.Policy{deniedBy, letIn, letOut} {
		if len(by) > 0 {
			return names(by)
		}
	}
	if seen {
		return "no policy"
	}
	return ""
}

func names(policies []*flow.Policy) string {
	var list []string
	for _, p := range policies {
		if name := p.GetNamespace() + "/" + p.GetName(); !strings.Contains(strings.Join(list, ",")+",", name+",") {
			list = append(list, name)
		}
	}
	return strings.Join(list, ", ")
}

// isOf says whether the flow is of the attempt, after service translation.
func (d *demo) isOf(f *flow.Flow, a *attempt) bool {
	addr, port := d.target(a)
	if f.GetIP().GetDestination() != addr || f.GetIP().GetSource() != d.sourceOf(a, addr) {
		return false
	}
	if a.protocol == "udp" {
		return f.GetL4().GetUDP().GetDestinationPort() == port
	}
	return f.GetL4().GetTCP().GetDestinationPort() == port
}

func (d *demo) sourceOf(a *attempt, destination string) string {
	six := netip.MustParseAddr(destination).Is6()
	if a.from == "node" {
		if six {
			return node.Gateway6.String()
		}
		return node.Gateway4.String()
	}
	return d.network.address(a.from, six)
}

// target is the address and port at which an attempt arrives.
func (d *demo) target(a *attempt) (addr string, port uint32) {
	if _, err := netip.ParseAddr(a.to); err == nil {
		return a.to, uint32(a.port)
	}
	wanted := a.to
	if a.port == 53 { // looking the name up is the attempt
		wanted = name("kube-dns.kube-system")
	}
	for _, w := range d.workload {
		for _, s := range w.service {
			if name(w.serviceName()+"."+w.namespace) == wanted && s.Port == int32(a.port) && strings.EqualFold(string(s.Protocol), a.protocol) {
				return w.addresses()[0].String(), uint32(w.target(s))
			}
		}
	}
	return "", 0
}
