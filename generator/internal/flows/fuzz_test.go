// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// FuzzDecode: no line makes the decoder panic, and what it accepts is usable.
func FuzzDecode(f *testing.F) {
	for _, line := range sampleLines(f) {
		f.Add([]byte(line))
	}
	f.Add([]byte(felix))
	f.Add([]byte(`{"flow":{"verdict":1,"IP":{"source":"::ffff:1.2.3.4","destination":"fe80::1%eth0"},"l4":{"SCTP":null}}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var rec Record
		lost, err := newDecoder().decode(line, &rec)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		if lost != nil {
			return
		}
		for _, e := range []Endpoint{rec.Source, rec.Destination} {
			if !e.Addr.IsValid() && e.Pod == "" || e.check() != nil || strings.ContainsAny(e.Namespace+e.Pod+e.Kind+e.Workload+e.Entity, "\n /<>`|\\\"'[](){}#&%$\x00") {
				t.Errorf("accepted %+v", rec)
			}
		}
		if rec.Time.Year() < 2015 {
			t.Errorf("accepted the time %s", rec.Time)
		}
		if rec.Protocol != "TCP" && rec.Protocol != "UDP" && rec.Protocol != "SCTP" {
			t.Errorf("protocol %q", rec.Protocol)
		}
	})
}

// FuzzWire: no message makes the reader panic, and it reads what the protobuf library reads.
func FuzzWire(f *testing.F) {
	for _, message := range sampleMessages(f) {
		f.Add(message)
	}
	f.Fuzz(sameAsLibrary)
}

// sampleMessages are the lines of the sample that are responses of the Observer API, as they are on the wire.
func sampleMessages(t testing.TB) (messages [][]byte) {
	t.Helper()
	for _, line := range sampleLines(t) {
		var response observer.GetFlowsResponse
		if protojson.Unmarshal([]byte(line), &response) != nil {
			continue
		}
		message, err := proto.Marshal(&response)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, message)
	}
	return messages
}

// FuzzRead: no file makes the reader panic or go on for ever, each line is counted once, and an error is one
// line that names the file.
func FuzzRead(f *testing.F) {
	lines := strings.Join(sampleLines(f), "\n")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(lines)); err != nil {
		f.Fatal(err)
	}
	if err := z.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(lines))
	f.Add(packed.Bytes())
	f.Add(packed.Bytes()[:packed.Len()/2])
	f.Add([]byte(felix + "\r\n\n{"))
	f.Fuzz(func(t *testing.T, file []byte) {
		given := uint64(0)
		stats, err := Read(bytes.NewReader(file), "f.json", 3, func(*Record) error { given++; return nil })
		if err != nil && (!strings.Contains(err.Error(), "f.json") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("error %q", err)
		}
		if stats.Malformed > 4 || given < stats.Flows || int(stats.Malformed) != len(stats.Problems) {
			t.Errorf("%+v, %d records given", stats, given)
		}
	})
}
