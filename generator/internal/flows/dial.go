// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/util/wait"
)

// dialTimeout bounds how long an observer may take to answer at all, and a name to be resolved.
const dialTimeout = 10 * time.Second

// keepAlive finds out within 75 seconds that a node is gone that could not say so.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4}

// Dialer reaches observers. The zero value does so in plain text.
type Dialer struct {
	TLS TLS
	// Resolver finds the addresses of names; nil: the system's.
	Resolver *net.Resolver
	// Options are for all that is received.
	Options []Option
	// Backoff is how often and when Observe tries again; zero: five times, after 1, 2, 4, 8 and 16 s.
	Backoff wait.Backoff
	// Retrying is told of each time that Observe waits before it tries again; nil: nobody is.
	Retrying func(observer string, wait time.Duration, err error)
}

// Address is one address of an observer.
type Address struct {
	Observer string // host:port, as it was given
	IP       netip.AddrPort
	host     string // of Observer: the name in its certificate
}

// String is the observer as it was given, with the address if that says more.
func (a Address) String() string {
	if a.Observer == a.IP.String() {
		return a.Observer
	}
	return fmt.Sprintf("%s (%s)", a.Observer, a.IP)
}

// Check returns what is wrong with the observers' host:port or the TLS files, before anything is reached.
func (d *Dialer) Check(observers []string) error {
	for _, observer := range observers {
		if _, _, err := split(observer); err != nil {
			return err
		}
	}
	return d.TLS.Check()
}

func split(observer string) (host string, port uint16, err error) {
	host, service, err := net.SplitHostPort(observer)
	number, portErr := strconv.ParseUint(service, 10, 16)
	if err != nil || portErr != nil || host == "" || number == 0 {
		return "", 0, fmt.Errorf("--hubble %q is not host:port: give the Hubble API's, e.g. localhost:4245", observer)
	}
	return host, uint16(number), nil
}

// Resolve returns the addresses behind an observer's host:port, sorted: those of all nodes for the name of
// a headless Service. A name with both IPv4 and IPv6 addresses has those of IPv4 only, because they are
// the same observers twice. It never returns an empty list without an error.
func (d *Dialer) Resolve(ctx context.Context, observer string) ([]Address, error) {
	host, port, err := split(observer)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	found, err := d.Resolver.LookupNetIP(bounded, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("observer %s: find the addresses of its name: %w", observer, err)
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	slices.SortFunc(found, netip.Addr.Compare) // IPv4 first
	found = slices.Compact(found)
	addresses := make([]Address, 0, len(found))
	for _, ip := range found {
		if ip.Is4() == found[0].Is4() {
			addresses = append(addresses, Address{Observer: observer, IP: netip.AddrPortFrom(ip, port), host: host})
		}
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("observer %s: its name has no addresses", observer)
	}
	return addresses, nil
}

// Open asks the observer at an address for flows. It returns when the observer has answered; the
// stream goes on until ctx ends or it is closed. Certificates are read anew each time.
func (d *Dialer) Open(ctx context.Context, a Address, q Query) (_ *Stream, err error) {
	creds, err := d.TLS.credentials(a.host)
	if err != nil {
		return nil, err
	}
	// Dialling is ours for the sake of keepAlive; it also keeps the proxy that a Git server may need
	// out of the way.
	dialer := &net.Dialer{KeepAliveConfig: keepAlive}
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", address)
	}
	conn, err := grpc.NewClient("passthrough:///"+a.IP.String(), grpc.WithTransportCredentials(creds), grpc.WithContextDialer(dial))
	if err != nil {
		return nil, fmt.Errorf("observer %s: %w", a, err)
	}
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	client := observer.NewObserverClient(conn)
	// Asking for the status first tells an unreachable observer from one that has no flows.
	probe, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if _, err := client.ServerStatus(probe, &observer.ServerStatusRequest{}, grpc.WaitForReady(false)); err != nil {
		return nil, fmt.Errorf("observer %s does not answer (give the Hubble API's host:port; with TLS also --hubble-ca, and --hubble-cert and --hubble-key if it asks for them): %w", a, err)
	}
	stream, err := getFlows(ctx, conn, q)
	if err != nil {
		return nil, fmt.Errorf("get flows from observer %s: %w", a, err)
	}
	return &Stream{address: a, conn: conn, flows: stream, options: d.Options}, nil
}
