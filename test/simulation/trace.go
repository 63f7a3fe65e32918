// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Trace is an application's run in a cluster, as it was observed.
type Trace struct {
	cluster *cluster
	sights  []sight
	truth   Truth
}

// Run simulates an application. It leaves app as it is.
func Run(app *Application, o Options) (*Trace, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("simulate %s: %w", app.Name, err)
	}
	app, err := Load(app.Name, app.folder) // one of its own, to give addresses to
	if err != nil {
		return nil, err
	}
	app.renumber(o)
	if err := app.withDNSPort(o.DNSPort); err != nil {
		return nil, err
	}
	t := &traffic{cluster: newCluster(app, o), ledger: &ledger{used: map[Edge]bool{}}}
	if err := t.fill(); err != nil {
		return nil, fmt.Errorf("simulate %s: %w", app.Name, err)
	}
	return &Trace{cluster: t.cluster, sights: t.observe(t.connections), truth: t.ledger.truth()}, nil
}

func (t *traffic) fill() error {
	if err := t.ledger.possible(t.cluster); err != nil {
		return err
	}
	for _, e := range t.app.edges {
		if err := t.edge(e); err != nil {
			return err
		}
	}
	if err := t.probes(); err != nil {
		return err
	}
	if err := t.names(); err != nil {
		return err
	}
	t.intruders()
	return nil
}

// Truth is what the policies made of the trace should allow.
func (t *Trace) Truth() Truth { return t.truth }

// Flows is how many lines WriteFlows writes.
func (t *Trace) Flows() int { return len(t.sights) }

// WriteFlows prints what was observed, as JSON lines.
func (t *Trace) WriteFlows(out io.Writer, form Form) error {
	buffered := bufio.NewWriterSize(out, 1<<16)
	lines := json.NewEncoder(buffered) // which takes out the spaces that protojson adds at random
	for i := range t.sights {
		r := t.sights[i].response(form)
		var line any = r
		if form.Bare && r.GetFlow() != nil {
			line = r.GetFlow()
		}
		if err := lines.Encode(line); err != nil {
			return fmt.Errorf("write flows: %w", err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write flows: %w", err)
	}
	return nil
}
