// SPDX-License-Identifier: Apache-2.0

package reject

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// Tests run in network and mount namespaces of their own.
func TestMain(m *testing.M) { node.Main(m, nil, nil) }

// A lab is a node with two pods, and Services of which port 80 leads to the server's port 8080, and port 81 to the
// node's own.
type lab struct {
	*dataplane.Dataplane
	client, server *node.Pod
}

var (
	serverAddrs  = []string{"10.99.1.2", "fd99:1::2"}
	serviceAddrs = []string{"10.96.0.80", "fd96::80"}
)

const (
	patience = 300 * time.Millisecond // for what must not come
	generous = 5 * time.Second        // for what must come
)

func newLab(t *testing.T) *lab {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bpf")
	d, err := dataplane.Open(dataplane.Config{PinPath: path, Connections: 4096, Flows: 1024})
	if errors.Is(err, dataplane.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
	})
	l := &lab{d, node.NewPod(t, "client", "10.99.1.1", "fd99:1::1"), node.NewPod(t, "server", serverAddrs...)}
	for _, pod := range []*node.Pod{l.client, l.server} {
		if err := d.Attach(pod.Ifindex); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.server.Do(func() error { return listen(t) }); err != nil {
		t.Fatal(err)
	}
	node.Translate(t, serviceAddrs, serverAddrs)
	return l
}

func listen(t *testing.T) error {
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		return err
	}
	t.Cleanup(func() { listener.Close() })
	go node.EchoStreams(listener)
	return nil
}

// load lets nothing through to the isolated pod or from it; empty: no pod is isolated.
func (l *lab) load(t *testing.T, mode plan.Mode, isolated string) {
	t.Helper()
	objs := netpol.Objects{}
	in := plan.Input{NodeAddrs: []netip.Addr{node.Gateway4, node.Gateway6}}
	for name, pod := range map[string]*node.Pod{"client": l.client, "server": l.server} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": name}}}
		for _, addr := range pod.Addrs {
			p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: addr.String()})
		}
		objs.Pods = append(objs.Pods, p)
		in.Endpoints = append(in.Endpoints, plan.EndpointInput{
			Pod: types.NamespacedName{Namespace: "shop", Name: name}, Ifindex: pod.Ifindex, Mode: mode, Reject: true,
		})
	}
	deny := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "deny"}}
	deny.Spec.PodSelector.MatchLabels = map[string]string{"app": isolated}
	deny.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	objs.Policies = append(objs.Policies, deny)
	for _, addr := range serviceAddrs {
		in.ServiceAddrs = append(in.ServiceAddrs, netip.MustParseAddr(addr))
	}
	snap, err := netpol.Compile(objs)
	if err != nil {
		t.Fatal(err)
	}
	w, err := plan.Build(snap, in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Load(w); err != nil {
		t.Fatal(err)
	}
}

// respond answers until the test, or the function returned, ends it.
func (l *lab) respond(t *testing.T) (r *Responder, stop func()) {
	t.Helper()
	r, err := New(l.Dataplane, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return r, stop
}

// failure is how a connection of the client fails; os.ErrDeadlineExceeded if nothing is heard within some time.
func (l *lab) failure(t *testing.T, network, addr string, port int, wait time.Duration) error {
	t.Helper()
	var conn net.Conn
	err := l.client.Do(func() (err error) {
		conn, err = net.DialTimeout(network, net.JoinHostPort(addr, fmt.Sprint(port)), wait)
		return err
	})
	if err != nil {
		if os.IsTimeout(err) {
			return os.ErrDeadlineExceeded
		}
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 5))
	return err
}

// denials are connections of the client that are denied.
var denials = []struct {
	what     string
	isolated string
	addrs    []string
	port     int
}{
	{"egress", "client", serverAddrs, 8080},
	{"egress by a Service", "client", serviceAddrs, 80},
	{"egress to the node by a Service", "client", serviceAddrs, 81},
	{"ingress", "server", serverAddrs, 8080},
	{"ingress by a Service", "server", serviceAddrs, 80},
}

// refusalUDP is what a program is told that sends a denied datagram, by family.
var refusalUDP = []error{unix.EHOSTUNREACH, unix.EACCES}

func TestDeniedConnectionsFailAtOnce(t *testing.T) {
	checkFailures(t, newLab(t))
}

// Behind a bridge, what is forwarded comes from the bridge, and the answer goes to the pod's veth all the same.
func TestDeniedConnectionsFailBehindABridge(t *testing.T) {
	l := newLab(t)
	node.NewBridge(t, "pods", l.client, l.server)
	checkFailures(t, l)
}

func checkFailures(t *testing.T, l *lab) {
	t.Helper()
	r, stop := l.respond(t)
	for _, row := range denials {
		l.load(t, plan.Enforce, row.isolated)
		for family, addr := range row.addrs {
			if err := l.failure(t, "tcp", addr, row.port, generous); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("%s: TCP to %s: %v", row.what, addr, err)
			}
			if err := l.failure(t, "udp", addr, row.port, generous); !errors.Is(err, refusalUDP[family]) {
				t.Errorf("%s: UDP to %s: %v", row.what, addr, err)
			}
		}
	}
	stop()
	if c := r.Counts(); c.Answered < 20 || c.Failed > 0 || c.Late > 0 {
		t.Errorf("counted %+v", c)
	}
}

// With nobody to answer, denied connections run into time-outs.
func TestSilentWithoutAgent(t *testing.T) {
	l := newLab(t)
	_, stop := l.respond(t)
	stop()
	for _, row := range denials {
		l.load(t, plan.Enforce, row.isolated)
		for _, network := range []string{"tcp", "udp"} {
			if err := l.failure(t, network, row.addrs[0], row.port, patience); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %s: %v", row.what, network, err)
			}
		}
	}
	// The next one does not answer what was denied long ago.
	r, _ := l.respond(t)
	for deadline := time.Now().Add(generous); r.Counts().Late == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("counted %+v", r.Counts())
		}
	}
}

// A connection that is not allowed any more is reset with its next packet.
func TestRevokedConnectionsAreReset(t *testing.T) {
	l := newLab(t)
	l.respond(t)
	for _, addr := range []string{serverAddrs[0], serverAddrs[1], serviceAddrs[0], serviceAddrs[1]} {
		l.load(t, plan.Enforce, "")
		port := "8080"
		if addr == serviceAddrs[0] || addr == serviceAddrs[1] {
			port = "80"
		}
		var conn net.Conn
		err := l.client.Do(func() (err error) {
			conn, err = net.DialTimeout("tcp", net.JoinHostPort(addr, port), generous)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		l.load(t, plan.Enforce, "client")
		if err := conn.SetDeadline(time.Now().Add(generous)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 5)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// Mode audit drops nothing, so there is nothing to answer.
func TestAuditAnswersNothing(t *testing.T) {
	l := newLab(t)
	r, _ := l.respond(t)
	for _, row := range denials {
		l.load(t, plan.Audit, row.isolated)
		if row.port == 81 { // nobody listens there
			continue
		}
		for _, addr := range row.addrs {
			if err := l.failure(t, "tcp", addr, row.port, generous); err != nil {
				t.Errorf("%s: %v", row.what, err)
			}
		}
	}
	if c := r.Counts(); c != (Counts{}) {
		t.Errorf("counted %+v", c)
	}
}
