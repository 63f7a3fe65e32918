// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"bytes"
	"compress/gzip"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

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

// FuzzLine: what is read of a line in the usual form is what is read of it as one of any form.
func FuzzLine(f *testing.F) {
	for _, line := range sampleLines(f) {
		f.Add([]byte(line))
		f.Add([]byte(strings.ReplaceAll(line, ":", " : ")))
	}
	for _, part := range []string{
		`"source":{"labels":["a=b"],"workloads":[{"kind":"Job","name":"a"},1]}`, `"source":{"labels":[],"labels":["reserved:world"]}`, `"node_name":""`,
		`"verdict":"DROPPED"`, `"Summary":[{},[],-1.5e3,true,false,null,"a"]`, `"Summary":[,]`, `"Summary":-`, `"Summary":nul`, `"nodeName":"b"`,
		`"source_names":["a.example"],"destination_service":{"name":"a","namespace":"b"}`, `"l4":{"TCP":{"flags":{"SYN":true}}}`,
	} {
		f.Add([]byte(`{"flow":{"time":"2026-11-20T10:00:00.5Z","verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"2001:db8::2"},"l4":{"UDP":{"source_port":1}},` + part + `},"node_name":"a"}`))
	}
	f.Fuzz(sameInAnyForm)
}

// TestLine: the same with each byte of the sample's lines left out, and put in elsewhere. Whole lines are in the usual form.
func TestLine(t *testing.T) {
	usual := 0
	for n, line := range sampleLines(t) {
		if newDecoder().wire.readLine([]byte(line)) {
			usual++
		}
		for i := range line {
			sameInAnyForm(t, []byte(line[:i]+line[i+1:]))
			sameInAnyForm(t, []byte(line[:i]+string(`"{}[]:,\ 0-t`[(n+i)%12])+line[i:]))
		}
	}
	if usual < 30 {
		t.Errorf("only %d lines of the sample are read in the usual form", usual)
	}
}

// sameInAnyForm compares what is read of a line in the usual form, if it is of that.
func sameInAnyForm(t *testing.T, line []byte) {
	t.Helper()
	var got, want Record
	d := newDecoder()
	if !d.wire.readLine(line) {
		return
	}
	gotErr, ok := d.usual(&got)
	if !ok {
		return
	}
	lost, wantErr := d.parse(line, &want)
	if lost != nil || gotErr != wantErr {
		t.Errorf("%s: %v, by any form %v", line, gotErr, wantErr)
	}
	switch gotErr {
	case nil:
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", line, got, want)
		}
	case ignoredICMP: // then the ends are told
		if !reflect.DeepEqual(got.Source, want.Source) || !reflect.DeepEqual(got.Destination, want.Destination) {
			t.Errorf("%s:\n got %+v\nwant %+v", line, got, want)
		}
	}
}

// FuzzUsual: a time or an address in the usual form is what the standard library reads.
func FuzzUsual(f *testing.F) {
	for _, text := range []string{"2026-11-20T10:00:00Z", "2024-02-29T23:59:59.123456789Z", "2026-02-30T00:00:00Z", "2026-11-20T10:00:60Z", "2026-11-20T10:00:00.Z", "10.0.0.1", "10.00.0.1", "256.1.1.1", "1.2.3", "1.2.3.4.5"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if seconds, nanos, ok := newDecoder().usualTime(text); ok {
			if want, err := parseTime(text); err != nil || !want.Equal(time.Unix(seconds, nanos)) {
				t.Errorf("time %q: %d.%09d, want %v, %v", text, seconds, nanos, want, err)
			}
		}
		if got, ok := usualAddress(text); ok {
			if want, err := netip.ParseAddr(string(text)); err != nil || got != want {
				t.Errorf("address %q: %v, want %v, %v", text, got, want, err)
			}
		}
	})
}
