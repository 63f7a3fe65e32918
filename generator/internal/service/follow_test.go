// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows/flowstest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

const name = "nodes.test"

// nodes are observers on loopback addresses at one port, behind one name, with certificates of it.
type nodes struct {
	*server
	dns     *flowstest.DNS
	options []grpc.ServerOption
	port    string
}

// TestFollow: nodes fail and come back, and their number changes. What each saw is read, and what is
// going on is shown.
func TestFollow(t *testing.T) {
	n := newNodes(t)
	stopFirst := n.serve(t, "127.0.0.1", "a")
	stopSecond := n.serve(t, "127.0.0.2", "b")
	n.dns.Break(true)
	n.start(t)
	n.until(t, "the lookup failed", func() bool { return n.failures(t, "lookup") > 0 })
	n.shows(t, http.StatusServiceUnavailable, "none of 0 observers")

	n.dns.Set(name, "127.0.0.1", "127.0.0.2")
	n.dns.Break(false)
	n.until(t, "both nodes answer", func() bool { return n.answering("127.0.0.1", "127.0.0.2") })
	n.until(t, "the flows of both are read", func() bool { return n.flows(t) == 2 })
	n.shows(t, http.StatusOK, "2 of 2 observers")

	stopSecond()
	n.until(t, "a failure is counted", func() bool { return n.failures(t, "stream") > 0 })
	n.until(t, "one node answers", func() bool { return n.answering("127.0.0.1") })
	n.shows(t, http.StatusOK, "1 of 2 observers")
	stopSecond = n.serve(t, "127.0.0.2", "c")
	n.until(t, "it is followed again", func() bool { return n.answering("127.0.0.1", "127.0.0.2") })
	n.until(t, "its new flow is read", func() bool { return n.flows(t) == 3 })

	// A failure has the name looked up at once, which no timer would in the time of this test.
	n.serve(t, "127.0.0.3", "d")
	n.dns.Set(name, "127.0.0.1", "127.0.0.3")
	stopSecond()
	n.until(t, "the new node answers, the old one is gone", func() bool { return n.answering("127.0.0.1", "127.0.0.3") && n.all() == 2 })
	n.until(t, "its flow is read", func() bool { return n.flows(t) == 4 })

	// A name that cannot be looked up any more takes no stream away.
	n.dns.Break(true)
	before := n.failures(t, "lookup")
	stopFirst()
	n.until(t, "the lookup failed again", func() bool { return n.failures(t, "lookup") > before })
	if !n.answering("127.0.0.3") || n.all() != 2 {
		t.Errorf("of %d observers 127.0.0.3 answers: %v; want it among 2", n.all(), n.answering("127.0.0.3"))
	}
}

// TestFailureIsLogged: how long it waits is there to be read.
func TestFailureIsLogged(t *testing.T) {
	n := newNodes(t)
	var log bytes.Buffer
	n.cfg.Log = slog.New(slog.NewJSONHandler(&log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	failed, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		n.followAddress(ctx, flows.Address{Observer: name + ":" + n.port, IP: netip.MustParseAddrPort("127.0.0.1:" + n.port)}, failed)
	}()
	<-failed
	cancel()
	<-ended
	if !strings.Contains(log.String(), `"wait":"1s"`) {
		t.Errorf("the log is %s", log.String())
	}
}

func newNodes(t *testing.T) *nodes {
	t.Helper()
	ca, dns := flowstest.NewAuthority(t), flowstest.NewDNS(t)
	l := flowstest.Listen(t, "127.0.0.1:0")
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := &server{
		cfg:   Config{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Dialer: flows.Dialer{TLS: ca.Client(t, t.TempDir()), Resolver: dns.Resolver()}},
		meter: newMeter(),
	}
	s.meter.ready.Store(true)
	if s.seen, err = recall("", inventory.New(nil), s.meter); err != nil {
		t.Fatal(err)
	}
	return &nodes{server: s, dns: dns, options: ca.Server(t, name), port: port}
}

// start follows the name until the test ends, and then waits for the end of all streams.
func (n *nodes) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.follow(ctx, name+":"+n.port)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

func (n *nodes) serve(t *testing.T, addr, uuid string) (stop func()) {
	t.Helper()
	return flowstest.ServeOn(t, flowstest.Listen(t, net.JoinHostPort(addr, n.port)), n.options, flowstest.Flow(uuid))
}

func (n *nodes) until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
}

func (n *nodes) flows(t *testing.T) float64 { return n.value(t, "bulkhead_generator_flows_total") }

func (n *nodes) failures(t *testing.T, what string) float64 {
	return n.value(t, fmt.Sprintf("bulkhead_generator_observer_failures_total{observer=%q,what=%q}", name+":"+n.port, what))
}

// value is that of a metric; one that is not there yet counts as 0.
func (n *nodes) value(t *testing.T, metric string) float64 {
	t.Helper()
	_, after, found := strings.Cut(n.get("/metrics"), "\n"+metric+" ")
	if !found {
		return 0
	}
	text, _, _ := strings.Cut(after, "\n")
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func (n *nodes) all() int {
	_, all := n.meter.roster.count()
	return all
}

// answering says whether these addresses answer, and no others.
func (n *nodes) answering(addrs ...string) bool {
	metrics := n.get("/metrics")
	for _, a := range addrs {
		if !strings.Contains(metrics, fmt.Sprintf("bulkhead_generator_observer_up{address=%q,observer=%q} 1\n", net.JoinHostPort(a, n.port), name+":"+n.port)) {
			return false
		}
	}
	answering, _ := n.meter.roster.count()
	return answering == len(addrs)
}

func (n *nodes) shows(t *testing.T, code int, want string) {
	t.Helper()
	if got := n.get("/readyz"); !strings.HasPrefix(got, fmt.Sprint(code)) || !strings.Contains(got, want) {
		t.Errorf("/readyz answers %q; want %d with %q", got, code, want)
	}
}

// get returns the status code and the body.
func (n *nodes) get(path string) string {
	recorder := httptest.NewRecorder()
	n.meter.handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	return fmt.Sprintf("%d %s", recorder.Code, recorder.Body)
}
