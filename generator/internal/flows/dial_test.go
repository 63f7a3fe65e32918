// SPDX-License-Identifier: Apache-2.0

package flows_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows/flowstest"
)

// quick is a Backoff for tests.
var quick = wait.Backoff{Duration: time.Millisecond, Steps: 5}

func TestObserve(t *testing.T) {
	addr := flowstest.Serve(t, flowstest.Flow("a"), flowstest.Lost(7), flowstest.Flow("b"))
	var (
		dialer flows.Dialer
		stats  flows.Stats
	)
	ids := map[uint64]bool{}
	err := dialer.Observe(t.Context(), addr, flows.Query{}, &stats, func(r *flows.Record) error {
		ids[r.ID] = true
		return nil
	})
	if err != nil || stats.Flows != 2 || stats.Lost != 7 || len(ids) != 2 {
		t.Errorf("%+v, %d ids, %v", stats, len(ids), err)
	}
	stop := errors.New("enough")
	if err := dialer.Observe(t.Context(), addr, flows.Query{}, &stats, func(*flows.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the consumer's error became %v", err)
	}
}

// TestObserveEveryAddress: one name, two nodes, and each has to prove that it is the name's.
func TestObserveEveryAddress(t *testing.T) {
	const name = "nodes.test"
	ca := flowstest.NewAuthority(t)
	first := flowstest.Listen(t, "127.0.0.1:0")
	_, port, err := net.SplitHostPort(first.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	flowstest.ServeOn(t, first, ca.Server(t, name), flowstest.Flow("a"), flowstest.Lost(1))
	flowstest.ServeOn(t, flowstest.Listen(t, "127.0.0.2:"+port), ca.Server(t, name), flowstest.Flow("b"), flowstest.Lost(2))
	dns := flowstest.NewDNS(t)
	dns.Set(name, "127.0.0.1", "127.0.0.2", "::1") // the last is one of them once more
	observe := func(files flows.TLS) (stats flows.Stats, err error) {
		dialer := flows.Dialer{TLS: files, Resolver: dns.Resolver(), Backoff: quick}
		err = dialer.Observe(t.Context(), name+":"+port, flows.Query{}, &stats, func(*flows.Record) error { return nil })
		return stats, err
	}
	known := ca.Client(t, t.TempDir())
	if stats, err := observe(known); err != nil || stats.Flows != 2 || stats.Lost != 3 {
		t.Errorf("got %+v, %v; want the 2 flows and 3 lost ones of both nodes", stats, err)
	}
	nameless, misnamed := known, known
	nameless.CertFile, nameless.KeyFile, misnamed.ServerName = "", "", "other.test"
	stranger := flowstest.NewAuthority(t).Client(t, t.TempDir())
	otherCA := known
	otherCA.CAFile = stranger.CAFile
	otherCert := stranger
	otherCert.CAFile = known.CAFile
	// What a refused client hears depends on whether it is still writing when the server hangs up.
	for name, tt := range map[string]struct {
		files flows.TLS
		want  string
	}{
		"wrong authority":                {otherCA, "certificate signed by unknown authority"},
		"wrong name":                     {misnamed, "not other.test"},
		"no certificate":                 {nameless, "--hubble-cert"},
		"certificate of somebody else's": {otherCert, "--hubble-cert"},
		"plain text":                     {flows.TLS{}, "--hubble-ca"},
	} {
		stats, err := observe(tt.files)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "nodes.test:"+port+" (127.0.0.1:"+port+") does not answer") || stats.Flows > 0 {
			t.Errorf("%s: %+v, %v; want no flow and an error of that observer with %q", name, stats, err, tt.want)
		}
	}
}

func TestRotatedFilesAreReadAgain(t *testing.T) {
	ca, dir := flowstest.NewAuthority(t), t.TempDir()
	l := flowstest.Listen(t, "127.0.0.1:0")
	flowstest.ServeOn(t, l, ca.Server(t, "node.test"), flowstest.Flow("a"))
	dialer := flows.Dialer{TLS: flowstest.NewAuthority(t).Client(t, dir), Backoff: quick}
	dialer.TLS.ServerName = "node.test"
	observe := func() error {
		return dialer.Observe(t.Context(), l.Addr().String(), flows.Query{}, &flows.Stats{}, func(*flows.Record) error { return nil })
	}
	if err := observe(); err == nil {
		t.Error("an authority that is not known was believed")
	}
	ca.Client(t, dir)
	if err := observe(); err != nil {
		t.Errorf("after the files were replaced: %v", err)
	}
}

func TestResolve(t *testing.T) {
	dns := flowstest.NewDNS(t)
	dns.Set("two.test", "192.0.2.2", "192.0.2.1", "2001:db8::1")
	dns.Set("six.test", "2001:db8::2", "2001:db8::1")
	dns.Set("none.test")
	dialer := flows.Dialer{Resolver: dns.Resolver()}
	for observer, want := range map[string][]string{
		"two.test:1":         {"192.0.2.1:1", "192.0.2.2:1"},
		"six.test:2":         {"[2001:db8::1]:2", "[2001:db8::2]:2"},
		"192.0.2.7:3":        {"192.0.2.7:3"},
		"[::ffff:1.2.3.4]:4": {"1.2.3.4:4"},
	} {
		addresses, err := dialer.Resolve(t.Context(), observer)
		var got []string
		for _, a := range addresses {
			got = append(got, a.IP.String())
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", observer, got, err, want)
		}
	}
	for observer, want := range map[string]string{
		"none.test:1":  "no such host",
		"other.test:1": "no such host",
		"nodes.test":   "not host:port",
		"a:0":          "not host:port",
		"a:http":       "not host:port",
		":4245":        "not host:port",
	} {
		if addresses, err := dialer.Resolve(t.Context(), observer); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), observer) {
			t.Errorf("%s: %v, %v; want an error with that and %q", observer, addresses, err, want)
		}
	}
}

func TestWrongTLSFiles(t *testing.T) {
	dir := t.TempDir()
	good := flowstest.NewAuthority(t).Client(t, dir)
	other := flowstest.NewAuthority(t).Client(t, t.TempDir())
	none, junk := filepath.Join(dir, "none"), filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := good.Check(); err != nil {
		t.Errorf("good files: %v", err)
	}
	for want, wrong := range map[string]flows.TLS{
		"need --hubble-ca":                    {CertFile: good.CertFile, KeyFile: good.KeyFile},
		"--hubble-server-name need":           {ServerName: "a"},
		"go together":                         {CAFile: good.CAFile, CertFile: good.CertFile},
		"--hubble-ca: open " + none:           {CAFile: none},
		junk + " holds no PEM certificate":    {CAFile: junk},
		"--hubble-cert " + none:               {CAFile: good.CAFile, CertFile: none, KeyFile: good.KeyFile},
		"--hubble-key " + junk:                {CAFile: good.CAFile, CertFile: good.CertFile, KeyFile: junk},
		"private key does not match":          {CAFile: good.CAFile, CertFile: good.CertFile, KeyFile: other.KeyFile},
		"failed to find any PEM data in cert": {CAFile: good.CAFile, CertFile: junk, KeyFile: good.KeyFile},
	} {
		if err := wrong.Check(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v; want one line with %q", wrong, err, want)
		}
	}
}
