// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netns"

	"github.com/bulkhead-dev/bulkhead/test/node"
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
	if err := h.connect(fmt.Sprintf("veth%d", index)); err != nil {
		return nil, errors.Join(fmt.Errorf("connect %s: %w", name, err), h.stop())
	}
	return h, nil
}

func (h *host) connect(hostIf string) error {
	ns, err := netns.GetFromPid(h.cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("its network namespace: %w", err)
	}
	defer ns.Close()
	_, err = node.Connect(hostIf, ns, h.addrs...)
	return err
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
