// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Every host's side of a pod's link has the same addresses, as the ptp CNI plugin does it.
var (
	gateway4 = netip.MustParseAddr("10.244.0.1")
	gateway6 = netip.MustParseAddr("fd00:244::1")
)

// host is a process in a network namespace of its own with a link to the node: a pod, or a
// machine outside the cluster.
type host struct {
	name  string
	addrs []netip.Addr

	cmd *exec.Cmd
	in  io.WriteCloser

	mu      sync.Mutex
	last    int
	waiting map[int]chan response // nil when the process has ended
}

// startHost starts the process, gives it its link and addresses, and routes them to it.
func startHost(name string, index int, addrs ...netip.Addr) (*host, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &host{name: name, addrs: addrs, waiting: make(map[int]chan response), cmd: exec.Command(self, "pod")}
	h.cmd.Stderr = os.Stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go h.deliver(out)
	if err := h.link(index); err != nil {
		return nil, errors.Join(fmt.Errorf("link %s: %w", name, err), h.stop())
	}
	return h, nil
}

// stop ends the process; its namespace, link and routes go with it.
func (h *host) stop() error {
	return errors.Join(h.in.Close(), h.cmd.Wait())
}

func (h *host) deliver(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var resp response
		if json.Unmarshal(lines.Bytes(), &resp) != nil {
			break
		}
		h.mu.Lock()
		if c := h.waiting[resp.ID]; c != nil {
			c <- resp
			delete(h.waiting, resp.ID)
		}
		h.mu.Unlock()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.waiting {
		close(c)
	}
	h.waiting = nil
}

// ask sends a request to the process and waits for the answer.
func (h *host) ask(ctx context.Context, req request) (string, error) {
	answer := make(chan response, 1)
	h.mu.Lock()
	if h.waiting == nil {
		h.mu.Unlock()
		return "", fmt.Errorf("%s has ended", h.name)
	}
	h.last++
	req.ID = h.last
	h.waiting[req.ID] = answer
	err := json.NewEncoder(h.in).Encode(req)
	h.mu.Unlock()
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", h.name, err)
	}
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case resp, ok := <-answer:
		switch {
		case !ok:
			return "", fmt.Errorf("%s has ended", h.name)
		case resp.Error != "":
			return "", errors.New(resp.Error)
		}
		return resp.Answer, nil
	}
}

// link makes the veth pair: veth<index> here, eth0 there.
func (h *host) link(index int) error {
	outside := fmt.Sprintf("veth%d", index)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = outside
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsPid(h.cmd.Process.Pid)}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add %s: %w", outside, err)
	}
	if err := h.configureInside(); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(pair); err != nil {
		return fmt.Errorf("set %s up: %w", outside, err)
	}
	for _, gw := range []netip.Addr{gateway4, gateway6} {
		if err := addAddress(&netlink.Handle{}, pair, gw); err != nil {
			return err
		}
	}
	for _, addr := range h.addrs {
		route := &netlink.Route{LinkIndex: pair.Index, Dst: single(addr), Scope: netlink.SCOPE_LINK}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("route %s to %s: %w", addr, outside, err)
		}
	}
	return nil
}

// configureInside sets up loopback, eth0, its addresses and the default routes in the namespace.
func (h *host) configureInside() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ns, err := netns.GetFromPid(h.cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer ns.Close()
	nl, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("netlink in namespace: %w", err)
	}
	defer nl.Close()
	var eth0 netlink.Link
	for _, name := range []string{"lo", "eth0"} {
		if eth0, err = nl.LinkByName(name); err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		if err := nl.LinkSetUp(eth0); err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
	}
	for _, addr := range h.addrs {
		if err := addAddress(nl, eth0, addr); err != nil {
			return err
		}
	}
	for _, gw := range []netip.Addr{gateway4, gateway6} {
		onLink := &netlink.Route{LinkIndex: eth0.Attrs().Index, Dst: single(gw), Scope: netlink.SCOPE_LINK}
		all := &netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: gw.AsSlice()}
		for _, route := range []*netlink.Route{onLink, all} {
			if err := nl.RouteReplace(route); err != nil {
				return fmt.Errorf("route via %s: %w", gw, err)
			}
		}
	}
	return nil
}

func addAddress(nl *netlink.Handle, link netlink.Link, addr netip.Addr) error {
	a := &netlink.Addr{IPNet: single(addr)}
	if addr.Is6() {
		a.Flags = syscall.IFA_F_NODAD
	}
	if err := nl.AddrReplace(link, a); err != nil {
		return fmt.Errorf("add %s to %s: %w", addr, link.Attrs().Name, err)
	}
	return nil
}

func single(addr netip.Addr) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}
}

// translate does for the Services what kube-proxy would do: each virtual address and port becomes
// the pod's.
func translate(ctx context.Context, services []translation) error {
	var rules strings.Builder
	rules.WriteString("table ip services {\n chain prerouting {\n  type nat hook prerouting priority dstnat;\n")
	for _, s := range services {
		fmt.Fprintf(&rules, "  ip daddr %s %s dport %d dnat to %s:%d\n", s.virtual, s.protocol, s.port, s.pod, s.targetPort)
	}
	rules.WriteString(" }\n}\n")
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

// translation is one port of a Service with one pod behind it.
type translation struct {
	virtual    string
	protocol   string // tcp or udp
	port       int32
	pod        netip.Addr
	targetPort int32
}
