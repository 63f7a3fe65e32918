// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/agent"
)

func check(c *agent.Config) error {
	switch _, _, err := net.SplitHostPort(c.HTTPAddr); {
	case c.Node == "":
		return errors.New("--node-name (or $NODE_NAME) is missing: give the name of this machine's Node object")
	case !strings.HasPrefix(c.PinPath, "/"):
		return fmt.Errorf("--pin-path %q is not an absolute path", c.PinPath)
	case c.NRISocket != "" && !strings.HasPrefix(c.NRISocket, "/"):
		return fmt.Errorf("--nri-socket %q is not an absolute path", c.NRISocket)
	case !strings.HasPrefix(c.NetNSPath, "/"):
		return fmt.Errorf("--netns-path %q is not an absolute path", c.NetNSPath)
	case err != nil:
		return fmt.Errorf("--http-addr %s is not host:port: %w", c.HTTPAddr, err)
	case c.DenyWith != agent.DenyByDrop && c.DenyWith != agent.DenyByReject:
		return fmt.Errorf("--deny-with %q is not one of drop, reject", c.DenyWith)
	case c.FlowInterval < 10*time.Millisecond || c.FlowInterval > time.Minute:
		return fmt.Errorf("--flow-interval %s is not between 10ms and 1m", c.FlowInterval)
	case c.Connections < 1<<10 || c.Connections > 1<<24:
		return fmt.Errorf("--connections %d is not between %d and %d", c.Connections, 1<<10, 1<<24)
	case c.FlowBuffer < 1 || c.FlowBuffer > 1<<24:
		return fmt.Errorf("--flow-buffer %d is not between 1 and %d", c.FlowBuffer, 1<<24)
	}
	return nil
}

func clientConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("no --kubeconfig is given, and this does not run in a pod with a service account: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if clientcmd.IsEmptyConfig(err) {
		return nil, fmt.Errorf("read --kubeconfig %s: it names no cluster", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("read --kubeconfig %s: %w", kubeconfig, err)
	}
	return config, nil
}

// explain adds what to do to an error that root would not have.
func explain(err error, uid int) error {
	if uid != 0 && errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (this program needs root: it loads eBPF programs and attaches them to the pods' interfaces)", err)
	}
	return err
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q is not one of debug, info, warn, error", level)
	}
	options := &slog.HandlerOptions{Level: l}
	var handler slog.Handler = slog.NewJSONHandler(w, options)
	switch format {
	case "json":
	case "text":
		handler = slog.NewTextHandler(w, options)
	default:
		return nil, fmt.Errorf("--log-format %q is not one of json, text", format)
	}
	log := slog.New(handler)
	klog.SetSlogLogger(log) // what client-go has to say
	return log, nil
}
