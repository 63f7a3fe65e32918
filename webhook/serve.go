// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/gate"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/admit"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/hold"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/onboard"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/profiles"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/ready"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/register"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/reload"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/standing"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/view"
)

const (
	// certificateWithin bounds the wait for the first certificate.
	certificateWithin = 15 * time.Second
	// answeredWithin bounds the wait for requests under way when the process ends. A server waits five
	// seconds for a connection that nobody has used yet.
	answeredWithin = 6 * time.Second
	// endWithin bounds the wait for all parts, the server among them.
	endWithin = 8 * time.Second
)

// scheme has the kinds of Kubernetes and Bulkhead's own.
var scheme = runtime.NewScheme()

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(profile.AddToScheme(scheme))
}

// gcPercent trades a little processor time for memory: garbage may be half of what is alive, not as much.
const gcPercent = 50

// parts are the running pieces of the process.
type parts struct {
	log     *slog.Logger
	served  *certificate
	server  *reviewServer
	rules   *reload.Rules
	manager manager.Manager
	dns     *onboard.DNS
	live    client.Client // reads from the API server, not from a cache

	profiles  *profiles.Store
	standings *standing.Board
}

// serve runs until ctx ends or a part fails.
func serve(ctx context.Context, c *Config, logs io.Writer) error {
	if os.Getenv("GOGC") == "" { // whoever sets it knows better
		debug.SetGCPercent(gcPercent)
	}
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
	p, err := build(ctx, c, api, log)
	if err != nil {
		return err
	}
	return p.run(ctx, c)
}

func build(ctx context.Context, c *Config, api *rest.Config, log *slog.Logger) (*parts, error) {
	p := &parts{log: log}
	var err error
	if p.live, err = client.New(api, client.Options{Scheme: scheme}); err != nil {
		return nil, fmt.Errorf("client for %s: %w", api.Host, err)
	}
	if err := checkNamespace(ctx, p.live, c.Namespace); err != nil {
		return nil, err
	}
	if err := customResources(ctx, c, p.live); err != nil {
		return nil, err
	}
	p.rules, err = reload.New(ctx, reload.Config{Dir: c.RulesDir, ConfigMap: c.rulesMap, Client: p.live, Log: log}, gate.Config{Actions: c.actions, Params: params(c)})
	if err != nil {
		return nil, err
	}
	if p.served, err = newCertificate(c, p.live, log); err != nil {
		return nil, err
	}
	drain := c.Drain
	if c.WebhookURL != "" {
		drain = 0 // nobody calls what is not registered any more
	}
	p.server = newReviewServer(drain, p.served.get)
	if p.manager, err = newManager(c, api); err != nil {
		return nil, err
	}
	p.dns = &onboard.DNS{Client: p.manager.GetClient(), Service: dnsService(c), NodeLocal: c.nodeLocal}
	if err := p.addControllers(c); err != nil {
		return nil, err
	}
	return p, p.addWebhooks(ctx, c, api)
}

func (p *parts) addControllers(c *Config) error {
	p.profiles, p.standings = profiles.New(p.manager.GetClient(), c.mode), standing.New()
	if err := onboard.Add(p.manager, onboard.Config{DNS: p.dns, Profiles: p.profiles, Standings: p.standings, Log: p.log}); err != nil {
		return err
	}
	return view.Add(p.manager, view.Config{Profiles: p.profiles, Standings: p.standings, Log: p.log})
}

// params are what the rules that come with Bulkhead cannot know.
func params(c *Config) gate.Params {
	reserved := []any{baseline.ProjectNamespace}
	if c.Namespace != baseline.ProjectNamespace {
		reserved = append(reserved, c.Namespace)
	}
	return gate.Params{
		"namespace/reserved_name": {"names": reserved},
	}
}

// dnsService is empty where it is to be detected.
func dnsService(c *Config) types.NamespacedName {
	if c.DNSService == "" {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: c.DNSNamespace, Name: c.DNSService}
}

