// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// source is where flows come from.
type source struct {
	files        []string
	hubble       []string
	dialer       flows.Dialer
	since        time.Duration
	last         uint64
	maxMalformed uint64
	state        string         // file; empty: none
	worst        flows.NodeLoss // by the state, which was read; zero: none, or there is no state
}

func (s *source) fileFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&s.files, "flows", nil, "files of flows as hubble observe -o json prints them, or flow logs of Calico, gzipped or not; - is standard input; may be repeated")
	f.Uint64Var(&s.maxMalformed, "max-malformed", 100, "give up when more lines than this cannot be read")
}

func (s *source) flags(f *pflag.FlagSet) {
	s.fileFlags(f)
	f.StringSliceVar(&s.hubble, "hubble", nil, "read flows from the Hubble API at this host:port instead, at every address of the name; may be repeated")
	tlsFlags(f, &s.dialer.TLS)
	f.DurationVar(&s.since, "since", 0, "with --hubble: only flows of this last time, e.g. 1h (0: all it still has)")
	f.Uint64Var(&s.last, "last", 0, "with --hubble: only this many newest flows (0: all it still has)")
	f.StringVar(&s.state, "state", "", "file that keeps what was read, one --flows or --hubble after the other, made if it is not there; a run goes on where the one before it stopped, and its result is that of all runs (empty: none)")
}

// tlsFlags are the same wherever an observer is reached.
func tlsFlags(f *pflag.FlagSet, t *flows.TLS) {
	f.StringVar(&t.CAFile, "hubble-ca", "", "PEM bundle of the authorities that sign observers' certificates (empty: plain text)")
	f.StringVar(&t.CertFile, "hubble-cert", "", "PEM certificate to show to observers (empty: none)")
	f.StringVar(&t.KeyFile, "hubble-key", "", "PEM key of --hubble-cert")
	f.StringVar(&t.ServerName, "hubble-server-name", "", "name in observers' certificates (empty: the host in --hubble)")
}

// check finds what is wrong with the flags before anything is read.
func (s *source) check() error {
	switch {
	case len(s.hubble) == 0 && len(s.files) == 0:
		return errors.New("no flows: give --flows FILE or --hubble HOST:PORT")
	case len(s.hubble) > 0 && len(s.files) > 0:
		return errors.New("give --flows or --hubble, not both")
	case len(s.hubble) == 0 && s.dialer.TLS != (flows.TLS{}):
		return fmt.Errorf("%s needs --hubble", s.dialer.TLS.Words()[0])
	case s.since != 0 && s.last != 0:
		return errors.New("give --since or --last, not both")
	case s.since < 0:
		return fmt.Errorf("--since %s: give a time back from now, e.g. 1h", s.since)
	}
	if s.state != "" {
		if err := writableFile("state", s.state); err != nil {
			return err
		}
	}
	return s.dialer.Check(s.hubble)
}

// read folds all flows of the source, and of its state, attributed by the inventory. The source was checked.
func (s *source) read(cmd *cobra.Command, inv *inventory.Inventory) (*edge.Fold, flows.Stats, error) {
	told := &progress{out: cmd.ErrOrStderr(), next: time.Now().Add(progressEvery)}
	s.dialer.Retrying = told.retrying
	if s.state != "" {
		return s.resume(cmd.Context(), inv, told)
	}
	fold, stats, err := s.readAll(cmd.Context(), inv, told)
	if err == nil {
		if overflows := fold.Overflows(); len(overflows) > 0 {
			fold = everything(fold.Drain(), overflows)
		}
		fold, err = inv.Conclude(fold)
	}
	if err == nil {
		fold, err = inv.Translate(fold)
	}
	return fold, stats, err
}

