// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/generator/internal/apply"
	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/repo"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// roundTimeout bounds one round of proposing or syncing.
const roundTimeout = 10 * time.Minute

// Config says what the service watches and how often it acts. All times are above zero, but ObserveFor
// and Retention may be zero.
type Config struct {
	Observers    []string // host:port of Hubble APIs; each is followed at all addresses of its name
	Dialer       flows.Dialer
	Proposal     proposal.Input // what it is made of, but for what is observed and where
	ProposeEvery time.Duration
	SyncEvery    time.Duration
	ObserveFor   time.Duration // before the first proposal, unless State has earlier observations
	State        string        // file; empty: memory only
	Retention    time.Duration // edges not seen for this long are forgotten; zero: none is
	BodyDir      string        // directory; empty: texts are in the commits only
	Listener     net.Listener  // for /healthz, /readyz and /metrics; closed at the end
	Log          *slog.Logger
}

type server struct {
	cfg    Config
	client kubernetes.Interface
	repo   *repo.Repository
	seen   *observations
	meter  *meter
	// git is held by the round that uses the repository: its copy is not for concurrent use.
	git chan struct{}
}

// Run observes, proposes and syncs until the context ends. A round that fails is logged and
// counted, and the next one tries again; Run itself fails only where waiting cannot help.
func Run(ctx context.Context, cfg Config, client kubernetes.Interface, r *repo.Repository) (err error) {
	if err := tree.ValidCluster(cfg.Proposal.Cluster); err != nil {
		return err
	}
	s := &server{cfg: cfg, client: client, repo: r, meter: newMeter(), git: make(chan struct{}, 1)}
	inv, err := inventory.FromCluster(ctx, client)
	if err != nil {
		return err
	}
	if s.seen, err = recall(cfg.State, inv, s.meter); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.seen.close()) }()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.listen(ctx) })
	group.Go(func() error { s.keep(ctx); return nil })
	group.Go(func() error { s.refresh(ctx); return nil })
	group.Go(func() error { s.watch(ctx); return nil })
	for _, observer := range slices.Compact(slices.Sorted(slices.Values(cfg.Observers))) {
		group.Go(func() error { s.follow(ctx, observer); return nil })
	}
	first := cfg.ObserveFor
	if s.seen.store.Found() {
		first = min(first, cfg.ProposeEvery)
	}
	group.Go(func() error { return s.every(ctx, first, cfg.ProposeEvery, "propose", s.propose) })
	group.Go(func() error { return s.every(ctx, 0, cfg.SyncEvery, "sync", s.sync) })
	return group.Wait()
}

// every runs a round after the first wait and then once a period, until the context ends.
func (s *server) every(ctx context.Context, first, period time.Duration, name string, round func(context.Context) error) error {
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		bounded, cancel := context.WithTimeout(ctx, roundTimeout)
		s.git <- struct{}{}
		err := s.repo.Refresh(bounded)
		if err == nil {
			err = round(bounded)
		}
		<-s.git
		cancel()
		s.meter.round(name, err)
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("round failed", "round", name, "error", err)
		}
		timer.Reset(period)
	}
}

func (s *server) propose(ctx context.Context) error {
	inv, err := inventory.FromCluster(ctx, s.client)
	if err != nil {
		return err
	}
	if answering, all := s.meter.roster.count(); answering < all || all == 0 {
		s.cfg.Log.Warn("some observers do not answer: what only they saw is not proposed", "answering", answering, "observers", all)
	}
	s.seen.use(inv)
	edges, overflows, loss := s.seen.all(time.Now())
	s.warn(overflows)
	s.warnLoss(loss)
	in := s.cfg.Proposal
	for _, o := range overflows {
		edges = append(edges, o.Edge())
	}
	in.Edges, in.Inventory, in.Loss, in.Existing = edges, inv, loss, s.approved
	p, err := s.make(ctx, in)
	if err != nil {
		return err
	}
	if len(p.Missing) > 0 {
		s.cfg.Log.Warn("asked for namespaces that the cluster does not have", "namespaces", p.Missing)
	}
	if p.AssumedDNS != "" {
		s.cfg.Log.Warn("no DNS found, the baseline allows the usual DNS pods instead", "reason", p.AssumedDNS)
	}
	if !slices.ContainsFunc(p.Namespaces, func(n *proposal.Namespace) bool { return len(n.Aged) > 0 }) {
		return nil
	}
	in.Retire = true
	_, err = s.make(ctx, in)
	return err
}

