// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/gate"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/ready"
)

// Config is what the flags say. Fields below "parsed" are filled by complete.
type Config struct {
	Kubeconfig   string
	Namespace    string
	Listen       string
	WebhookURL   string
	HealthAddr   string
	MetricsAddr  string
	DefaultMode  string
	Exempt       []string
	TrustedUsers []string
	RulesDir     string
	RulesMap     string
	RuleActions  map[string]string
	DNSNamespace string
	DNSService   string
	DNSNodeLocal []string
	CertDir      string
	Drain        time.Duration

	// parsed
	mode      baseline.Mode
	host      string
	port      int
	names     []string // that the API server calls us by
	rulesMap  types.NamespacedName
	actions   map[string]gate.Action
	nodeLocal []netip.Addr
}

func (c *Config) addFlags(f *pflag.FlagSet) {
	f.StringVar(&c.Namespace, "namespace", baseline.ProjectNamespace, "Bulkhead's own namespace")
	f.StringVar(&c.Listen, "listen", "", "address:port of the webhook server (default :9443, or that of --webhook-url)")
	f.StringVar(&c.WebhookURL, "webhook-url", "", "https URL at which the API server reaches this process; with it the process registers itself, and unregisters at the end (empty: behind a Service that the Helm chart registers)")
	f.StringVar(&c.HealthAddr, "health-addr", ":8081", "address:port of /healthz and /readyz")
	f.StringVar(&c.MetricsAddr, "metrics-addr", ":8080", "address:port of /metrics (0: none)")
	f.StringVar(&c.DefaultMode, "default-mode", baseline.Enforce.String(), "mode of new namespaces: observe, audit or enforce")
	f.StringSliceVar(&c.Exempt, "exempt-namespaces", nil, "namespaces to leave alone, beside the system namespaces; separated by commas")
	f.StringSliceVar(&c.TrustedUsers, "trusted-users", nil, "user names to trust with managed policies, beside Bulkhead's own; separated by commas")
	f.StringVar(&c.RulesDir, "rules-dir", "", "folder of rules that add to or replace the built-in ones, and params.yaml with their parameters; reloaded when it changes (empty: none)")
	f.StringVar(&c.RulesMap, "rules-configmap", "", "namespace/name of a ConfigMap with rules and params.yaml, as --rules-dir (empty: none)")
	f.StringToStringVar(&c.RuleActions, "rule-action", nil, "group/rule=deny|warn|audit|off for rules that are not to deny; may be repeated")
	f.StringVar(&c.DNSNamespace, "dns-namespace", "kube-system", "namespace of --dns-service")
	f.StringVar(&c.DNSService, "dns-service", "", "name of the cluster's DNS Service (empty, or it is not there: detected)")
	f.StringSliceVar(&c.DNSNodeLocal, "dns-node-local", nil, "addresses of node-local DNS caches, e.g. 169.254.20.10; separated by commas (empty: detected)")
	f.StringVar(&c.CertDir, "cert-dir", "", "folder with tls.crt and tls.key to serve, as a Secret is mounted; reloaded when they change, and the caBundle is left to whoever made them (empty: Bulkhead's own certificate authority)")
	f.DurationVar(&c.Drain, "drain", 5*time.Second, "how long to answer on after SIGTERM, behind a Service that is only beginning to hear of it; after that until API servers have closed their connections, 95s at most (0: end at once)")
}

// complete checks the values and fills the parsed fields. All that is wrong is in one error.
func (c *Config) complete() error {
	return errors.Join(
		c.parseMode(), c.parseAddresses(), c.parseRules(), c.parseDNS(), c.checkServing(),
		nameErrors("--namespace", c.Namespace), nameErrors("--exempt-namespaces", c.Exempt...),
	)
}

func (c *Config) parseMode() (err error) {
	if c.mode, err = baseline.ParseMode(c.DefaultMode); err != nil {
		return fmt.Errorf("--default-mode: %w", err)
	}
	return nil
}

