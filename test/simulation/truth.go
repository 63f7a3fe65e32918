// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// edge is one line of truth.yaml: who opens connections to whom.
type edge struct {
	// From is "namespace/workload", "external NAME" or "kube-apiserver". The kubelet's probes follow from the manifests.
	From string `json:"from"`
	// To is "namespace/workload" (its pods' addresses are dialled), "service namespace/name", "external NAME" or
	// "kube-apiserver".
	To string `json:"to"`
	// Protocol is TCP, UDP or SCTP; empty: TCP.
	Protocol corev1.Protocol `json:"protocol,omitempty"`
	// Port is the Service's if To is one, else the pod's or the host's.
	Port uint16 `json:"port"`
	// PerHour is how many connections are opened, by all pods of From together; 0: 4. A CronJob's pods open
	// PerRun, at least one, in each run instead.
	PerHour float64 `json:"perHour,omitempty"`
	PerRun  int     `json:"perRun,omitempty"`
	// Chance that the edge is used at all during a simulation, of 1; 0: it is used.
	Chance float64 `json:"chance,omitempty"`
	// OneWay: nothing is ever answered, as with metrics over UDP.
	OneWay bool `json:"oneWay,omitempty"`
}

// external is something outside of the cluster.
type external struct {
	Addresses []netip.Addr `json:"addresses"`
	// Names that resolve to each of the addresses; an observer may have seen the answer.
	Names []string `json:"names,omitempty"`
}

// String is an edge in one phrase.
func (e edge) String() string {
	return fmt.Sprintf("%s → %s %s/%d", e.From, e.To, protocolOr(e.Protocol), e.Port)
}

func (a *Application) addTruth(data []byte) error {
	var truth struct {
		Externals map[string]external `json:"externals,omitempty"`
		Edges     []edge              `json:"edges"`
	}
	if err := yaml.UnmarshalStrict(data, &truth); err != nil {
		return err
	}
	for name, e := range truth.Externals {
		a.externals[name] = e
	}
	for _, e := range truth.Edges {
		e.Protocol = protocolOr(e.Protocol)
		if e.PerHour == 0 {
			e.PerHour = 4
		}
		e.PerRun = max(e.PerRun, 1)
		a.edges = append(a.edges, e)
	}
	return nil
}

// Kinds of end that are no workload.
const (
	toService  = "service "
	toExternal = "external "
	controller = "kube-apiserver"
)

func cutExternal(word string) (name string, ok bool) { return strings.CutPrefix(word, toExternal) }

// check finds what an edge names and the application does not have.
func (a *Application) check(e edge) error {
	if name, ok := cutExternal(e.From); ok {
		if len(a.externals[name].Addresses) == 0 {
			return fmt.Errorf("%w external, or it has no addresses: %s", errUnknown, name)
		}
		if !strings.HasPrefix(e.To, toService) {
			return fmt.Errorf("what is outside reaches pods through a Service only, not %s", e.To)
		}
	} else if _, err := a.workload(e.From); err != nil && e.From != controller {
		return err
	}
	if name, ok := cutExternal(e.To); ok {
		if len(a.externals[name].Addresses) == 0 {
			return fmt.Errorf("%w external, or it has no addresses: %s", errUnknown, name)
		}
		return nil
	}
	if e.To == controller {
		return nil
	}
	_, err := a.destinations(e)
	return err
}

// destination is one workload that an edge leads to, with its pods' port.
type destination struct {
	*workload
	port uint16
}

// destinations are what an edge leads to in the cluster; nil when that is no workload.
func (a *Application) destinations(e edge) ([]destination, error) {
	name, ok := strings.CutPrefix(e.To, toService)
	switch {
	case e.To == controller || strings.HasPrefix(e.To, toExternal):
		return nil, nil
	case !ok:
		w, err := a.workload(e.To)
		return []destination{{w, e.Port}}, err
	}
	s, err := a.service(name)
	if err != nil {
		return nil, err
	}
	if len(s.backends) == 0 {
		return nil, fmt.Errorf("nothing is behind Service %s", name)
	}
	var all []destination
	for _, w := range s.backends {
		port, err := s.target(w, e.Port, e.Protocol)
		if err != nil {
			return nil, err
		}
		all = append(all, destination{w, port})
	}
	return all, nil
}
