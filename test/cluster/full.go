// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// CNI says how pods are connected to their node.
type CNI string

// The network plugins that a cluster can have.
const (
	PTP    CNI = "ptp"    // a veth pair and a route for each pod
	Bridge CNI = "bridge" // veth pairs into one bridge, cni0
)

// FullOptions says what cluster StartFull makes. The zero value is good for a test.
type FullOptions struct {
	// Dir holds the state, as that of Options, and the nodes' directories: node1, node2, ... with their logs
	// (kubelet.log, containerd.log, kube-proxy.log). Empty: a temporary directory that Stop removes.
	Dir string
	// Log receives progress, one line at a time. Nil: discarded.
	Log io.Writer
	// Nodes is how many there are, named node1, node2 and so on. The control plane runs on node1, and
	// pods may be scheduled there. 0: 1.
	Nodes int
	// CNI is the same on all nodes. Empty: PTP.
	CNI CNI
	// IPv6 gives nodes, pods and Services addresses of both versions of IP, and those of version 6 are the primary
	// ones. False: they have IPv4 addresses only.
	IPv6 bool
	// APIServerArgs are appended to kube-apiserver's flags. Nil: none.
	APIServerArgs []string
}

// Cluster is a control plane with its controllers, nodes that run pods, and DNS. What it promises about the death
// of the calling process holds for all that runs on the nodes as well.
type Cluster struct {
	*ControlPlane
	Nodes []*Node

	tools toolbox
	wire  *wire
	front *relay // of the API server, on this machine's loopback

	end    sync.Once
	endErr error
}

// StartFull builds what is missing (about 15 minutes, once), starts a cluster and returns when its nodes are ready
// and its DNS answers. It needs root, and the programs runc and iptables. ctx bounds the start only.
//
// Nothing is added to the network of this machine: the API server is reached through a port of the loopback
// address that this process listens on.
func StartFull(ctx context.Context, opts FullOptions) (*Cluster, error) {
	if opts.Nodes == 0 {
		opts.Nodes = 1
	}
	if opts.CNI == "" {
		opts.CNI = PTP
	}
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	if err := opts.Check(); err != nil {
		return nil, err
	}
	plane, err := prepare(opts.Dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{ControlPlane: plane}
	if c.tools, err = openToolbox(ctx, c.dir, opts.Log); err == nil {
		err = c.start(ctx, opts)
	}
	if err != nil {
		_ = c.Stop() // what went wrong first is in err
		return nil, err
	}
	return c, nil
}

// Check says what is wrong with the number of nodes or the CNI.
func (o FullOptions) Check() error {
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return fmt.Errorf("%d nodes: want 1 to %d", o.Nodes, maxNodes)
	}
	if o.CNI != PTP && o.CNI != Bridge {
		return fmt.Errorf("CNI %q: want %s or %s", o.CNI, PTP, Bridge)
	}
	return nil
}

// families are the versions of IP, the primary one first.
func (o FullOptions) families() []family {
	if o.IPv6 {
		return []family{ipv6, ipv4}
	}
	return []family{ipv4}
}

