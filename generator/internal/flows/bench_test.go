// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
)

// BenchmarkJSON reads JSON lines, each flow with a uuid of its own.
func BenchmarkJSON(b *testing.B) { benchmarkRead(b, strings.Join(sampleLines(b), "\n")) }

// BenchmarkCalico reads Felix's flow logs.
func BenchmarkCalico(b *testing.B) { benchmarkRead(b, strings.Repeat(felix+"\n", 30)) }

func benchmarkRead(b *testing.B, lines string) {
	input := []byte(strings.Repeat(lines+"\n", 300))
	flows := uint64(0)
	before := cpuSeconds(b)
	b.SetBytes(int64(len(input)))
	b.ReportAllocs()
	for b.Loop() {
		stats, err := Read(bytes.NewReader(input), "flows", 0, func(*Record) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		flows += stats.Flows
	}
	b.ReportMetric(float64(flows)/b.Elapsed().Seconds(), "flows/s")
	b.ReportMetric(float64(flows)/(cpuSeconds(b)-before), "flows/core-s")
}

// cpuSeconds is the time of all cores that the process has used, which other processes do not change.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkProtobuf reads responses as they come over gRPC, from their bytes.
func BenchmarkProtobuf(b *testing.B) {
	wire := sampleMessages(b)
	b.ReportAllocs()
	var (
		stats Stats
		rec   Record
		d     = newDecoder()
		i     = 0
	)
	before := cpuSeconds(b)
	for b.Loop() {
		if err := stats.receive(d, wire[i%len(wire)], &rec, func(*Record) error { return nil }); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "flows/s")
	b.ReportMetric(float64(b.N)/(cpuSeconds(b)-before), "flows/core-s")
}