func newManager(c *Config, api *rest.Config) (manager.Manager, error) {
	mgr, err := ctrl.NewManager(api, manager.Options{
		Scheme:                  scheme,
		Cache:                   cache.Options{ByObject: onboard.CacheFor(dnsService(c)), DefaultTransform: cache.TransformStripManagedFields()},
		Metrics:                 server.Options{BindAddress: c.MetricsAddr},
		HealthProbeBindAddress:  c.HealthAddr,
		GracefulShutdownTimeout: ptr.To(endWithin),
		// Names of controllers are unique a process; tests run several managers in one.
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
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
	expected := &admit.Profiles{Set: p.profiles.Set, Starting: p.dns.StartingMode, Live: p.live}
	users := &admit.Users{Reviews: clients.AuthorizationV1().SubjectAccessReviews(), Trusted: trusted}
	holding, err := hold.New(ctx, p.manager.GetCache())
	if err != nil {
		return err
	}
	for path, handler := range map[string]admission.Handler{
		"/stamp":            &admit.Stamp{Profiles: expected, Exempt: c.Exempt},
		"/validate-profile": &admit.ProfileJudge{Gate: p.rules.Gate, Users: users, Cached: p.manager.GetClient(), Log: p.log},
		"/validate": &admit.Judge{
			Gate:     p.rules.Gate,
			Exempt:   slices.Concat(c.Exempt, baseline.SystemNamespaces(), []string{c.Namespace}),
			Profiles: expected,
			Users:    users,
			Cached:   p.manager.GetClient(),
			Live:     p.live,
			Log:      p.log,
		},
		"/hold": holding,
	} {
		if err := p.server.answer(path, handler); err != nil {
			return err
		}
	}
	return p.server.addTo(p.manager, c.host, c.port)
}

// run starts the parts in the order in which they need each other. When ctx ends, the
// registration is taken back first, while the server still answers, also for those who have not
// heard of it yet; then the rest stops.
func (p *parts) run(ctx context.Context, c *Config) error {
	if err := metrics.Registry.Register(p.standings); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	defer metrics.Registry.Unregister(p.standings)
	check := p.selfCheck(c)
	registration := p.registration(c)
	if err := p.addChecks(registration, check); err != nil {
		return err
	}
	group, working := errgroup.WithContext(context.WithoutCancel(ctx))
	working, stop := context.WithCancel(working)
	defer stop()
	registered, unregister := context.WithCancel(working)
	defer unregister()
	defer context.AfterFunc(ctx, func() {
		p.server.end()
		unregister()
	})()

	group.Go(func() error { return p.served.start(working) })
	group.Go(func() error { return p.rules.Watch(working) })
	group.Go(func() error { return p.manager.Start(working) })
	group.Go(func() error { return check.Run(working) })
	group.Go(func() error {
		defer stop()
		err := p.register(registered, registration)
		p.server.unused(working)
		return err
	})
	return group.Wait()
}

// registration is nil where a user's certificate is served: the caBundle is the user's, too.
func (p *parts) registration(c *Config) *register.Registration {
	if p.served.own == nil {
		return nil
	}
	return register.New(register.Config{
		Client: p.live, Namespace: c.Namespace, URL: c.WebhookURL, Certs: p.served.own, Log: p.log,
	})
}

// register waits for all that an admission request needs before the API server sends one.
func (p *parts) register(ctx context.Context, registration *register.Registration) error {
	if registration == nil {
		<-ctx.Done()
		return nil
	}
	within, cancel := context.WithTimeout(ctx, certificateWithin)
	defer cancel()
	if err := p.served.own.Wait(within); err != nil {
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

// selfCheck asks this process what the API server would, and compares its caches.
func (p *parts) selfCheck(c *Config) *ready.Check {
	watches := []*ready.Watch{
		{Kind: corev1.SchemeGroupVersion.WithKind("Namespace"), New: func() client.Object { return &corev1.Namespace{} }},
		{
			Kind:    networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"),
			New:     func() client.Object { return &networkingv1.NetworkPolicy{} },
			Options: []client.ListOption{client.MatchingLabels{baseline.LabelManagedBy: baseline.ManagedByOnboarding}},
		},
		{Kind: profile.GroupVersion.WithKind("Profile"), New: func() client.Object { return &profile.Profile{} }},
	}
	for _, watch := range watches {
		watch.Cached, watch.Live = p.manager.GetClient(), p.live
	}
	return ready.New(ready.Config{
		Address: net.JoinHostPort(c.host, strconv.Itoa(c.port)), Name: c.names[0],
		CA: p.served.trusted, Watches: watches, Log: p.log,
	})
}

func (p *parts) addChecks(registration *register.Registration, check *ready.Check) error {
	checks := map[string]healthz.Checker{
		"ending": p.server.ready,
		"caches": func(*http.Request) error {
			select {
			case <-p.manager.Elected():
				return nil
			default:
				return errors.New("caches are not synced yet")
			}
		},
		"answers": check.Ready,
	}
	if registration != nil {
		checks["certificate"], checks["registered"] = p.served.own.Ready, registration.Ready
	}
	for name, check := range checks {
		if err := p.manager.AddReadyzCheck(name, check); err != nil {
			return fmt.Errorf("readiness check %s: %w", name, err)
		}
	}
	return p.manager.AddHealthzCheck("ping", healthz.Ping)
}