func (c *Cluster) start(ctx context.Context, opts FullOptions) error {
	begin := time.Now()
	say := func(what string) { fmt.Fprintf(opts.Log, "%4.1fs %s\n", time.Since(begin).Seconds(), what) }
	if err := c.makeNodes(ctx, opts.Nodes, opts.families()); err != nil {
		return err
	}
	if err := c.startPlane(ctx, opts.APIServerArgs); err != nil {
		return err
	}
	say("control plane ready at " + c.urls[0])
	if err := c.register(ctx); err != nil {
		return err
	}
	var group errgroup.Group
	for _, n := range c.Nodes {
		group.Go(func() error { return c.startDaemons(ctx, n, opts.CNI) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := c.Load(ctx, c.tools.baseImages()...); err != nil {
		return err
	}
	say("images loaded")
	if err := c.startDNS(ctx); err != nil {
		return err
	}
	if err := c.awaitNodes(ctx); err != nil {
		return err
	}
	say("nodes and DNS ready")
	return nil
}

// makeNodes makes the namespaces and connects them.
func (c *Cluster) makeNodes(ctx context.Context, count int, families []family) (err error) {
	if c.wire, err = newWire(); err != nil {
		return err
	}
	for i := 1; i <= count; i++ {
		group, err := newCgroup()
		if err != nil {
			return err
		}
		n, err := startNode(ctx, newNode(i, c.dir, families, group), count, c.tools.nodeinit)
		if err != nil {
			return errors.Join(err, group.remove(time.Second))
		}
		c.Nodes = append(c.Nodes, n)
	}
	for _, n := range c.Nodes {
		if err := c.wire.connect(n, c.Nodes); err != nil {
			return err
		}
	}
	return nil
}

// Outside runs fn on a thread in the network outside of the cluster, whose nodes are reached from there by their
// addresses. Sockets opened there stay there.
func (c *Cluster) Outside(fn func() error) error { return c.wire.do(fn) }

// Stop ends everything on the nodes and then the control plane, and removes the directory if it was a
// temporary one. It returns an error if a server had already ended by itself. Calling it again returns the
// first call's result.
func (c *Cluster) Stop() error {
	c.end.Do(func() { c.endErr = c.stopAll() })
	return c.endErr
}

func (c *Cluster) stopAll() error {
	var errs []error
	errs = append(errs, c.endServers())
	if c.front != nil {
		c.front.close()
	}
	for _, n := range c.Nodes {
		errs = append(errs, n.stop())
	}
	if c.wire != nil {
		c.wire.close()
	}
	return errors.Join(append(errs, c.removeTemporary())...)
}

// startPlane starts the control plane on the first node.
func (c *Cluster) startPlane(ctx context.Context, extra []string) (err error) {
	home := c.Nodes[0]
	c.node = home
	c.inside = "https://" + net.JoinHostPort(home.Addrs[0].String(), apiPort)
	c.front, err = newRelay(func() (net.Conn, error) {
		return home.DialContext(context.Background(), "tcp", net.JoinHostPort(home.Addrs[0].String(), apiPort))
	})
	if err != nil {
		return err
	}
	c.urls = []string{"https://" + c.front.address()}
	etcd := []string{"http://127.0.0.1:2379", "http://127.0.0.1:2380"} // the node's loopback has nobody else
	if err := c.launch(c.tools.path("etcd"), "etcd", etcdArgs(c.path("etcd"), etcd[0], etcd[1])); err != nil {
		return err
	}
	args := append(c.nodeArgs(etcd[0], home), extra...)
	if err := c.launch(c.tools.path("kube-apiserver"), "kube-apiserver", args); err != nil {
		return err
	}
	if err := c.waitReady(ctx, c.urls[0]); err != nil {
		return err
	}
	for name, args := range map[string][]string{"kube-controller-manager": c.controllerArgs(), "kube-scheduler": nil} {
		if err := c.launchController(name, args); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) launchController(name string, args []string) error {
	kubeconfig := c.path(name + ".kubeconfig")
	if err := c.writeKubeconfig(kubeconfig, c.inside, "system:"+name); err != nil {
		return err
	}
	args = append(args,
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--leader-elect=false", "--bind-address=127.0.0.1")
	return c.launch(c.tools.path(name), name, args)
}

func (c *Cluster) controllerArgs() []string {
	return []string{
		"--service-account-private-key-file=" + c.path("pki", "serviceaccount.key"),
		"--root-ca-file=" + c.path("pki", "ca.crt"),
		"--use-service-account-credentials",
	}
}

// InsideKubeconfig writes a kubeconfig as Kubeconfig does, for a program that runs on a node.
func (c *Cluster) InsideKubeconfig(user string, groups ...string) (string, error) {
	groups = append(serviceAccountGroups(user), groups...)
	path := filepath.Join(c.dir, "inside-"+kubeconfigName(user, groups))
	return path, c.writeKubeconfig(path, c.inside, user, groups...)
}