// make makes proposals and commits them.
func (s *server) make(ctx context.Context, in proposal.Input) (*proposal.Proposal, error) {
	p, err := proposal.Make(in)
	if err != nil {
		return nil, err
	}
	outcomes, err := Propose(ctx, s.repo, p, s.reproduce)
	err = errors.Join(append(p.Failed, err)...)
	for _, o := range outcomes {
		s.meter.proposed(o)
		if len(o.Foreign) > 0 {
			worst := o.Foreign[0]
			s.cfg.Log.Warn("policies of the namespace are not in Git", "namespace", o.Namespace, "policies", len(o.Foreign), "worst", worst.Policy, "what", worst.Words(wording.Printable))
		}
		if o.Commit == "" {
			continue
		}
		s.cfg.Log.Info("proposed", "namespace", o.Namespace, "branch", o.Branch, "commit", o.Commit)
		if s.cfg.BodyDir != "" {
			file := o.Namespace + ".md"
			if in.Retire {
				file = o.Namespace + ".retire.md"
			}
			err = errors.Join(err, tree.WriteFile(filepath.Join(s.cfg.BodyDir, file), []byte(o.Body), 0o600))
		}
	}
	return p, err
}

// approved are the files of a namespace on the base branch.
func (s *server) approved(namespace string) (tree.Files, error) {
	return s.repo.BaseFiles(tree.Dir(s.cfg.Proposal.Cluster, namespace))
}

// warnLoss says where flows were lost that proposals are refused for.
func (s *server) warnLoss(loss tree.Loss) {
	if loss.Share() <= s.cfg.Proposal.MaxLoss {
		return
	}
	const shown = 5
	at := s.seen.store.LostAt(time.Now())
	for _, p := range at[:min(len(at), shown)] {
		s.cfg.Log.Warn("flows were lost in the last days", "node", p.Node, "lost", p.Lost, "read", p.Flows)
	}
}

// maxWarnings bounds the lines of log for one round.
const maxWarnings = 20

// warn says what is not in the proposals because it is not in the edges.
func (s *server) warn(overflows []edge.Overflow) {
	for i, o := range overflows {
		if i == maxWarnings {
			s.cfg.Log.Warn("more edges are left out", "groups", len(overflows)-i)
			return
		}
		n, _ := o.Edges.Value()
		s.cfg.Log.Warn("too many edges of a kind to keep all: policies may not allow what the others do", "kind", o.String(), "leftOut", n, "lastSeen", o.Last)
	}
}

func (s *server) reproduce(namespace string) string {
	words := append([]string{"bulkhead generate --hubble", strings.Join(s.cfg.Observers, ",")}, s.cfg.Dialer.TLS.Words()...)
	words = append(words, s.cfg.Proposal.DNS.Words()...)
	if d := s.cfg.Proposal.Directions.Words(); d != nil {
		words = append(words, "--directions", strings.Join(d, ","))
	}
	return strings.Join(append(words, "--cluster", s.cfg.Proposal.Cluster, "--namespace", namespace, "--out policies"), " ")
}

func (s *server) sync(ctx context.Context) error {
	results, err := apply.SyncAll(ctx, s.client, s.repo, s.cfg.Proposal.Cluster, false)
	if errors.Is(err, apply.ErrNothingApproved) {
		return nil // the first proposal is not merged yet
	}
	for _, r := range results {
		s.meter.synced(r)
		if len(r.Applied)+len(r.Pruned) > 0 {
			s.cfg.Log.Info("synced", "namespace", r.Namespace, "commit", r.Commit, "applied", r.Applied, "pruned", r.Pruned)
		}
		for _, d := range r.Drift {
			s.cfg.Log.Warn("drift", "policy", d.Policy, "what", d.What, "by", d.By, "detail", d.Detail)
		}
	}
	return err
}

func (s *server) listen(ctx context.Context) error {
	web := &http.Server{Handler: s.meter.handler(), ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	go func() { stopped <- web.Serve(s.cfg.Listener) }()
	select {
	case err := <-stopped:
		return fmt.Errorf("listen on %s: %w", s.cfg.Listener.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return web.Shutdown(grace)
}
