// SPDX-License-Identifier: Apache-2.0

package names_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/names"
)

// answerTo answers with records, written as "name ttl target": an address, or the name that it stands for.
func answerTo(t testing.TB, name string, records ...string) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{Response: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	for _, r := range records {
		m.Answers = append(m.Answers, resource(t, r))
	}
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func resource(t testing.TB, text string) dnsmessage.Resource {
	t.Helper()
	var name, target string
	r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Class: dnsmessage.ClassINET}}
	if _, err := fmt.Sscan(text, &name, &r.Header.TTL, &target); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	r.Header.Name = dnsmessage.MustNewName(name)
	switch addr, err := netip.ParseAddr(target); {
	case err != nil:
		r.Body = &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(target)}
	case addr.Is4():
		r.Body = &dnsmessage.AResource{A: addr.As4()}
	default:
		r.Body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
	}
	return r
}

func TestParse(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 49)+".", 5)
	for _, c := range []struct{ question, records, want string }{
		{"example.com.", "example.com. 30 192.0.2.1", "example.com [192.0.2.1] 30s"},
		{"ExAmple.COM.", "exAMple.com. 30 192.0.2.1", "example.com [192.0.2.1] 30s"},
		{"example.com.", "example.com. 30 2001:db8::1, example.com. 10 2001:db8::2, example.com. 60 2001:db8::1", "example.com [2001:db8::1 2001:db8::2] 10s"},
		{"example.com.", "example.com. 4294967295 ::ffff:192.0.2.1", "example.com [192.0.2.1] 1193046h28m15s"},
		{"_a-1.b_c.", "_a-1.b_c. 0 192.0.2.1", "_a-1.b_c [192.0.2.1] 0s"},
		{long, long + " 1 192.0.2.1", strings.TrimSuffix(long, ".") + " [192.0.2.1] 1s"},
		// Aliases in any order; the shortest time counts.
		{"a.test.", "c.test. 30 192.0.2.1, b.test. 5 c.test., A.test. 30 B.test.", "a.test [192.0.2.1] 5s"},
		{"a.test.", "a.test. 30 b.test., b.test. 30 a.test., a.test. 30 192.0.2.1", "a.test [192.0.2.1] 30s"},
		{"a.test.", "a.test. 30 b.test., b.test. 30 a.test.", names.ErrNothing.Error()},
		// Nobody may speak of other names than the one that was asked for.
		{"example.com.", "bank.test. 30 192.0.2.1", names.ErrNothing.Error()},
		{"example.com.", "example.com. 30 192.0.2.1, bank.test. 30 192.0.2.2", "example.com [192.0.2.1] 30s"},
		{"example.com.", "example.com. 30 0.0.0.0", names.ErrNothing.Error()},
		{"example.com.", "", names.ErrNothing.Error()},
		// Names that are no host's.
		{".", ". 30 192.0.2.1", names.ErrName.Error()},
		{"*.test.", "*.test. 30 192.0.2.1", names.ErrName.Error()},
		{"a\nb.test.", "x. 30 192.0.2.1", names.ErrName.Error()},
		{"a\x1b[31m.test.", "x. 30 192.0.2.1", names.ErrName.Error()},
		{"a\x00.test.", "x. 30 192.0.2.1", names.ErrName.Error()},
		{"a\".test.", "x. 30 192.0.2.1", names.ErrName.Error()},
		{"\xff\xfe.test.", "x. 30 192.0.2.1", names.ErrName.Error()},
		{"ü.test.", "x. 30 192.0.2.1", names.ErrName.Error()},
		{"\u212a.test.", "x. 30 192.0.2.1", names.ErrName.Error()}, // the Kelvin sign, whose lower case is a letter
	} {
		var records []string
		if c.records != "" {
			records = strings.Split(c.records, ", ")
		}
		a, err := names.Parse(answerTo(t, c.question, records...), false)
		got := fmt.Sprint(a.Name, " ", a.Addrs, " ", a.TTL)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q asked, answered %q: %s, want %s", c.question, c.records, got, c.want)
		}
	}
}

