// SPDX-License-Identifier: Apache-2.0

// Command bulkhead-enforcer is the node agent: it enforces network policies on the pods of its node with
// eBPF, and serves the connections that it saw as Hubble's Observer API.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/agent"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/nri"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

const defaultHTTPAddr = ":9967"

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // on every node memory is dearer than the processor's time, of which there is little to save
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		if text := err.Error(); text != "" { // else the answer is printed already
			fmt.Fprintln(os.Stderr, "bulkhead-enforcer:", text)
		}
		os.Exit(exitCode(err))
	}
}

// run is the whole program; logs go to logs.
func run(ctx context.Context, args []string, out, logs io.Writer) error {
	root := runCommand("bulkhead-enforcer", logs)
	root.Short = "Enforce network policies on the pods of this node"
	root.CompletionOptions.HiddenDefaultCmd = true
	root.Version = version()
	root.SilenceErrors, root.SilenceUsage = true, true
	root.AddCommand(runCommand("run", logs), statusCommand(), monitorCommand(), traceCommand())
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(logs)
	return root.ExecuteContext(ctx)
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// runCommand is the default command, and `run`.
func runCommand(use string, logs io.Writer) *cobra.Command {
	var kubeconfig, dnsService, logLevel, logFormat string
	config := agent.Config{Version: version()}
	cmd := &cobra.Command{
		Use:   use,
		Short: "Run the node agent (the default command)",
		Long: `Enforces the cluster's NetworkPolicies on the pods of this node with eBPF, in namespaces whose label
bulkhead.dev/mode is audit or enforce, and serves the connections that it saw as Hubble's Observer API.

Needs root, Linux 6.6 or later and a BPF file system, which it mounts where there is none. What is enforced
stays when this program ends or crashes, and the next start takes it over.`,
		Example: `  bulkhead-enforcer                                 in a pod; $NODE_NAME is set from spec.nodeName
  bulkhead-enforcer --kubeconfig node.kubeconfig --node-name worker-1 --log-format text
  bulkhead-enforcer --hubble-tls-cert tls.crt --hubble-tls-key tls.key --hubble-tls-client-ca ca.crt
  bulkhead-enforcer status`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if config.Log, err = newLogger(logs, logLevel, logFormat); err != nil {
				return err
			}
			if err := check(&config); err != nil {
				return err
			}
			if config.DNSService, err = baseline.ParseDNSService(dnsService); err != nil {
				return err
			}
			if config.REST, err = clientConfig(kubeconfig); err != nil {
				return err
			}
			return explain(agent.Run(cmd.Context(), config), os.Geteuid())
		},
	}
	f := cmd.Flags()
	f.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig file; empty: the service account of the pod this runs in")
	f.StringVar(&config.Node, "node-name", os.Getenv("NODE_NAME"), "name of this machine's Node object (empty: $NODE_NAME)")
	f.StringVar(&config.PinPath, "pin-path", "/sys/fs/bpf/bulkhead", "directory of the datapath in a BPF file system")
	f.StringVar(&config.NRISocket, "nri-socket", nri.DefaultSocket, "the container runtime's NRI socket, which need not exist; empty: pods are not held back")
	f.StringVar(&config.NetNSPath, "netns-path", "/run/netns", "directory where the container runtime pins network namespaces")
	f.StringVar(&config.HTTPAddr, "http-addr", defaultHTTPAddr, "address of /healthz, /readyz, /metrics and, to this machine only, of status, trace and monitor")
	f.StringVar(&config.Hubble.Addr, "hubble-addr", "", "address of Hubble's Observer API; empty: :4244 with TLS, 127.0.0.1:4244 without")
	f.StringVar(&config.Hubble.CertFile, "hubble-tls-cert", "", "PEM certificate of the Observer API")
	f.StringVar(&config.Hubble.KeyFile, "hubble-tls-key", "", "PEM key of the Observer API")
	f.StringVar(&config.Hubble.ClientCAFile, "hubble-tls-client-ca", "", "PEM bundle that clients of the Observer API must have a certificate of; empty: none needed")
	f.BoolVar(&config.Hubble.Insecure, "hubble-insecure", false, "serve the Observer API in plain text beyond this machine")
	f.DurationVar(&config.FlowInterval, "flow-interval", time.Second, "time between two collections of flows from the kernel, 10ms to 1m")
	f.IntVar(&config.FlowBuffer, "flow-buffer", 8192, "how many flows are kept for clients of the Observer API, 1 to 16777216")
	f.Uint32Var(&config.Connections, "connections", 262144, "how many connections are remembered, at each end that is on this node; the least recently used make room, 1024 to 16777216")
	f.StringVar(&config.DenyWith, "deny-with", agent.DenyByDrop, "what becomes of what is denied where a namespace's annotation bulkhead.dev/deny-with does not say: drop, or reject, which tells the sender")
	f.StringVar(&dnsService, "dns-service", "", "namespace/name of a DNS Service of the cluster, beside those that are detected")
	f.IPSliceVar(&config.DNSNodeLocal, "dns-node-local", nil, "addresses of DNS caches on nodes, beside link-local ones; separated by commas")
	f.BoolVar(&config.DNSNames, "dns-names", true, "name what pods connect to by what the cluster's DNS told them")
	f.BoolVar(&config.CleanUp, "cleanup-on-exit", false, "end enforcement when this program ends; else the datapath goes on with the last policies")
	f.StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&logFormat, "log-format", "json", "json or text")
	return cmd
}
