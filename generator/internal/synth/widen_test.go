// SPDX-License-Identifier: Apache-2.0

package synth

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func blocks(text string) (all []netip.Prefix) {
	for _, s := range strings.Fields(text) {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestWiden(t *testing.T) {
	for _, c := range []struct {
		in     string
		budget uint64
		want   string
	}{
		{"", 0, ""},
		{"10.0.0.1/32", 9, "10.0.0.1/32"},
		{"10.0.0.0/32 10.0.0.1/32", 0, "10.0.0.0/31"},
		{"10.0.0.1/32 10.0.0.2/32", 0, "10.0.0.1/32 10.0.0.2/32"},
		{"10.0.0.1/32 10.0.0.2/32", 1, "10.0.0.1/32 10.0.0.2/32"},
		{"10.0.0.1/32 10.0.0.2/32", 2, "10.0.0.0/30"},
		{"10.0.0.1/32 10.0.0.2/32 10.9.0.1/32 10.9.0.3/32", 3, "10.0.0.0/30 10.9.0.1/32 10.9.0.3/32"},
		{"10.9.0.3/32 10.0.0.1/32 10.9.0.1/32 10.0.0.2/32", 4, "10.0.0.0/30 10.9.0.0/30"},
		{"10.0.0.0/8 10.1.2.3/32", 0, "10.0.0.0/8"},
		{"0.0.0.0/0 10.1.2.3/32 ::1/128", 0, "0.0.0.0/0 ::1/128"},
		{"0.0.0.0/1 128.0.0.0/1", 0, "0.0.0.0/0"},
		{"2001:db8::/128 2001:db8::1/128", 0, "2001:db8::/127"},
		{"2001:db8::1/128 2001:db8:1::1/128", 1 << 62, "2001:db8::1/128 2001:db8:1::1/128"},
		{"::/1 8000::/1", 1 << 63, "::/1 8000::/1"},
	} {
		if got := strings.Trim(fmt.Sprint(widen(blocks(c.in), c.budget)), "[]"); got != c.want {
			t.Errorf("%s, budget %d: %s, want %s", c.in, c.budget, got, c.want)
		}
	}
}

// TestWidenKeepsToItsBudget: every address stays covered, the price is at most the budget, and the order is nothing.
func TestWidenKeepsToItsBudget(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var in []netip.Prefix
		for range 1 + r.IntN(30) {
			in = append(in, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(3)), byte(r.IntN(256))}), 32))
		}
		budget := uint64(r.IntN(300))
		got := widen(in, budget)
		r.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		if again := widen(in, budget); !slices.Equal(got, again) {
			t.Fatalf("seed %d: %v and %v", seed, got, again)
		}
		var held uint64
		for _, b := range got {
			n, _ := sizeOf(b)
			held += n
		}
		for _, b := range in {
			if !slices.ContainsFunc(got, func(o netip.Prefix) bool { return o.Contains(b.Addr()) }) {
				t.Fatalf("seed %d: %s is not in %v", seed, b, got)
			}
		}
		if seen := uint64(len(distinct(in))); held > seen+budget {
			t.Fatalf("seed %d: %d addresses for %d and a budget of %d", seed, held, seen, budget)
		}
	}
}
