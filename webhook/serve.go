// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/gate"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/admit"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/certs"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/onboard"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/register"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/reload"
)

const (
	// certificateWithin bounds the wait for the first certificate.
	certificateWithin = 15 * time.Second
	// drainWithin bounds the wait for requests under way when the process ends.
	drainWithin = 5 * time.Second
)

// parts are the running pieces of the process.
type parts struct {
	log     *slog.Logger
	certs   *certs.Certificates
	rotated <-chan struct{}
	rules   *reload.Rules
	manager manager.Manager
	live    client.Client // reads from the API server, not from a cache
}

// serve runs until ctx ends or a part fails.
func serve(ctx context.Context, c *Config, logs io.Writer) error {
	log := slog.New(slog.NewJSONHandler(logs, nil))
	// Libraries tell of each step; here only what goes wrong is news.
	libraries := slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctrl.SetLogger(logr.FromSlogHandler(libraries.Handler()))
	klog.SetLogger(logr.FromSlogHandler(libraries.Handler()))
	slog.SetDefault(log) // net/http's server reports to the standard logger

	api, err := connect(ctx, c.Kubeconfig)
	if err != nil {
		return err
	}
	p, err := build(ctx, c, api, log, libraries)
	if err != nil {
		return err
	}
	return p.run(ctx, c)
}

func build(ctx context.Context, c *Config, api *rest.Config, log, libraries *slog.Logger) (*parts, error) {
	p := &parts{log: log}
	var err error
	if p.live, err = client.New(api, client.Options{}); err != nil {
		return nil, fmt.Errorf("client for %s: %w", api.Host, err)
	}
	if err := checkNamespace(ctx, p.live, c.Namespace); err != nil {
		return nil, err
	}
	p.rules, err = reload.New(ctx, reload.Config{Dir: c.RulesDir, ConfigMap: c.rulesMap, Client: p.live, Log: log}, gate.Config{Actions: c.actions, Params: params(c)})
	if err != nil {
		return nil, err
	}
	p.certs, err = certs.New(certs.Config{REST: api, Namespace: c.Namespace, Hosts: c.names, Log: libraries})
	if err != nil {
		return nil, err
	}
	p.rotated = p.certs.Rotated()
	if p.manager, err = newManager(c, api, p.certs); err != nil {
		return nil, err
	}
	dns := onboard.Config{DNSService: dnsService(c), NodeLocal: c.nodeLocal, Log: log}
	if err := onboard.Add(p.manager, dns); err != nil {
		return nil, err
	}
	return p, p.addWebhooks(ctx, c, api)
}

// params are what the rules that come with Bulkhead cannot know.
func params(c *Config) gate.Params {
	reserved := []any{baseline.ProjectNamespace}
	if c.Namespace != baseline.ProjectNamespace {
		reserved = append(reserved, c.Namespace)
	}
	return gate.Params{
		"namespace/mode_weakened": {"defaultMode": c.mode.String()},
		"namespace/reserved_name": {"names": reserved},
	}
}

func dnsService(c *Config) types.NamespacedName {
	return types.NamespacedName{Namespace: c.DNSNamespace, Name: c.DNSService}
}

func newManager(c *Config, api *rest.Config, certificates *certs.Certificates) (manager.Manager, error) {
	mgr, err := ctrl.NewManager(api, manager.Options{
		Cache:                   cache.Options{ByObject: onboard.CacheFor(dnsService(c))},
		Metrics:                 server.Options{BindAddress: c.MetricsAddr},
		HealthProbeBindAddress:  c.HealthAddr,
		GracefulShutdownTimeout: ptr.To(drainWithin),
		// Names of controllers are unique a process; tests run several managers in one.
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
		WebhookServer: webhook.NewServer(webhook.Options{
			Host: c.host, Port: c.port,
			TLSOpts: []func(*tls.Config){func(t *tls.Config) {
				t.MinVersion = tls.VersionTLS13
				t.GetCertificate = certificates.Get
			}},
		}),
	})
	if err != nil {
		return nil, fmt.Errorf("set up the server: %w", err)
	}
	return mgr, nil
}

