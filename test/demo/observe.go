// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// observe is step 3: pods get their network, the enforcer attaches, the application runs.
func (d *demo) observe(ctx context.Context) error {
	for _, w := range d.workload {
		if err := d.startPod(ctx, w); err != nil {
			return err
		}
	}
	if err := d.startInternet(ctx); err != nil {
		return err
	}
	if err := translate(ctx, d.translations()); err != nil {
		return err
	}
	err := d.part(ctx, "bulkhead-enforcer", baseline.EnforcerServiceAccount, d.ports.enforcer,
		"--node-name="+nodeName, "--http-addr="+d.ports.enforcer, "--hubble-addr="+d.ports.hubble,
		"--flow-interval=100ms", "--cleanup-on-exit")
	if err != nil {
		return err
	}
	if err := d.untilModes(ctx, map[string]string{"shop": "audit"}); err != nil {
		return err
	}
	begin := time.Now().Add(-clockTick)
	outcomes := d.network.try(ctx, d.network.traffic())
	for i := range outcomes {
		if o := &outcomes[i]; !o.reached {
			return fmt.Errorf("%s → %s failed in mode audit, in which nothing may be dropped: %w", o.from, o.destination(), o.err)
		}
	}
	if _, err := d.untilReported(ctx, outcomes, begin); err != nil {
		return err
	}
	d.say("%d connections of the application made in mode audit; none was dropped", len(outcomes))
	return nil
}

// startPod gives a workload's pod its namespace, link, addresses and servers, and reports it.
func (d *demo) startPod(ctx context.Context, w *workload) error {
	host, err := startHost(w.key(), w.number, w.addresses()...)
	if err != nil {
		return err
	}
	d.network.hosts[w.key()] = host
	for _, port := range w.ports {
		serve := &serveTarget{Protocol: strings.ToLower(string(port.Protocol)), Port: int(port.ContainerPort), Name: w.podName()}
		if port.ContainerPort == 53 {
			serve.Zone = zone(d.workload)
		}
		if _, err := host.ask(ctx, request{Serve: serve}); err != nil {
			return fmt.Errorf("%s: serve %s/%d: %w", w.key(), serve.Protocol, serve.Port, err)
		}
	}
	return report(ctx, d.api, w.namespace, w.podName(), w.addresses())
}

func (w *workload) key() string { return w.namespace + "/" + w.name }

// startInternet makes the machine outside the cluster, with all outside addresses.
func (d *demo) startInternet(ctx context.Context) error {
	var addrs []netip.Addr
	for _, a := range append([]string{stranger}, partners...) {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	host, err := startHost("internet", 1, addrs...)
	if err != nil {
		return err
	}
	d.network.hosts["internet"] = host
	for _, s := range []serveTarget{{Protocol: "tcp", Port: 443}, {Protocol: "tcp", Port: 80}, {Protocol: "udp", Port: 9999}} {
		s.Name = "internet"
		if _, err := host.ask(ctx, request{Serve: &s}); err != nil {
			return fmt.Errorf("internet: serve %s/%d: %w", s.Protocol, s.Port, err)
		}
	}
	return nil
}

// translations are the rules that kube-proxy would derive from the Services.
func (d *demo) translations() []translation {
	var all []translation
	for _, w := range d.workload {
		for _, s := range w.service {
			all = append(all, translation{
				virtual: w.clusterIP, protocol: strings.ToLower(string(s.Protocol)), port: s.Port,
				pod: w.addresses()[0], targetPort: w.target(s),
			})
		}
	}
	return all
}

// target is the pod's port behind a Service's port.
func (w *workload) target(s corev1.ServicePort) int32 {
	for _, p := range w.ports {
		if p.Name == s.TargetPort.StrVal && p.Protocol == s.Protocol {
			return p.ContainerPort
		}
	}
	return s.TargetPort.IntVal
}

// enforcerStatus is the part of GET /status that the demo reads.
type enforcerStatus struct {
	Endpoints []struct {
		Namespace, Pod, Mode string
		Attached             bool
	}
}

// untilModes waits until the enforcer has all pods of the node, and those of the namespaces in
// the given modes.
func (d *demo) untilModes(ctx context.Context, modes map[string]string) error {
	pods := len(d.network.hosts) - 1 // all but the internet
	return d.until(ctx, fmt.Sprintf("the enforcer has %d pods, %v", pods, modes), func(ctx context.Context) (bool, error) {
		status, err := d.enforcerStatus(ctx)
		if err != nil || len(status.Endpoints) != pods {
			return false, err
		}
		for _, e := range status.Endpoints {
			if want := modes[e.Namespace]; !e.Attached || want != "" && want != e.Mode {
				return false, nil
			}
		}
		return true, nil
	})
}

func (d *demo) enforcerStatus(ctx context.Context) (*enforcerStatus, error) {
	text, err := get(ctx, "http://"+d.ports.enforcer+"/status")
	if err != nil {
		return nil, err
	}
	var s enforcerStatus
	return &s, json.Unmarshal(text, &s)
}