func (c *Config) parseAddresses() error {
	c.names = []string{"bulkhead-webhook." + c.Namespace + ".svc"}
	listen := c.Listen
	if listen == "" {
		listen = ":9443"
	}
	if c.WebhookURL != "" {
		u, err := url.Parse(c.WebhookURL)
		if err != nil || c.WebhookURL != "https://"+u.Host || u.Hostname() == "" {
			return fmt.Errorf("--webhook-url %q is not of the form https://host:port", c.WebhookURL)
		}
		c.names = []string{u.Hostname()}
		called := net.JoinHostPort(u.Hostname(), portOf(u))
		if _, _, err := splitAddress("--webhook-url", called); err != nil {
			return err
		}
		if c.Listen == "" {
			listen = called
		}
	}
	var err error
	if c.host, c.port, err = splitAddress("--listen", listen); err != nil {
		return err
	}
	if _, _, err = splitAddress("--health-addr", c.HealthAddr); err != nil || c.MetricsAddr == "0" {
		return err
	}
	_, _, err = splitAddress("--metrics-addr", c.MetricsAddr)
	return err
}

func portOf(u *url.URL) string {
	if u.Port() == "" {
		return "443"
	}
	return u.Port()
}

func splitAddress(flag, address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("%s %q is not of the form address:port with a port of 1 to 65535", flag, address)
	}
	return host, port, nil
}

func (c *Config) parseRules() error {
	var errs []error
	if c.RulesDir != "" {
		if info, err := os.Stat(c.RulesDir); err != nil {
			errs = append(errs, fmt.Errorf("--rules-dir: %w", err))
		} else if !info.IsDir() {
			errs = append(errs, fmt.Errorf("--rules-dir %s is not a folder", c.RulesDir))
		}
	}
	if c.RulesMap != "" {
		namespace, name, ok := strings.Cut(c.RulesMap, "/")
		if !ok || len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
			errs = append(errs, fmt.Errorf("--rules-configmap %q is not of the form namespace/name", c.RulesMap))
		}
		c.rulesMap = types.NamespacedName{Namespace: namespace, Name: name}
	}
	c.actions = map[string]gate.Action{}
	for rule, text := range c.RuleActions {
		action, err := gate.ParseAction(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--rule-action %s: %w", rule, err))
		}
		if rule == ready.CanaryRule {
			errs = append(errs, fmt.Errorf("--rule-action %s: by this rule the webhook checks itself, so it always denies", rule))
		}
		c.actions[rule] = action
	}
	return errors.Join(errs...)
}

func (c *Config) parseDNS() error {
	errs := []error{nameErrors("--dns-namespace", c.DNSNamespace)}
	if c.DNSService != "" {
		errs = append(errs, nameErrors("--dns-service", c.DNSService))
	}
	for _, text := range c.DNSNodeLocal {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			errs = append(errs, fmt.Errorf("--dns-node-local %q is not an address such as 169.254.20.10", text))
		}
		c.nodeLocal = append(c.nodeLocal, addr)
	}
	return errors.Join(errs...)
}

// maxDrain is more than a pod is given to end.
const maxDrain = 5 * time.Minute

func (c *Config) checkServing() error {
	var errs []error
	if c.CertDir != "" && c.WebhookURL != "" {
		errs = append(errs, errors.New("--cert-dir and --webhook-url: a process that registers itself writes the caBundle of its own authority; give one of the two"))
	}
	if c.CertDir != "" {
		if _, err := tls.LoadX509KeyPair(certFiles(c.CertDir)); err != nil {
			errs = append(errs, fmt.Errorf("--cert-dir: %w", err))
		}
	}
	if c.Drain < 0 || c.Drain > maxDrain {
		errs = append(errs, fmt.Errorf("--drain %s is not between 0 and %s", c.Drain, maxDrain))
	}
	return errors.Join(errs...)
}

func nameErrors(flag string, names ...string) error {
	var errs []error
	for _, name := range names {
		for _, problem := range validation.IsDNS1123Label(name) {
			errs = append(errs, fmt.Errorf("%s %q: %s", flag, name, problem))
		}
	}
	return errors.Join(errs...)
}
