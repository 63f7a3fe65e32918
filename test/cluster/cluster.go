// SPDX-License-Identifier: Apache-2.0

// Package cluster runs a real Kubernetes control plane on this machine: etcd
// and kube-apiserver, built from source as Go modules, on free loopback ports,
// with certificates of their own and RBAC on. It needs neither root nor an
// image, and no network once the two programs are built.
//
// What Start makes has no kube-controller-manager and no node: nobody makes a
// ServiceAccount `default` or a ConfigMap `kube-root-ca.crt`, nothing is
// garbage-collected, a pod is never scheduled, and a deleted Namespace stays
// Terminating. Pods may name ServiceAccounts that do not exist. StartFull adds
// all of that, and needs root.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// startTimeout bounds the time from the first process to a ready API server.
// It takes 5 to 10 s; the rest is for a machine that is busy.
const startTimeout = 2 * time.Minute

// portAttempts is how often free ports are looked for again when somebody
// else took one between our choosing it and the server's listening on it.
const portAttempts = 3

// Options says how to start a control plane. The zero value is good for a test.
type Options struct {
	// Dir holds certificates, kubeconfigs, etcd's data and the logs
	// (etcd.log, kube-apiserver.log, kube-apiserver-2.log, ...). It is created if missing and must not
	// hold another control plane; Stop leaves it in place. Empty: a temporary
	// directory that Stop removes.
	Dir string
	// Log receives progress, one line at a time. Nil: discarded.
	Log io.Writer
	// APIServers on the one etcd, as in a control plane that is highly available. They
	// share their certificates and each watches etcd for itself, so they see a change
	// at different moments. 0: 1.
	APIServers int
	// APIServerArgs are appended to kube-apiserver's flags, so they win over
	// the ones set here. Nil: none.
	APIServerArgs []string
}

// ControlPlane is a running etcd and its kube-apiservers. Its methods may be called
// by several goroutines. If the calling process dies, even by SIGKILL, the
// kernel ends all of them.
type ControlPlane struct {
	dir       string
	temporary bool
	ca        *authority
	urls      []string // of the API servers
	admin     keyPair
	launches  []launch   // in the order to start them
	servers   []*Process // in the order to stop them
	node      *Node      // where they run; nil: beside the caller
	inside    string     // URL of the API server on the nodes; empty: no nodes

	writing sync.Mutex // of kubeconfigs
	stop    sync.Once
	stopErr error
}

// launch is how a server was started.
type launch struct {
	binary, name string
	args         []string
}

// Start builds etcd and kube-apiserver if that has not been done (about three
// minutes, once), runs them and returns when the API server is ready. ctx
// bounds the start only: a control plane that was returned runs until Stop.
// The error shows the end of the log of the server that failed.
func Start(ctx context.Context, opts Options) (*ControlPlane, error) {
	log := opts.Log
	if log == nil {
		log = io.Discard
	}
	etcd, err := Tool(ctx, "etcd", log)
	if err != nil {
		return nil, err
	}
	apiserver, err := Tool(ctx, "kube-apiserver", log)
	if err != nil {
		return nil, err
	}
	c, err := prepare(opts.Dir)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		err = c.run(ctx, etcd, apiserver, max(opts.APIServers, 1), opts.APIServerArgs)
		if err == nil {
			fmt.Fprintf(log, "control plane ready at %s\n", strings.Join(c.urls, " and "))
			return c, nil
		}
		if attempt == portAttempts || !errors.Is(err, errPortTaken) {
			return nil, errors.Join(err, c.removeTemporary())
		}
	}
}

// prepare makes the directory and the certificates.
func prepare(dir string) (*ControlPlane, error) {
	c := &ControlPlane{dir: dir}
	var err error
	if dir == "" {
		c.temporary = true
		c.dir, err = os.MkdirTemp("", "bulkhead-control-plane-")
	} else if c.dir, err = filepath.Abs(dir); err == nil {
		err = os.MkdirAll(c.dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("directory for the control plane: %w", err)
	}
	if err := os.Mkdir(c.path("pki"), 0o700); err != nil {
		return nil, fmt.Errorf("a new control plane needs a directory without another one's state: %w (remove it, or name another directory)", err)
	}
	if err := c.writeCertificates(); err != nil {
		return nil, errors.Join(err, c.removeTemporary())
	}
	return c, nil
}

func (c *ControlPlane) path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// Admin returns a new configuration of a client in the group system:masters,
// whom every authorisation allows, without a client-side rate limit. It calls the
// first API server, as kubeconfigs do.
func (c *ControlPlane) Admin() *rest.Config {
	return c.config(c.urls[0], c.admin)
}

// Admins returns what Admin does for each API server; the first is Admin's.
func (c *ControlPlane) Admins() []*rest.Config {
	var configs []*rest.Config
	for _, url := range c.urls {
		configs = append(configs, c.config(url, c.admin))
	}
	return configs
}

// Stop ends the servers and removes the directory if it was a temporary
// one. It returns an error if a server had already ended by itself. Calling it
// again returns the first call's result.
func (c *ControlPlane) Stop() error {
	c.stop.Do(func() {
		c.stopErr = errors.Join(c.endServers(), c.removeTemporary())
	})
	return c.stopErr
}

// Restart ends all servers of the control plane and starts them again with their data, at the same addresses, as after an
// outage. It calls down in between. On error none of them is left.
func (c *ControlPlane) Restart(ctx context.Context, down func()) error {
	if err := c.endServers(); err != nil {
		return err
	}
	down()
	launches := c.launches
	c.launches = nil
	for i, l := range launches {
		if err := c.launch(l.binary, l.name, l.args); err != nil {
			return errors.Join(err, c.endServers())
		}
		if i != len(c.urls) {
			continue
		}
		// That was etcd and all API servers. Controllers, if there are any, end when they find them not ready.
		for _, url := range c.urls {
			if err := c.waitReady(ctx, url); err != nil {
				return errors.Join(err, c.endServers())
			}
		}
	}
	return nil
}

func (c *ControlPlane) endServers() error {
	var errs []error
	for _, p := range c.servers {
		errs = append(errs, p.Stop(0))
	}
	c.servers = nil
	return errors.Join(errs...)
}

func (c *ControlPlane) removeTemporary() error {
	if !c.temporary {
		return nil
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("remove the control plane's directory: %w", err)
	}
	return nil
}