// Of an answer that was cut off what is whole is read; one that ends early by itself is not believed.
func TestCutAnswers(t *testing.T) {
	var records []string
	for i := range 40 {
		records = append(records, fmt.Sprintf("example.com. 30 192.0.2.%d", i+1))
	}
	whole := answerTo(t, "example.com.", records...)
	if a, err := names.Parse(whole[:512], true); err != nil || len(a.Addrs) != 30 {
		t.Errorf("%d addresses of 512 bytes: %v", len(a.Addrs), err)
	}
	if _, err := names.Parse(whole[:512], false); !errors.Is(err, names.ErrMalformed) {
		t.Errorf("of the same that is not cut: %v", err)
	}
	for range 40 {
		records = append(records, "other.test. 30 192.0.2.1")
	}
	if a, err := names.Parse(answerTo(t, "example.com.", append(records, "example.com. 30 192.0.2.99")...), false); err != nil || len(a.Addrs) != 40 {
		t.Errorf("%d addresses of 64 records: %v", len(a.Addrs), err)
	}
}

func TestMalformed(t *testing.T) {
	good := answerTo(t, "example.com.", "example.com. 30 192.0.2.1")
	changed := func(at int, to ...byte) []byte {
		m := append([]byte{}, good...)
		copy(m[at:], to)
		return m
	}
	long := []string{"a.test. 9 a1.test."}
	for i := range 20 {
		long = append(long, fmt.Sprintf("a%d.test. 9 a%d.test.", i+1, i+2))
	}
	other := func(q dnsmessage.Question) []byte {
		m := dnsmessage.Message{Header: dnsmessage.Header{Response: true}, Questions: []dnsmessage.Question{q, q}}
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return packed
	}
	name := dnsmessage.MustNewName("example.com.")
	for what, c := range map[string]struct {
		message []byte
		want    error
	}{
		"empty":             {nil, names.ErrMalformed},
		"short":             {good[:11], names.ErrMalformed},
		"a question":        {changed(2, 0), names.ErrMalformed},
		"no such name":      {changed(3, 0x83), names.ErrMalformed},
		"no question":       {changed(4, 0, 0), names.ErrMalformed},
		"two questions":     {other(dnsmessage.Question{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}), names.ErrMalformed},
		"a loop":            {changed(12, 0xc0, 12), names.ErrMalformed},
		"beyond the end":    {changed(12, 0xc3, 0xff), names.ErrMalformed},
		"a reserved label":  {changed(12, 0x80), names.ErrMalformed},
		"a dot in a label":  {changed(13, '.'), names.ErrMalformed},
		"more than it has":  {changed(7, 9), names.ErrMalformed},
		"for text":          {changed(26, 16), names.ErrNothing},
		"of another class":  {changed(28, 3), names.ErrNothing},
		"too many aliases":  {answerTo(t, "a.test.", append(long, "a21.test. 9 192.0.2.1")...), names.ErrNothing},
		"a record of chaos": {changed(34, 3), names.ErrNothing},
	} {
		if _, err := names.Parse(c.message, false); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(answerTo(f, "example.com.", "example.com. 30 192.0.2.1"), false)
	f.Add(answerTo(f, "a.test.", "a.test. 30 b.test.", "b.test. 5 2001:db8::1", "b.test. 5 2001:db8::2"), true)
	f.Fuzz(func(t *testing.T, message []byte, cut bool) {
		a, err := names.Parse(message, cut)
		if err != nil {
			if !errors.Is(err, names.ErrMalformed) && !errors.Is(err, names.ErrName) && !errors.Is(err, names.ErrNothing) {
				t.Errorf("%v", err)
			}
			return
		}
		if len(a.Name) > 253 || strings.Trim(a.Name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || strings.ContainsFunc(a.Name, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("name %q", a.Name)
		}
		if len(a.Addrs) == 0 || len(a.Addrs) > 64 || a.TTL < 0 || a.TTL > 1<<32*time.Second {
			t.Errorf("%d addresses for %s", len(a.Addrs), a.TTL)
		}
		for _, addr := range a.Addrs {
			if !addr.IsValid() || addr.Is4In6() || addr.IsUnspecified() {
				t.Errorf("address %s", addr)
			}
		}
	})
}
