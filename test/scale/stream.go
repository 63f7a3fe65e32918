// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"
)

// stream prints flows. They are put together from parts that are printed once, because it shares the machine
// with the program that is measured.
type stream struct {
	connections []connection
	pods        []printed
	popular     *rand.Zipf
	random      *rand.Rand
	line        []byte
}

// printed is what flows say of a pod.
type printed struct {
	near, far string // to the observer of the pod's own node, which alone knows its owner, and to others
	addr      string
	node      string
}

func newStream() *stream {
	s := &stream{connections: connections(), random: rand.New(rand.NewPCG(2, 2))}
	s.popular = rand.NewZipf(s.random, 1.1, 1, uint64(len(s.connections)-1))
	for p := range pod(namespaces * workloads * replicas) {
		far := fmt.Sprintf(farEnd, 16384+p.workload(), p.namespace(), p.app(), p.name())
		near := fmt.Sprintf(`{"ID":%d,%s,"workloads":[{"name":"%s","kind":"Deployment"}]}`, 1+int(p)%60000, far, p.app())
		s.pods = append(s.pods, printed{near, "{" + far + "}", p.addr(), nodeName(p.node())})
	}
	return s
}

const farEnd = `"identity":%[1]d,"cluster_name":"default","namespace":"%[2]s","labels":[` +
	`"k8s:app.kubernetes.io/instance=%[2]s","k8s:app.kubernetes.io/name=%[3]s",` +
	`"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=%[2]s","k8s:io.cilium.k8s.policy.cluster=default",` +
	`"k8s:io.cilium.k8s.policy.serviceaccount=default","k8s:io.kubernetes.pod.namespace=%[2]s"],"pod_name":"%[4]s"`

// begin is when the first flow was observed. The last one was, a day later.
var begin = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

// write prints so many flows, as hubble observe -o json does. Every other one is of the next connection, so that
// each is seen; of the rest, few connections have most. The same number gives the same bytes.
func (s *stream) write(out io.Writer, flows int) error {
	buffered := bufio.NewWriterSize(out, 1<<18)
	for i := range flows {
		next := uint64(i/2) % uint64(len(s.connections))
		if i%2 == 1 {
			next = s.popular.Uint64()
		}
		at := begin.Add(time.Duration(float64(24*time.Hour) * float64(i) / float64(flows)))
		if _, err := buffered.Write(s.flow(s.connections[next], i, at)); err != nil {
			return err
		}
	}
	return buffered.Flush()
}

// flow is the line of one packet of a connection: of its opening, or of an answer.
func (s *stream) flow(c connection, i int, at time.Time) []byte {
	random := s.random.Uint64()
	from := &s.pods[c.from*replicas+int(random%replicas)]
	ends := [2]end{{from.addr, from.near, uint16(32768 + random>>8&0x3fff)}, {"", `{"identity":2,"labels":["reserved:world"]}`, c.port}}
	node := from.node
	if c.addr != 0 {
		ends[1].addr = fmt.Sprintf("198.18.%d.%d", c.addr>>8, c.addr&255)
	} else {
		to := &s.pods[c.to*replicas+int(random>>32%replicas)]
		ends[1].addr, ends[1].text = to.addr, to.far
		if c.ingress {
			ends[0].text, ends[1].text, node = from.far, to.near, to.node
		}
	}
	state := &states[random>>60&1]
	if state.reply {
		ends[0], ends[1] = ends[1], ends[0]
	}
	direction := `"EGRESS"`
	if c.ingress {
		direction = `"INGRESS"`
	}
	b := append(s.line[:0], `{"flow":{"time":"`...)
	b = at.AppendFormat(b, time.RFC3339Nano)
	b = appendID(append(b, `","uuid":"`...), uint64(i), random)
	b = append(append(b, `","verdict":"FORWARDED","IP":{"source":"`...), ends[0].addr...)
	b = append(append(b, `","destination":"`...), ends[1].addr...)
	b = strconv.AppendUint(append(b, `","ipVersion":"IPv4"},"l4":{"TCP":{"source_port":`...), uint64(ends[0].port), 10)
	b = strconv.AppendUint(append(b, `,"destination_port":`...), uint64(ends[1].port), 10)
	b = append(append(b, state.flags...), ends[0].text...)
	b = append(append(b, `,"destination":`...), ends[1].text...)
	b = append(append(b, `,"Type":"L3_L4","node_name":"`...), node...)
	b = append(append(b, `","event_type":{"type":4},"traffic_direction":`...), direction...)
	b = append(append(b, state.rest...), node...)
	b = at.AppendFormat(append(b, `","time":"`...), time.RFC3339Nano)
	s.line = append(b, "\"}\n"...)
	return s.line
}

// end of a packet.
type end struct {
	addr, text string
	port       uint16
}

// states of a connection that packets are of.
var states = [2]struct {
	reply       bool
	flags, rest string
}{
	{
		false, `,"flags":{"SYN":true}}},"source":`,
		`,"trace_observation_point":"TO_ENDPOINT","trace_reason":"NEW","is_reply":false,"Summary":"TCP Flags: SYN"},"node_name":"`,
	},
	{
		true, `,"flags":{"PSH":true,"ACK":true}}},"source":`,
		`,"trace_observation_point":"TO_ENDPOINT","trace_reason":"REPLY","is_reply":true,"Summary":"TCP Flags: ACK, PSH"},"node_name":"`,
	},
}

// appendID appends a UUID that no other flow has.
func appendID(b []byte, i, random uint64) []byte {
	const hex = "0123456789abcdef"
	for n := range 32 {
		switch n {
		case 8, 12, 16, 20:
			b = append(b, '-')
		}
		nibble := random >> (4 * (n & 15))
		if n >= 16 {
			nibble = i >> (4 * (31 - n))
		}
		b = append(b, hex[nibble&15])
	}
	return b
}
