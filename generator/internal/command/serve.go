// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/generator/internal/service"
	"github.com/bulkhead-dev/bulkhead/generator/internal/store"
)

func serve() *cobra.Command {
	var (
		r          repository
		w          writing
		kubeconfig string
		listen     string
		cfg        service.Config
	)
	cmd := &cobra.Command{
		Use:   "serve --hubble ADDR --repo PATH_OR_URL --cluster NAME",
		Short: "Do all of it, in a cluster, for as long as it runs",
		Long: `Follows the flows of the given Hubble APIs, folds them, proposes policies on a timer and applies what is
approved on another. Serves /healthz, /readyz and /metrics.

An observer is followed at every address of its name, so the name of a headless Service is all of its
nodes; addresses that come and go are noticed. The inventory is read every 30 s: flows with an address that no
pod's name comes with wait for the next ones, which tell whose it was at that time.

What was observed is kept in --state, a database in one file, and outlives a crash; each observer is then
asked for what it saw since. Without the file, nothing is proposed before --observe-for has passed since
the start: a program that has seen little would take away rules. A file that is damaged or in use is an
error, never a start from nothing. An edge that was not seen for --retention is forgotten.`,
		Example: `  bulkhead serve --hubble bulkhead-enforcer.bulkhead-system.svc:4244 --cluster prod \
    --hubble-ca /run/hubble/ca.crt --hubble-cert /run/hubble/tls.crt --hubble-key /run/hubble/tls.key \
    --repo https://git.example.com/team/policies.git --git-token-file /run/token --state /var/lib/bulkhead/edges.db
  bulkhead serve --hubble localhost:4245 --cluster dev --repo ../policies.git --kubeconfig ~/.kube/config \
    --propose-every 1m --observe-for 5m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := need(cmd, "repo", "cluster"); err != nil {
				return err
			}
			if err := errors.Join(w.checkTarget(), checkService(cfg)); err != nil {
				return err
			}
			if cfg.Listener, err = net.Listen("tcp", listen); err != nil {
				return fmt.Errorf("--listen %s: %w", listen, err)
			}
			defer cfg.Listener.Close() // the service has closed it, unless it never began
			repository, err := r.open(cmd)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, repository.Close()) }()
			client, err := connect(kubeconfig)
			if err != nil {
				return err
			}
			cfg.Proposal = w.input(nil)
			cfg.Log = slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
			return service.Run(cmd.Context(), cfg, client, repository)
		},
	}
	r.flags(cmd.Flags())
	w.target(cmd.Flags(), "")
	f := cmd.Flags()
	f.StringSliceVar(&cfg.Observers, "hubble", nil, "host:port of a Hubble API to follow, at every address of the name; may be repeated")
	tlsFlags(f, &cfg.Dialer.TLS)
	f.StringVar(&kubeconfig, "kubeconfig", "", "cluster to work on (empty: the one that this runs in)")
	f.DurationVar(&cfg.ProposeEvery, "propose-every", time.Hour, "time between proposals")
	f.DurationVar(&cfg.SyncEvery, "sync-every", time.Minute, "time between syncs")
	f.DurationVar(&cfg.ObserveFor, "observe-for", 24*time.Hour, "observe at least this long before the first proposal, unless --state has earlier observations")
	f.StringVar(&cfg.State, "state", "", "file that keeps what was observed, made if it is not there (empty: memory only)")
	f.DurationVar(&cfg.Retention, "retention", store.MaxRetention, "forget what was not seen for this long (0: never)")
	f.StringVar(&cfg.BodyDir, "body-dir", "", "directory for the texts of the pull requests, <namespace>.md (empty: not written)")
	f.StringVar(&listen, "listen", ":8082", "address for /healthz, /readyz and /metrics")
	return cmd
}

// checkService finds what is wrong with the flags before anything is read.
func checkService(cfg service.Config) error {
	switch {
	case len(cfg.Observers) == 0:
		return errors.New("serve: --hubble is missing: give the host:port of each observer")
	case cfg.ProposeEvery <= 0 || cfg.SyncEvery <= 0:
		return fmt.Errorf("--propose-every %s, --sync-every %s: give times above zero", cfg.ProposeEvery, cfg.SyncEvery)
	case cfg.Retention < 0 || cfg.Retention > store.MaxRetention:
		return fmt.Errorf("--retention %s: give a time up to %s (400 days), or 0 to forget nothing", cfg.Retention, store.MaxRetention)
	case cfg.ObserveFor < 0:
		return fmt.Errorf("--observe-for %s: give a time of zero or above", cfg.ObserveFor)
	}
	if err := cfg.Dialer.Check(cfg.Observers); err != nil {
		return err
	}
	if cfg.State != "" {
		if err := writableFile("state", cfg.State); err != nil {
			return err
		}
	}
	if cfg.BodyDir != "" {
		return writable("body-dir", cfg.BodyDir)
	}
	return nil
}