// readAll reads and attributes. It stops with an error when the context ends: half of the flows would be half of the policies.
func (s *source) readAll(ctx context.Context, inv *inventory.Inventory, told *progress) (*edge.Fold, flows.Stats, error) {
	stats, attribution := flows.Stats{}, inv.Attribute(edge.DefaultLimits)
	q := flows.Query{Last: s.last}
	if s.since > 0 {
		q.Since = time.Now().Add(-s.since)
	}
	var options []flows.Option
	if inv.Learns() {
		options = append(options, flows.WithLabels())
	}
	dialer := s.dialer
	dialer.Options = options
	add := func(r *flows.Record) error {
		told.flow(r)
		if ctx.Err() != nil {
			return told.stopped(ctx.Err())
		}
		return attribution.Add(r)
	}
	for _, addr := range s.hubble {
		if err := dialer.Observe(ctx, addr, q, &stats, add); err != nil {
			return nil, stats, err
		}
	}
	for _, f := range s.files {
		st, err := flows.ReadFile(f, s.maxMalformed, add, options...)
		stats.Add(st)
		if err != nil {
			return nil, stats, err
		}
	}
	if ctx.Err() != nil { // a stream that was interrupted ends without an error
		return nil, stats, told.stopped(ctx.Err())
	}
	if stats.Malformed > 0 && stats.Flows+stats.Ignored+stats.Lost == 0 {
		return nil, stats, fmt.Errorf("no flows: %s (and no other of %d lines can be read; give what hubble observe -o json prints, or flow logs of Calico)", stats.Problems[0], stats.Malformed)
	}
	fold, err := attribution.Settle()
	stats.Misdated = attribution.Misdated
	return fold, stats, err
}

// words are the source's flags again, for the command that reproduces a result.
func (s *source) words() []string {
	var out []string
	for _, f := range s.files {
		out = append(out, "--flows", quote(f))
	}
	for _, addr := range s.hubble {
		out = append(out, "--hubble", quote(addr))
	}
	for _, word := range s.dialer.TLS.Words() {
		out = append(out, quote(word))
	}
	if s.state != "" {
		out = append(out, "--state", quote(s.state))
	}
	return out
}

// loss is how much is missing of all that was read, and of a node's flows.
func (s *source) loss(stats *flows.Stats) tree.Loss {
	l := tree.Loss{Flows: stats.Flows, Lost: stats.Lost, Malformed: stats.Malformed, Worst: s.worst}
	if s.state == "" {
		l.Worst = stats.WorstNode()
	}
	return l
}

// cluster is where the inventory comes from.
type cluster struct {
	dir        string
	kubeconfig string
}

func (c *cluster) flags(f *pflag.FlagSet) {
	f.StringVar(&c.dir, "inventory", "", "directory of manifests: the cluster's workloads, pods, namespaces and Services")
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "read the inventory from this cluster instead (empty, without --inventory: it is learned from the flows)")
}

// check finds flags that do not go together.
func (c *cluster) check(from *source) error {
	if c.dir == "" && c.kubeconfig == "" && from.state != "" {
		return errors.New("--state needs --inventory or --kubeconfig: it does not keep the labels of pods, so that nothing can be learned of them from flows that were read before")
	}
	return nil
}

// inventory reads it; if none is given, it learns while the flows are read.
func (c *cluster) inventory(ctx context.Context) (*inventory.Inventory, error) {
	if c.dir != "" && c.kubeconfig != "" {
		return nil, errors.New("give --inventory or --kubeconfig, not both")
	}
	if c.dir != "" {
		return inventory.FromDir(c.dir)
	}
	if c.kubeconfig == "" {
		return inventory.Learning(), nil
	}
	client, err := connect(c.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w (or give --inventory DIR)", err)
	}
	return inventory.FromCluster(ctx, client)
}

func (c *cluster) words() []string {
	switch {
	case c.dir != "":
		return []string{"--inventory", quote(c.dir)}
	case c.kubeconfig != "":
		return []string{"--kubeconfig", quote(c.kubeconfig)}
	}
	return nil
}

// quote makes a word safe to paste into a shell.
func quote(word string) string {
	plain := !slices.ContainsFunc([]rune(word), func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || slices.Contains([]rune("/._:-+=,@"), r))
	})
	if plain && word != "" {
		return word
	}
	return fmt.Sprintf("%q", word)
}
