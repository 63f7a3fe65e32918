// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/types"
)

// Options say what cluster an application runs in, and how well it is observed. The zero Options are a day on three
// nodes without a fault.
type Options struct {
	Seed     uint64        // the same seed gives the same bytes
	Start    time.Time     // zero: 2026-11-16, midnight UTC
	Duration time.Duration // 0: 26 hours, so that what is nightly happens
	Nodes    int           // that run pods, beside one of the control plane; 0: 3
	IPv6     bool          // instead of IPv4
	// KubeProxy: Services' addresses become pods' in the node's network stack, after the source's side was observed.
	// Otherwise they do at the socket, and only its own events show the Service's address.
	KubeProxy bool
	// PacketLB: they do where packets leave their pod, and answers come to it from the Service's address. That is so where
	// the datapath does not translate at the socket.
	PacketLB bool
	// Tunnel: packets to other nodes are in packets between the nodes, and a node talks to pods of others from an address of its
	// own range for pods.
	Tunnel bool
	// Mistracked is the part of TCP connections, of 1, of which connection tracking takes an answer that comes late for a connection of
	// its own, in the other direction: it had forgotten the true one.
	Mistracked float64
	DNSPort    uint16 // of the DNS pods; 0: 53
	// Rollouts of each Deployment, StatefulSet and DaemonSet; 0: none. A Deployment is also scaled up for an hour as
	// often.
	Rollouts int
	Rate     float64 // multiplies how often each edge is used; 0: 1
	// AllPoints: also what is observed as it leaves pods, where nobody knows the direction yet.
	AllPoints bool
	Noise     Noise
	Loss      Loss
	// Duplicates is the part of flows, of 1, that is printed twice; Disorder bounds how late one is printed; Skew
	// bounds how wrong a node's clock is.
	Duplicates float64
	Disorder   time.Duration
	Skew       time.Duration
}

// Noise is what is no application's connection. The zero Noise has none but DNS, which every pod asks, and probes.
type Noise struct {
	Denied int // attempts that a policy refused, which are reported as drops
	Scans  int // one pod tries 40 ports of every other, and nothing stops it
	ICMP   int // pings
	Strays int // connections of a person with a shell in a pod, each once, to a port that is open
	// Strangers are clients outside who come once, each with an address of its own; Hairpins are connections of a pod to
	// itself, through its Service.
	Strangers, Hairpins int
}

// Loss is what observers miss.
type Loss struct {
	Rate       float64 // of all flows, of 1, without a report of it
	Handshakes bool    // no flow of a connection's opening is reported: it is older than the observation
	// BusyNode: the first node loses 84 % of its flows, and reports how many.
	BusyNode bool
}

func (o Options) withDefaults() Options {
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 11, 16, 0, 0, 0, 0, time.UTC)
	}
	if o.Duration == 0 {
		o.Duration = 26 * time.Hour
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Rate == 0 {
		o.Rate = 1
	}
	if o.DNSPort == 0 {
		o.DNSPort = 53
	}
	return o
}

func (o Options) check() error {
	for name, part := range map[string]float64{"loss": o.Loss.Rate, "duplicates": o.Duplicates, "mistracked": o.Mistracked} {
		if part < 0 || part > 1 {
			return fmt.Errorf("%s: %v is no part of 1", name, part)
		}
	}
	if o.Rate < 0 || o.Rollouts < 0 {
		return fmt.Errorf("rate %v, %d rollouts: want no less than 0", o.Rate, o.Rollouts)
	}
	if o.KubeProxy && o.PacketLB {
		return errors.New("translation of Services: by kube-proxy, or where packets leave their pod: not both")
	}
	const mostNodes, most = 100, 31 * 24 * time.Hour
	if o.Nodes < 1 || o.Nodes > mostNodes {
		return fmt.Errorf("%d nodes: want 1 to %d", o.Nodes, mostNodes)
	}
	if o.Duration < time.Minute || o.Duration > most {
		return fmt.Errorf("duration %s: want a minute to %s", o.Duration, most)
	}
	return nil
}

// stream is a source of random numbers of its own for each purpose, so that more of one thing does not change another.
func (o Options) stream(purpose ...string) *rand.Rand {
	return rand.New(rand.NewPCG(o.Seed, digest(purpose...)))
}

func digest(words ...string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(strings.Join(words, "\x00")))
	return h.Sum64()
}

// uid is the same for the same object.
func uid(words ...string) types.UID {
	r := rand.New(rand.NewPCG(digest(words...), 0))
	return types.UID(newUUID(r))
}

func newUUID(r *rand.Rand) string {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, as RFC 9562 has it
	return uuid.UUID(b).String()
}

// templateHash writes a random part of a name in the letters of a ReplicaSet's: it is a number, and these are its digits.
func templateHash(random string) string {
	const letters = "456789bcdf"
	b := []byte(random)
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}

// suffix is a random part of a name, of the letters that Kubernetes uses.
func suffix(r *rand.Rand, length int) string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	b := make([]byte, length)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}
