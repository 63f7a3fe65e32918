// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func TestFullRunsPodsAndLeavesNothing(t *testing.T) {
	needRoot(t)
	before := machine(t)
	// All that is not the default; other tests have what is.
	c, err := StartFull(t.Context(), FullOptions{Nodes: 2, CNI: Bridge, IPv6: true, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Stop() }() // its result is checked below, unless something ended us before
	client := kubernetes.NewForConfigOrDie(c.Admin())
	wait(t, "the ServiceAccount of new pods", func() bool {
		_, err := client.CoreV1().ServiceAccounts("default").Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	if err := c.Restart(t.Context(), func() {}); err != nil { // an outage that the nodes outlive
		t.Fatal(err)
	}
	other := c.Nodes[1]
	pod := runToEnd(t, client, other.Name, map[string][]string{
		"service": {"connect", "kubernetes.default:443", "--timeout=5s"}, // DNS, and a Service on the first node
		"ipv4":    {"connect", c.Nodes[0].Addrs[1].String() + ":10250", "--timeout=5s"},
		"suffix":  {"dns-suffix"},
	})
	if logs := logsOf(t, client, pod, "suffix"); !strings.Contains(logs, "default.svc.cluster.local") {
		t.Errorf("the pod's DNS suffixes are %q, want the cluster's", logs)
	}
	first, group := c.Nodes[0], c.Nodes[0].cgroup
	if out, err := first.Run(t.Context(), "hostname"); err != nil || strings.TrimSpace(string(out)) != first.Name {
		t.Errorf("host name of the node: got %q, %v", out, err)
	}
	outside := c.Outside(func() error {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(first.Addrs[0].String(), "10250"), 5*time.Second)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	if outside != nil {
		t.Errorf("reach the kubelet from outside of the cluster: %v", outside)
	}
	if err := c.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if !gone(first.Pid()) {
		t.Errorf("process %d, the node's first, lives", first.Pid())
	}
	for _, hierarchy := range hierarchies() {
		if _, err := os.Stat(filepath.Join(hierarchy, string(group))); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("control group %s in %s after stop: got %v, want none", group, hierarchy, err)
		}
	}
	if _, err := os.Stat(c.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("temporary directory after stop: got %v, want none", err)
	}
	if after := machine(t); after != before {
		t.Errorf("the machine before:\n%s\nand after:\n%s", before, after)
	}
}

// asFullChild makes this test binary run a cluster with a node in the directory it names, instead of the tests.
const asFullChild = "BULKHEAD_TEST_CLUSTER_DIR"

// fullChild prints the node's first process and then waits to be killed.
func fullChild(dir string) error {
	c, err := StartFull(context.Background(), FullOptions{Dir: dir, Log: os.Stderr})
	if err != nil {
		return err
	}
	fmt.Println(c.Nodes[0].Pid())
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, c.Stop())
}

// TestFullDiesWithItsParent kills the process that started a cluster.
func TestFullDiesWithItsParent(t *testing.T) {
	needRoot(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asFullChild+"="+t.TempDir())
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var first int
	if _, err := fmt.Fscan(stdout, &first); err != nil {
		t.Fatalf("the cluster in the child: %v", errors.Join(err, cmd.Wait()))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as asked
	wait(t, "the node to end with its parent", func() bool { return gone(first) })
	wait(t, "what it left to be swept away", func() bool {
		if err := Sweep(); err != nil {
			t.Fatal(err)
		}
		left, _ := filepath.Glob(fmt.Sprintf("%s/*/bulkhead-test-%d-*", cgroupRoot, cmd.Process.Pid))
		return len(left) == 0
	})
}

func needRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a node is made of namespaces: run this as root")
	}
}

// machine is what a cluster must not change of this machine.
func machine(t *testing.T) string {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var state strings.Builder
	for _, link := range links {
		fmt.Fprintln(&state, link.Attrs().Name)
	}
	for _, name := range []string{"vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"} {
		content, err := os.ReadFile("/proc/sys/" + name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&state, "%s: %s", name, content)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) { // others may mount what they like
		if strings.Contains(line, "bulkhead-control-plane-") {
			state.WriteString(line)
		}
	}
	return state.String()
}

// runToEnd runs a pod on the node, with a container of agnhost for each list of arguments, until all have succeeded.
func runToEnd(t *testing.T, client kubernetes.Interface, node string, containers map[string][]string) string {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "once"},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			NodeSelector:  map[string]string{corev1.LabelHostname: node},
		},
	}
	for name, args := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name, Image: Agnhost, Args: args})
	}
	if _, err := client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the pod to succeed", func() bool {
		got, err := client.CoreV1().Pods("default").Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err == nil && got.Status.Phase == corev1.PodFailed {
			t.Fatalf("the pod failed: %+v", got.Status.ContainerStatuses)
		}
		return err == nil && got.Status.Phase == corev1.PodSucceeded
	})
	return pod.Name
}

func logsOf(t *testing.T, client kubernetes.Interface, pod, container string) string {
	t.Helper()
	logs, err := client.CoreV1().Pods("default").GetLogs(pod, &corev1.PodLogOptions{Container: container}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(logs)
}