func (p *parts) addWebhooks(ctx context.Context, c *Config, api *rest.Config) error {
	clients, err := kubernetes.NewForConfig(api)
	if err != nil {
		return fmt.Errorf("client for %s: %w", api.Host, err)
	}
	// Ourselves, too, where we run under another name than in the cluster.
	self, err := whoami(ctx, api)
	if err != nil {
		return err
	}
	trusted := append([]string{
		self,
		"system:serviceaccount:" + c.Namespace + ":" + baseline.WebhookServiceAccount,
		"system:serviceaccount:" + c.Namespace + ":" + baseline.GeneratorServiceAccount,
	}, c.TrustedUsers...)
	hooks := p.manager.GetWebhookServer()
	hooks.Register("/stamp", &webhook.Admission{Handler: &admit.Stamp{Default: c.mode, Exempt: c.Exempt}})
	hooks.Register("/validate", &webhook.Admission{Handler: &admit.Judge{
		Gate:   p.rules.Gate,
		Exempt: slices.Concat(c.Exempt, baseline.SystemNamespaces(), []string{c.Namespace}),
		Users:  &admit.Users{Reviews: clients.AuthorizationV1().SubjectAccessReviews(), Trusted: trusted},
		Cached: p.manager.GetClient(),
		Live:   p.live,
		Log:    p.log,
	}})
	return nil
}

// run starts the parts in the order in which they need each other. When ctx ends, the
// registration is taken back first, while the server still answers; then the rest stops.
func (p *parts) run(ctx context.Context, c *Config) error {
	registration := register.New(register.Config{
		Client: p.live, Namespace: c.Namespace, URL: c.WebhookURL,
		CA: p.certs.CA, Rotated: p.rotated, Log: p.log,
	})
	if err := p.addChecks(registration); err != nil {
		return err
	}
	group, working := errgroup.WithContext(context.WithoutCancel(ctx))
	working, stop := context.WithCancel(working)
	defer stop()
	registered, unregister := context.WithCancel(working)
	defer unregister()
	defer context.AfterFunc(ctx, unregister)()

	group.Go(func() error { return p.certs.Start(working) })
	group.Go(func() error { return p.rules.Watch(working) })
	group.Go(func() error { return p.manager.Start(working) })
	group.Go(func() error {
		defer stop()
		return p.register(registered, registration)
	})
	return group.Wait()
}

// register waits for all that an admission request needs before the API server sends one.
func (p *parts) register(ctx context.Context, registration *register.Registration) error {
	within, cancel := context.WithTimeout(ctx, certificateWithin)
	defer cancel()
	if err := p.certs.Wait(within); err != nil {
		return ignoreEnded(ctx, err)
	}
	select {
	case <-ctx.Done():
		return nil
	case <-p.manager.Elected(): // closed when caches are synced and servers listen
	}
	return ignoreEnded(ctx, registration.Run(ctx))
}

// ignoreEnded drops an error that is only the end of ctx.
func ignoreEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (p *parts) addChecks(registration *register.Registration) error {
	checks := map[string]healthz.Checker{
		"webhook": func(request *http.Request) error { // a handshake needs a certificate
			if err := p.certs.Ready(request); err != nil {
				return err
			}
			return p.manager.GetWebhookServer().StartedChecker()(request)
		},
		"registered": registration.Ready,
		"caches": func(*http.Request) error {
			select {
			case <-p.manager.Elected():
				return nil
			default:
				return errors.New("caches are not synced yet")
			}
		},
	}
	for name, check := range checks {
		if err := p.manager.AddReadyzCheck(name, check); err != nil {
			return fmt.Errorf("readiness check %s: %w", name, err)
		}
	}
	return p.manager.AddHealthzCheck("ping", healthz.Ping)
}
